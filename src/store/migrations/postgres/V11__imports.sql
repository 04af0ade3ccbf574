-- How far imports of files have come. job: which import; mark: what the importer wants to know again.

CREATE TABLE imports (
    app_id              BIGINT  NOT NULL,
    job                 BYTEA   NOT NULL,
    mark                TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, job)
);
