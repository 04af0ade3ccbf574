-- Profiles, relations, phones. A row belongs to the user named first; names are of the same App. kind: 0 a number, 1 text,
-- 2 bytes, and the value stands in the column of its kind.

CREATE TABLE profile_fields (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    tag                 TEXT    NOT NULL,
    kind                INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    number              INTEGER,
    text                TEXT,
    data                BLOB,
    PRIMARY KEY (app_id, user_name, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE relation_heads (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    friends             INTEGER NOT NULL,
    standard_seq        INTEGER NOT NULL,
    custom_seq          INTEGER NOT NULL,
    blocks              INTEGER NOT NULL,
    blocks_seq          INTEGER NOT NULL,
    groups_seq          INTEGER NOT NULL,
    applications_seq    INTEGER NOT NULL,
    applications_read   INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE friends (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    friend_name         TEXT    NOT NULL,
    added_s             INTEGER NOT NULL,
    source              TEXT    NOT NULL,
    wording             TEXT    NOT NULL,
    remark              TEXT    NOT NULL,
    remark_s            INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name, friend_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE friend_fields (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    friend_name         TEXT    NOT NULL,
    tag                 TEXT    NOT NULL,
    kind                INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),
    number              INTEGER,
    text                TEXT,
    data                BLOB,
    PRIMARY KEY (app_id, user_name, friend_name, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE friend_groups (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    group_name          TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE friend_group_members (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    group_name          TEXT    NOT NULL,
    friend_name         TEXT    NOT NULL,
    PRIMARY KEY (app_id, user_name, group_name, friend_name)
) STRICT, WITHOUT ROWID;
-- Which groups is a friend in: asked for each friend of a page.
CREATE INDEX friend_group_members_by_friend ON friend_group_members (app_id, user_name, friend_name, group_name);

CREATE TABLE friend_applications (
    app_id              INTEGER NOT NULL,
    receiver_name       TEXT    NOT NULL,
    sender_name         TEXT    NOT NULL,
    id                  INTEGER NOT NULL,
    sent_id             INTEGER NOT NULL,
    time_s              INTEGER NOT NULL,
    source              TEXT    NOT NULL,
    wording             TEXT    NOT NULL,
    remark              TEXT    NOT NULL,
    group_name          TEXT    NOT NULL,
    single              INTEGER NOT NULL CHECK (single IN (0, 1)),
    PRIMARY KEY (app_id, receiver_name, sender_name)
) STRICT, WITHOUT ROWID;
-- Pages of either side, newest first.
CREATE INDEX friend_applications_received ON friend_applications (app_id, receiver_name, id);
CREATE INDEX friend_applications_sent ON friend_applications (app_id, sender_name, sent_id);

CREATE TABLE blocked_users (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    blocked_name        TEXT    NOT NULL,
    added_s             INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name, blocked_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE phones (
    app_id              INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    platform            INTEGER NOT NULL,
    epoch               INTEGER NOT NULL,
    seen_s              INTEGER NOT NULL,
    PRIMARY KEY (app_id, user_name, platform)
) STRICT, WITHOUT ROWID;
