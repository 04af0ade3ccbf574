-- What users have set for their conversations. peer_kind: 1 a user, 2 a group. A conversation without a row has the
-- defaults.

CREATE TABLE conversation_versions (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    seq                 BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name)
);

CREATE TABLE conversation_settings (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    peer_kind           BIGINT              NOT NULL CHECK (peer_kind IN (1, 2)),
    peer                TEXT COLLATE "C"    NOT NULL,
    pinned_ms           BIGINT              NOT NULL,
    marks               BIGINT              NOT NULL,
    quiet               BIGINT              NOT NULL CHECK (quiet IN (0, 1)),
    draft               TEXT COLLATE "C"    NOT NULL,
    draft_ms            BIGINT              NOT NULL,
    hidden_seq          BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name, peer_kind, peer)
);

CREATE TABLE conversation_groups (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    group_name          TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name)
);

CREATE TABLE conversation_group_members (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    group_name          TEXT COLLATE "C"    NOT NULL,
    peer_kind           BIGINT              NOT NULL CHECK (peer_kind IN (1, 2)),
    peer                TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name, peer_kind, peer)
);
