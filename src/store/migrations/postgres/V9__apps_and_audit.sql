-- Keys of an App, two at most: hmac, the secret as its text, or ecdsa, a public key in PEM.

CREATE TABLE app_keys (
    app_id              BIGINT              NOT NULL REFERENCES apps (id),
    name                TEXT COLLATE "C"    NOT NULL,
    kind                TEXT COLLATE "C"    NOT NULL,
    material            TEXT COLLATE "C"    NOT NULL,
    created_ms          BIGINT              NOT NULL,
    PRIMARY KEY (app_id, name)
);

INSERT INTO app_keys (app_id, name, kind, material, created_ms)
    SELECT id, 'first', 'hmac', secret, created_ms FROM apps WHERE secret IS NOT NULL;
INSERT INTO app_keys (app_id, name, kind, material, created_ms)
    SELECT id, 'first-ecdsa', 'ecdsa', public_key_pem, created_ms FROM apps WHERE public_key_pem IS NOT NULL;

ALTER TABLE apps DROP COLUMN secret;
ALTER TABLE apps DROP COLUMN public_key_pem;

-- Resume tokens that were proved before this second are not taken: the key that proved them may have been withdrawn.

ALTER TABLE apps ADD COLUMN proved_from_s BIGINT              NOT NULL DEFAULT 0;

-- What an App has other than the files of settings say. Values are text as in a file.

CREATE TABLE app_settings (
    app_id              BIGINT              NOT NULL REFERENCES apps (id),
    name                TEXT COLLATE "C"    NOT NULL,
    value               TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (app_id, name)
);

-- apps: counts changes of Apps, their keys and settings, so that processes notice each other's.

CREATE TABLE versions (
    name                TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    version             BIGINT              NOT NULL
);

-- The audit log: hash is SHA-256 over the hash before and the record. Marks: head, the newest record; floor, the newest one that
-- was removed by age.

CREATE TABLE audit_records (
    seq                 BIGINT              NOT NULL PRIMARY KEY,
    record              BYTEA               NOT NULL,
    hash                BYTEA               NOT NULL
);

CREATE TABLE audit_marks (
    name                TEXT COLLATE "C"    NOT NULL PRIMARY KEY,
    seq                 BIGINT              NOT NULL,
    hash                BYTEA               NOT NULL
);
