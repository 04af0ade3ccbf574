-- Pushes to all members. after_name: all up to it have the message; until_name: the last of the page that is being sent; done_ms: 0
-- while it is under way. The message stands last: most questions do not read so far.

CREATE TABLE pushes (
    app_id              BIGINT  NOT NULL,
    push                BIGINT  NOT NULL,
    random              BIGINT  NOT NULL,
    created_ms          BIGINT  NOT NULL,
    done_ms             BIGINT  NOT NULL,
    after_name          TEXT COLLATE "C" NOT NULL,
    until_name          TEXT COLLATE "C" NOT NULL,
    sent                BIGINT  NOT NULL,
    from_name           TEXT COLLATE "C" NOT NULL,
    life_time_s         BIGINT  NOT NULL,
    conditions          TEXT COLLATE "C" NOT NULL,
    message             BYTEA   NOT NULL,
    PRIMARY KEY (app_id, push)
);

CREATE INDEX pushes_open ON pushes (done_ms, app_id, push);
