-- Apps, their administrators, and accounts. STRICT and WITHOUT ROWID are SQLite's; the statements that use these
-- tables are plain SQL that PostgreSQL takes too. Times: _ms milliseconds, _s seconds since the Unix epoch.

CREATE TABLE apps (
    id              INTEGER NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    secret          TEXT,
    public_key_pem  TEXT,
    disabled        INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    created_ms      INTEGER NOT NULL
) STRICT;

CREATE TABLE app_admins (
    app_id          INTEGER NOT NULL REFERENCES apps (id),
    ordinal         INTEGER NOT NULL,
    user_name       TEXT    NOT NULL,
    PRIMARY KEY (app_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    app_id          INTEGER NOT NULL,
    name            TEXT    NOT NULL,
    created_ms      INTEGER NOT NULL,
    valid_from_s    INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;
