-- Profiles, relations, phones. A row belongs to the user named first; names are of the same App. kind: 0 a number, 1 text,
-- 2 bytes, and the value stands in the column of its kind.

CREATE TABLE profile_fields (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    tag                 TEXT COLLATE "C"    NOT NULL,
    kind                BIGINT              NOT NULL CHECK (kind IN (0, 1, 2)),
    number              BIGINT,
    text                TEXT COLLATE "C",
    data                BYTEA,
    PRIMARY KEY (app_id, user_name, tag)
);

CREATE TABLE relation_heads (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    friends             BIGINT              NOT NULL,
    standard_seq        BIGINT              NOT NULL,
    custom_seq          BIGINT              NOT NULL,
    blocks              BIGINT              NOT NULL,
    blocks_seq          BIGINT              NOT NULL,
    groups_seq          BIGINT              NOT NULL,
    applications_seq    BIGINT              NOT NULL,
    applications_read   BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name)
);

CREATE TABLE friends (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    friend_name         TEXT COLLATE "C"    NOT NULL,
    added_s             BIGINT              NOT NULL,
    source              TEXT COLLATE "C"    NOT NULL,
    wording             TEXT COLLATE "C"    NOT NULL,
    remark              TEXT COLLATE "C"    NOT NULL,
    remark_s            BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name, friend_name)
);

CREATE TABLE friend_fields (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    friend_name         TEXT COLLATE "C"    NOT NULL,
    tag                 TEXT COLLATE "C"    NOT NULL,
    kind                BIGINT              NOT NULL CHECK (kind IN (0, 1, 2)),
    number              BIGINT,
    text                TEXT COLLATE "C",
    data                BYTEA,
    PRIMARY KEY (app_id, user_name, friend_name, tag)
);

CREATE TABLE friend_groups (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    group_name          TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name)
);

CREATE TABLE friend_group_members (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    group_name          TEXT COLLATE "C"    NOT NULL,
    friend_name         TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name, friend_name)
);
-- Which groups is a friend in: asked for each friend of a page.
CREATE INDEX friend_group_members_by_friend ON friend_group_members (app_id, user_name, friend_name, group_name);

CREATE TABLE friend_applications (
    app_id              BIGINT              NOT NULL,
    receiver_name       TEXT COLLATE "C"    NOT NULL,
    sender_name         TEXT COLLATE "C"    NOT NULL,
    id                  BIGINT              NOT NULL,
    sent_id             BIGINT              NOT NULL,
    time_s              BIGINT              NOT NULL,
    source              TEXT COLLATE "C"    NOT NULL,
    wording             TEXT COLLATE "C"    NOT NULL,
    remark              TEXT COLLATE "C"    NOT NULL,
    group_name          TEXT COLLATE "C"    NOT NULL,
    single              BIGINT              NOT NULL CHECK (single IN (0, 1)),
    PRIMARY KEY (app_id, receiver_name, sender_name)
);
-- Pages of either side, newest first.
CREATE INDEX friend_applications_received ON friend_applications (app_id, receiver_name, id);
CREATE INDEX friend_applications_sent ON friend_applications (app_id, sender_name, sent_id);

CREATE TABLE blocked_users (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    blocked_name        TEXT COLLATE "C"    NOT NULL,
    added_s             BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name, blocked_name)
);

CREATE TABLE phones (
    app_id              BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    platform            BIGINT              NOT NULL,
    epoch               BIGINT              NOT NULL,
    seen_s              BIGINT              NOT NULL,
    PRIMARY KEY (app_id, user_name, platform)
);
