-- What has happened in a day, by App: counts, sketches of who was there, and the most users online. day: days since the Unix epoch.

CREATE TABLE app_numbers (
    app_id              INTEGER             NOT NULL,
    day                 INTEGER             NOT NULL,
    name                TEXT                NOT NULL,
    value               INTEGER             NOT NULL,
    PRIMARY KEY (app_id, day, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE app_crowds (
    app_id              INTEGER             NOT NULL,
    day                 INTEGER             NOT NULL,
    name                TEXT                NOT NULL,
    sketch              BLOB                NOT NULL,
    PRIMARY KEY (app_id, day, name)
) STRICT, WITHOUT ROWID;

-- Users online at the beginning of a minute, as the sum of what each process has; for some minutes only.

CREATE TABLE app_online (
    app_id              INTEGER             NOT NULL,
    minute              INTEGER             NOT NULL,
    users               INTEGER             NOT NULL,
    PRIMARY KEY (app_id, minute)
) STRICT, WITHOUT ROWID;

-- The newest batch of each process: none is added twice.

CREATE TABLE number_writers (
    writer              BLOB                NOT NULL,
    number              INTEGER             NOT NULL,
    day                 INTEGER             NOT NULL,
    PRIMARY KEY (writer)
) STRICT, WITHOUT ROWID;

-- Accounts that there are, by when they were made.
CREATE INDEX accounts_by_time ON accounts (app_id, created_ms) WHERE deleted_ms = 0;
