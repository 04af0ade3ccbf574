-- History files: what was said in an hour, of one App and in one kind of conversation. talk: 1 pairs, 2 groups; hour: since the
-- Unix epoch; media: name in the store, empty if nothing was said; done_ms: 0 while the file is being made.

CREATE TABLE history_files (
    app_id              INTEGER NOT NULL,
    talk                INTEGER NOT NULL,
    hour                INTEGER NOT NULL,
    media               TEXT    NOT NULL,
    started_ms          INTEGER NOT NULL,
    done_ms             INTEGER NOT NULL,
    messages            INTEGER NOT NULL,
    bytes               INTEGER NOT NULL,
    md5                 TEXT    NOT NULL,
    gzip_bytes          INTEGER NOT NULL,
    gzip_md5            TEXT    NOT NULL,
    PRIMARY KEY (app_id, talk, hour)
) STRICT;

CREATE INDEX history_files_old ON history_files (hour, app_id, talk);
