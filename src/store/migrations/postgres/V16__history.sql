-- History files: what was said in an hour, of one App and in one kind of conversation. talk: 1 pairs, 2 groups; hour: since the
-- Unix epoch; media: name in the store, empty if nothing was said; done_ms: 0 while the file is being made.

CREATE TABLE history_files (
    app_id              BIGINT  NOT NULL,
    talk                BIGINT  NOT NULL,
    hour                BIGINT  NOT NULL,
    media               TEXT COLLATE "C" NOT NULL,
    started_ms          BIGINT  NOT NULL,
    done_ms             BIGINT  NOT NULL,
    messages            BIGINT  NOT NULL,
    bytes               BIGINT  NOT NULL,
    md5                 TEXT COLLATE "C" NOT NULL,
    gzip_bytes          BIGINT  NOT NULL,
    gzip_md5            TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, talk, hour)
);

CREATE INDEX history_files_old ON history_files (hour, app_id, talk);
