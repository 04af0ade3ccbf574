-- Apps, their administrators, and accounts. Names compare by their bytes (COLLATE "C"), as in SQLite, whatever the
-- database's own collation is. Times: _ms milliseconds, _s seconds since the Unix epoch.

CREATE TABLE apps (
    id              BIGINT              NOT NULL PRIMARY KEY,
    name            TEXT COLLATE "C"    NOT NULL,
    secret          TEXT COLLATE "C",
    public_key_pem  TEXT COLLATE "C",
    disabled        BIGINT              NOT NULL CHECK (disabled IN (0, 1)),
    created_ms      BIGINT              NOT NULL
);

CREATE TABLE app_admins (
    app_id          BIGINT              NOT NULL REFERENCES apps (id),
    ordinal         BIGINT              NOT NULL,
    user_name       TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, ordinal)
);

CREATE TABLE accounts (
    app_id          BIGINT              NOT NULL,
    name            TEXT COLLATE "C"    NOT NULL,
    created_ms      BIGINT              NOT NULL,
    valid_from_s    BIGINT              NOT NULL,
    PRIMARY KEY (app_id, name)
);
