-- What the back ends of Apps are still to be told (shelf 0), and what was given up (shelf 1). Numbers grow by one on each shelf of each App.
CREATE TABLE ledger_outbox (
    app         BIGINT  NOT NULL,
    shelf       BIGINT  NOT NULL,
    number      BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    time_ms     BIGINT  NOT NULL,
    died_ms     BIGINT  NOT NULL,
    reason      TEXT    NOT NULL,
    body        BYTEA   NOT NULL,
    PRIMARY KEY (app, shelf, number)
);

-- The last number that was given out.
CREATE TABLE ledger_outbox_heads (
    app         BIGINT  NOT NULL,
    shelf       BIGINT  NOT NULL,
    head        BIGINT  NOT NULL,
    PRIMARY KEY (app, shelf)
) WITH (fillfactor = 70);
