-- What users have set for their conversations. peer_kind: 1 a user, 2 a group. A conversation without a row has the
-- defaults.

CREATE TABLE conversation_versions (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    seq                 INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation_settings (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    peer_kind           INTEGER NOT NULL CHECK (peer_kind IN (1, 2)),
    peer                TEXT    NOT NULL,
    pinned_ms           INTEGER NOT NULL,
    marks               INTEGER NOT NULL,
    quiet               INTEGER NOT NULL CHECK (quiet IN (0, 1)),
    draft               TEXT    NOT NULL,
    draft_ms            INTEGER NOT NULL,
    hidden_seq          INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name, peer_kind, peer)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation_groups (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    group_name          TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation_group_members (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    group_name          TEXT    NOT NULL,
    peer_kind           INTEGER NOT NULL CHECK (peer_kind IN (1, 2)),
    peer                TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name, peer_kind, peer)
) STRICT, WITHOUT ROWID;
