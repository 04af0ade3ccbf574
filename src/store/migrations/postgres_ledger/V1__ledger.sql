-- The ledger. Why these tables and indexes: docs/decisions/0007-postgresql.md. Names stand once, everything else has
-- numbers. Heads are rows of their own: whoever commits to a conversation or a log locks its row, so that several cores
-- give out numbers without holes. These rows change with every message and no index holds what changes (HOT): room is left
-- beside them.

CREATE TABLE ledger_conversations (
    id          BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         BYTEA   NOT NULL UNIQUE,
    head        BIGINT  NOT NULL DEFAULT 0,
    head_ms     BIGINT  NOT NULL DEFAULT 0,
    edit_head   BIGINT  NOT NULL DEFAULT 0,
    floor       BIGINT  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE ledger_users (
    id          BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         BYTEA   NOT NULL UNIQUE,
    head        BIGINT  NOT NULL DEFAULT 0,
    floor       BIGINT  NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- One row per message. edit: number of its last change in the change log of the conversation, 0 as long as it is as it was
-- sent; so the change log is an index.
CREATE TABLE ledger_messages (
    conv            BIGINT  NOT NULL,
    seq             BIGINT  NOT NULL,
    time_ms         BIGINT  NOT NULL,
    edit            BIGINT  NOT NULL,
    sender          BIGINT  NOT NULL,
    client_msg_id   BYTEA   NOT NULL,
    body            BYTEA   NOT NULL,
    PRIMARY KEY (conv, seq)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE UNIQUE INDEX ledger_messages_idem ON ledger_messages (sender, client_msg_id);
CREATE INDEX ledger_messages_edits ON ledger_messages (conv, edit) WHERE edit > 0;

-- User logs point at messages.
CREATE TABLE ledger_logs (
    user_id     BIGINT  NOT NULL,
    position    BIGINT  NOT NULL,
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    PRIMARY KEY (user_id, position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- The pairs that a user ever had a message in, in the order of their keys.
CREATE TABLE ledger_pairs (
    user_key    BYTEA   NOT NULL,
    conv_key    BYTEA   NOT NULL,
    PRIMARY KEY (user_key, conv_key)
);

CREATE TABLE ledger_cursors (
    user_id     BIGINT  NOT NULL,
    name        BYTEA   NOT NULL,
    position    BIGINT  NOT NULL,
    PRIMARY KEY (user_id, name)
) WITH (fillfactor = 70);

CREATE TABLE ledger_hides (
    user_id     BIGINT  NOT NULL,
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    PRIMARY KEY (user_id, conv, seq)
);

CREATE TABLE ledger_receipts (
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    user_key    BYTEA   NOT NULL,
    PRIMARY KEY (conv, seq, user_key)
);

-- How many rows ledger_receipts has of a message: read far more often than who they are.
CREATE TABLE ledger_receipt_counts (
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    readers     BIGINT  NOT NULL,
    PRIMARY KEY (conv, seq)
) WITH (fillfactor = 70);
