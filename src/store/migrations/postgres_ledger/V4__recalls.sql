-- Messages that were taken back after they had been sent as others: unread for nobody since then. Not in ledger_skips, whose numbers
-- count on from row to row; how many of these lie in a range is counted row by row, for there are few.
CREATE TABLE ledger_recalls (
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    PRIMARY KEY (conv, seq)
);
