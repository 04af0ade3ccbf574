-- Messages that are unread for nobody, with how many of the conversation there were, this one included: how many lie in a range is a
-- difference of two rows. A message that counts has none.
CREATE TABLE ledger_skips (
    conv        BIGINT  NOT NULL,
    seq         BIGINT  NOT NULL,
    number      BIGINT  NOT NULL,
    PRIMARY KEY (conv, seq)
);
