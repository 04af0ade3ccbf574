-- Events for back ends that the outbox of the ledger does not have yet. number: their order; SQLite gives one more than the
-- largest that is there, which is enough, since events are removed by their ids.

CREATE TABLE pending_events (
    number              INTEGER NOT NULL PRIMARY KEY,
    id                  BLOB    NOT NULL UNIQUE,
    app_id              INTEGER NOT NULL,
    time_ms             INTEGER NOT NULL,
    body                BLOB    NOT NULL
) STRICT;
