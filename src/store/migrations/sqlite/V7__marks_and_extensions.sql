-- What an App says of a conversation of a user; empty: nothing.

ALTER TABLE conversation_settings ADD COLUMN custom_mark TEXT NOT NULL DEFAULT '';

-- Pairs of a key and a value on messages of two users. conv and message: where the ledger has the message. A pair with an empty
-- value was deleted.

CREATE TABLE extension_heads (
    conv                BLOB    NOT NULL,
    message             INTEGER NOT NULL,
    latest              INTEGER NOT NULL,
    cleared             INTEGER NOT NULL,
    made_ms             INTEGER NOT NULL,
    PRIMARY KEY (conv, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX extension_heads_by_age ON extension_heads (made_ms);

CREATE TABLE extensions (
    conv                BLOB    NOT NULL,
    message             INTEGER NOT NULL,
    ext_key             TEXT    NOT NULL,
    value               TEXT    NOT NULL,
    seq                 INTEGER NOT NULL,
    PRIMARY KEY (conv, message, ext_key)
) STRICT, WITHOUT ROWID;
