-- What an App says of a conversation of a user; empty: nothing.

ALTER TABLE conversation_settings ADD COLUMN custom_mark TEXT COLLATE "C" NOT NULL DEFAULT '';

-- Pairs of a key and a value on messages of two users. conv and message: where the ledger has the message. A pair with an empty
-- value was deleted.

CREATE TABLE extension_heads (
    conv                BYTEA    NOT NULL,
    message             BIGINT NOT NULL,
    latest              BIGINT NOT NULL,
    cleared             BIGINT NOT NULL,
    made_ms             BIGINT NOT NULL,
    PRIMARY KEY (conv, message)
);

CREATE INDEX extension_heads_by_age ON extension_heads (made_ms);

CREATE TABLE extensions (
    conv                BYTEA    NOT NULL,
    message             BIGINT NOT NULL,
    ext_key             TEXT COLLATE "C"    NOT NULL,
    value               TEXT COLLATE "C"    NOT NULL,
    seq                 BIGINT NOT NULL,
    PRIMARY KEY (conv, message, ext_key)
);
