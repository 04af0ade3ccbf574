//! The audit log.

use nearport_chat::audit::{Entry, Hash, Mark, Marks, Record, trimmed};
use nearport_chat::directory::{AuditStore, DirectoryError};

use super::{Engine, Row, SqlDirectory, Tx, params, params_each};

const HEAD: &str = "head";
const FLOOR: &str = "floor";

fn mark(tx: &mut dyn Tx, name: &str) -> Result<Mark, DirectoryError> {
    let rows = tx.query("SELECT seq, hash FROM audit_marks WHERE name = $1", &params![name])?;
    let Some(row) = rows.first() else { return Ok(Mark::default()) };
    // A hash of another length is nobody's; the chain goes on from it, and does not verify.
    Ok(Mark { seq: row.int(0)?, hash: Hash::read(row.blob(1)?).unwrap_or_default() })
}

fn set_mark(tx: &mut dyn Tx, name: &str, mark: &Mark) -> Result<(), DirectoryError> {
    tx.execute(
        "INSERT INTO audit_marks (name, seq, hash) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET seq = $2, hash = $3",
        &params![name, mark.seq, mark.hash.0[..]],
    )?;
    Ok(())
}

fn record(row: &Row) -> Result<Record, DirectoryError> {
    Ok(Record { seq: row.int(0)?, text: row.blob(1)?.to_vec(), hash: row.blob(2)?.to_vec() })
}

/// Appends to the chain inside the caller's transaction.
pub(super) fn append(tx: &mut dyn Tx, entries: &[Entry]) -> Result<Mark, DirectoryError> {
    let mut head = mark(tx, HEAD)?;
    let mut records = Vec::with_capacity(entries.len());
    for entry in entries {
        let (record, next) = Record::next(&head, entry);
        records.push(record);
        head = next;
    }
    let rows = params_each(records, |record| Ok(params![record.seq, record.text, record.hash].into()))?;
    tx.execute_each("INSERT INTO audit_records (seq, record, hash) VALUES ($1, $2, $3)", &rows)?;
    set_mark(tx, HEAD, &head)?;
    Ok(head)
}

impl<E: Engine> AuditStore for SqlDirectory<E> {
    fn audit_append(&self, entries: &[Entry]) -> Result<Mark, DirectoryError> {
        self.write(|tx| append(tx, entries))
    }

    fn audit_marks(&self) -> Result<Marks, DirectoryError> {
        self.read(|tx| Ok(Marks { floor: mark(tx, FLOOR)?, head: mark(tx, HEAD)? }))
    }

    fn audit_read(&self, after: u64, limit: usize) -> Result<Vec<Record>, DirectoryError> {
        self.read(|tx| {
            let rows = tx.query(
                "SELECT seq, record, hash FROM audit_records WHERE seq > $1 ORDER BY seq LIMIT $2",
                &params![after, limit],
            )?;
            rows.iter().map(record).collect()
        })
    }

    fn audit_trim(&self, seq: u64, act: &Entry) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let rows =
                tx.query("SELECT seq, record, hash FROM audit_records WHERE seq = $1", &params![seq])?;
            let Some(last) = rows.first().map(record).transpose()? else { return Ok(()) };
            let floor = Mark { seq, hash: Hash::read(&last.hash).unwrap_or_default() };
            tx.execute("DELETE FROM audit_records WHERE seq <= $1", &params![seq])?;
            set_mark(tx, FLOOR, &floor)?;
            append(tx, &[trimmed(act, &floor)]).map(drop)
        })
    }
}
