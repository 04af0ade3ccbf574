-- How far imports of files have come. job: which import; mark: what the importer wants to know again.

CREATE TABLE imports (
    app_id              INTEGER NOT NULL,
    job                 BLOB    NOT NULL,
    mark                TEXT    NOT NULL,
    PRIMARY KEY (app_id, job)
) STRICT;
