-- Pushes to all members. after_name: all up to it have the message; until_name: the last of the page that is being sent; done_ms: 0
-- while it is under way. The message stands last: most questions do not read so far.

CREATE TABLE pushes (
    app_id              INTEGER NOT NULL,
    push                INTEGER NOT NULL,
    random              INTEGER NOT NULL,
    created_ms          INTEGER NOT NULL,
    done_ms             INTEGER NOT NULL,
    after_name          TEXT    NOT NULL,
    until_name          TEXT    NOT NULL,
    sent                INTEGER NOT NULL,
    from_name           TEXT    NOT NULL,
    life_time_s         INTEGER NOT NULL,
    conditions          TEXT    NOT NULL,
    message             BLOB    NOT NULL,
    PRIMARY KEY (app_id, push)
) STRICT;

CREATE INDEX pushes_open ON pushes (done_ms, app_id, push);
