-- Keys of an App, two at most: hmac, the secret as its text, or ecdsa, a public key in PEM.

CREATE TABLE app_keys (
    app_id              INTEGER NOT NULL REFERENCES apps (id),
    name                TEXT    NOT NULL,
    kind                TEXT    NOT NULL,
    material            TEXT    NOT NULL,
    created_ms          INTEGER NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

INSERT INTO app_keys (app_id, name, kind, material, created_ms)
    SELECT id, 'first', 'hmac', secret, created_ms FROM apps WHERE secret IS NOT NULL;
INSERT INTO app_keys (app_id, name, kind, material, created_ms)
    SELECT id, 'first-ecdsa', 'ecdsa', public_key_pem, created_ms FROM apps WHERE public_key_pem IS NOT NULL;

ALTER TABLE apps DROP COLUMN secret;
ALTER TABLE apps DROP COLUMN public_key_pem;

-- Resume tokens that were proved before this second are not taken: the key that proved them may have been withdrawn.

ALTER TABLE apps ADD COLUMN proved_from_s INTEGER NOT NULL DEFAULT 0;

-- What an App has other than the files of settings say. Values are text as in a file.

CREATE TABLE app_settings (
    app_id              INTEGER NOT NULL REFERENCES apps (id),
    name                TEXT    NOT NULL,
    value               TEXT    NOT NULL,
    PRIMARY KEY (app_id, name)
) STRICT, WITHOUT ROWID;

-- apps: counts changes of Apps, their keys and settings, so that processes notice each other's.

CREATE TABLE versions (
    name                TEXT    NOT NULL PRIMARY KEY,
    version             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit log: hash is SHA-256 over the hash before and the record. Marks: head, the newest record; floor, the newest one that
-- was removed by age.

CREATE TABLE audit_records (
    seq                 INTEGER NOT NULL PRIMARY KEY,
    record              BLOB    NOT NULL,
    hash                BLOB    NOT NULL
) STRICT;

CREATE TABLE audit_marks (
    name                TEXT    NOT NULL PRIMARY KEY,
    seq                 INTEGER NOT NULL,
    hash                BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
