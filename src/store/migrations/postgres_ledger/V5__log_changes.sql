-- 1: the entry tells of a change of the message; NULL, which takes no room: it is the message's own.
ALTER TABLE ledger_logs ADD COLUMN change BIGINT;
UPDATE ledger_logs l SET change = 1 FROM ledger_messages m
    WHERE m.edit > 0 AND l.conv = m.conv AND l.seq = m.seq AND EXISTS (
        SELECT 1 FROM ledger_logs b
        WHERE b.user_id = l.user_id AND b.position < l.position AND b.conv = l.conv AND b.seq = l.seq);
