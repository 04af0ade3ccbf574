-- Topics of communities, and how members receive one where they have said so. chat_groups.topics: the community may have some.

ALTER TABLE chat_groups ADD COLUMN topics INTEGER NOT NULL DEFAULT 0 CHECK (topics IN (0, 1));

CREATE TABLE group_topics (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    topic_id            TEXT    NOT NULL,
    name                TEXT    NOT NULL,
    introduction        TEXT    NOT NULL,
    notification        TEXT    NOT NULL,
    face_url            TEXT    NOT NULL,
    custom              TEXT    NOT NULL,
    created_ms          INTEGER NOT NULL,
    info_seq            INTEGER NOT NULL,
    muted_all           INTEGER NOT NULL CHECK (muted_all IN (0, 1)),
    first_seq           INTEGER NOT NULL,
    PRIMARY KEY (app_id, group_id, topic_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_topic_receptions (
    app_id              INTEGER NOT NULL,
    group_id            TEXT    NOT NULL,
    user_name           TEXT    NOT NULL,
    topic_id            TEXT    NOT NULL,
    reception           INTEGER NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name, topic_id)
) STRICT, WITHOUT ROWID;
