-- Events for back ends that the outbox of the ledger does not have yet. number: their order.

CREATE TABLE pending_events (
    number              BIGINT  NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                  BYTEA   NOT NULL UNIQUE,
    app_id              BIGINT  NOT NULL,
    time_ms             BIGINT  NOT NULL,
    body                BYTEA   NOT NULL
);
