-- Groups: profiles, members, and what else belongs to a group. The numbers of options, roles, receptions and penalties are those of
-- `nearport_chat::group`. Custom fields are packed (`Fields::encode`): they are read and written with their row only. Times: _ms
-- milliseconds, _s seconds since the Unix epoch.

CREATE TABLE chat_groups (
    app_id              BIGINT              NOT NULL,
    id                  TEXT COLLATE "C"    NOT NULL,
    type                TEXT COLLATE "C"    NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    introduction        TEXT COLLATE "C"    NOT NULL,
    notification        TEXT COLLATE "C"    NOT NULL,
    face_url            TEXT COLLATE "C"    NOT NULL,
    owner               TEXT COLLATE "C",
    created_ms          BIGINT              NOT NULL,
    info_seq            BIGINT              NOT NULL,
    info_ms             BIGINT              NOT NULL,
    members_max         BIGINT              NOT NULL,
    join_option         BIGINT              NOT NULL,
    invite_option       BIGINT              NOT NULL,
    muted_all           BIGINT              NOT NULL CHECK (muted_all IN (0, 1)),
    first_seq           BIGINT              NOT NULL,
    attributes_version  BIGINT              NOT NULL,
    fields              BYTEA               NOT NULL,
    PRIMARY KEY (app_id, id)
);

CREATE TABLE group_members (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    role                BIGINT              NOT NULL,
    joined_ms           BIGINT              NOT NULL,
    joined_seq          BIGINT              NOT NULL,
    reception           BIGINT              NOT NULL,
    name_card           TEXT COLLATE "C"    NOT NULL,
    fields              BYTEA               NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name)
);

CREATE TABLE group_attributes (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    value               TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, group_id, name)
);

CREATE TABLE group_counters (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    value               BIGINT              NOT NULL,
    PRIMARY KEY (app_id, group_id, name)
);

CREATE TABLE group_penalties (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    what                BIGINT              NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    until_s             BIGINT              NOT NULL,
    PRIMARY KEY (app_id, group_id, what, user_name)
);

CREATE TABLE group_applications (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    inviter             TEXT COLLATE "C",
    consent             BIGINT              NOT NULL CHECK (consent IN (0, 1)),
    time_ms             BIGINT              NOT NULL,
    text                TEXT COLLATE "C"    NOT NULL,
    handled_by          TEXT COLLATE "C",
    agreed              BIGINT              NOT NULL CHECK (agreed IN (0, 1)),
    answer              TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name)
);

-- The groups of a user: asked at every login.
CREATE INDEX group_members_by_user ON group_members (app_id, user_name, group_id);

-- New groups of a day, groups of a type.
CREATE INDEX chat_groups_by_time ON chat_groups (app_id, created_ms);
CREATE INDEX chat_groups_by_type ON chat_groups (app_id, type, id);
