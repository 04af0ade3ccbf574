-- Groups: profiles, members, and what else belongs to a group. The numbers of options, roles, receptions and penalties are those of
-- `nearport_chat::group`. Custom fields are packed (`Fields::encode`): they are read and written with their row only. Times: _ms
-- milliseconds, _s seconds since the Unix epoch.

CREATE TABLE chat_groups (
    app_id              INTEGER NOT NULL,
    id                  TEXT    NOT NULL,
    type                TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    introduction        TEXT    NOT NULL,
    notification        TEXT    NOT NULL,
    face_url            TEXT    NOT NULL,
    owner               TEXT,
    created_ms          INTEGER NOT NULL,
    info_seq            INTEGER NOT NULL,
    info_ms             INTEGER NOT NULL,
    members_max         INTEGER NOT NULL,
    join_option         INTEGER NOT NULL,
    invite_option       INTEGER NOT NULL,
    muted_all           INTEGER NOT NULL CHECK (muted_all IN (0, 1)),
    first_seq           INTEGER NOT NULL,
    attributes_version  INTEGER NOT NULL,
    fields              BLOB    NOT NULL,
    PRIMARY KEY (app_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_members (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    user_name           TEXT    NOT NULL,
    role                INTEGER NOT NULL,
    joined_ms           INTEGER NOT NULL,
    joined_seq          INTEGER NOT NULL,
    reception           INTEGER NOT NULL,
    name_card           TEXT    NOT NULL,
    fields              BLOB    NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_attributes (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    value               TEXT    NOT NULL,
    PRIMARY KEY (app_id, group_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_counters (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    value               INTEGER NOT NULL,
    PRIMARY KEY (app_id, group_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_penalties (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    what                INTEGER NOT NULL,
    user_name           TEXT    NOT NULL,
    until_s             INTEGER NOT NULL,
    PRIMARY KEY (app_id, group_id, what, user_name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_applications (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    user_name           TEXT    NOT NULL,
    inviter             TEXT,
    consent             INTEGER NOT NULL CHECK (consent IN (0, 1)),
    time_ms             INTEGER NOT NULL,
    text                TEXT    NOT NULL,
    handled_by          TEXT,
    agreed              INTEGER NOT NULL CHECK (agreed IN (0, 1)),
    answer              TEXT    NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name)
) STRICT, WITHOUT ROWID;

-- The groups of a user: asked at every login.
CREATE INDEX group_members_by_user ON group_members (app_id, user_name, group_id);

-- New groups of a day, groups of a type.
CREATE INDEX chat_groups_by_time ON chat_groups (app_id, created_ms);
CREATE INDEX chat_groups_by_type ON chat_groups (app_id, type, id);
