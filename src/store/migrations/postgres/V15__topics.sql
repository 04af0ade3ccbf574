-- Topics of communities, and how members receive one where they have said so. chat_groups.topics: the community may have some.

ALTER TABLE chat_groups ADD COLUMN topics BIGINT NOT NULL DEFAULT 0 CHECK (topics IN (0, 1));

CREATE TABLE group_topics (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    topic_id            TEXT COLLATE "C"    NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    introduction        TEXT COLLATE "C"    NOT NULL,
    notification        TEXT COLLATE "C"    NOT NULL,
    face_url            TEXT COLLATE "C"    NOT NULL,
    custom              TEXT COLLATE "C"    NOT NULL,
    created_ms          BIGINT              NOT NULL,
    info_seq            BIGINT              NOT NULL,
    muted_all           BIGINT              NOT NULL CHECK (muted_all IN (0, 1)),
    first_seq           BIGINT              NOT NULL,
    PRIMARY KEY (app_id, group_id, topic_id)
);

CREATE TABLE group_topic_receptions (
    app_id              BIGINT              NOT NULL,
    group_id            TEXT COLLATE "C"    NOT NULL,
    user_name           TEXT COLLATE "C"    NOT NULL,
    topic_id            TEXT COLLATE "C"    NOT NULL,
    reception           BIGINT              NOT NULL,
    PRIMARY KEY (app_id, group_id, user_name, topic_id)
);
