-- What has happened in a day, by App: counts, sketches of who was there, and the most users online. day: days since the Unix epoch.

CREATE TABLE app_numbers (
    app_id              BIGINT              NOT NULL,
    day                 BIGINT              NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    value               BIGINT              NOT NULL,
    PRIMARY KEY (app_id, day, name)
);

CREATE TABLE app_crowds (
    app_id              BIGINT              NOT NULL,
    day                 BIGINT              NOT NULL,
    name                TEXT COLLATE "C"    NOT NULL,
    sketch              BYTEA               NOT NULL,
    PRIMARY KEY (app_id, day, name)
);

-- Users online at the beginning of a minute, as the sum of what each process has; for some minutes only.

CREATE TABLE app_online (
    app_id              BIGINT              NOT NULL,
    minute              BIGINT              NOT NULL,
    users               BIGINT              NOT NULL,
    PRIMARY KEY (app_id, minute)
);

-- The newest batch of each process: none is added twice.

CREATE TABLE number_writers (
    writer              BYTEA               NOT NULL,
    number              BIGINT              NOT NULL,
    day                 BIGINT              NOT NULL,
    PRIMARY KEY (writer)
);

-- Accounts that there are, by when they were made.
CREATE INDEX accounts_by_time ON accounts (app_id, created_ms) WHERE deleted_ms = 0;
