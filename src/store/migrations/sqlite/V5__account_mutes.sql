-- Until when an account may not send to users and to groups, milliseconds since the Unix epoch; 0: it may.

ALTER TABLE accounts ADD COLUMN users_muted_until_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN groups_muted_until_ms INTEGER NOT NULL DEFAULT 0;
