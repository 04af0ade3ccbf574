//! Message extensions.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::extensions::{ExtensionHead, ExtensionRow, ExtensionTx};
use nearport_chat::key::ConvKey;

use super::params;
use super::people::{PeopleRows, bound};

impl ExtensionTx for PeopleRows<'_> {
    fn extension_head(&mut self, conv: &ConvKey, message: u64) -> Result<ExtensionHead, DirectoryError> {
        let rows = self.0.query(
            "SELECT latest, cleared FROM extension_heads WHERE conv = $1 AND message = $2",
            &params![conv.as_bytes(), bound(message)],
        )?;
        match rows.first() {
            Some(row) => Ok(ExtensionHead { latest: row.int(0)?, clear: row.int(1)? }),
            None => Ok(ExtensionHead::default()),
        }
    }

    fn lock_extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        now_ms: u64,
    ) -> Result<ExtensionHead, DirectoryError> {
        // An update that changes nothing locks the row.
        let rows = self.0.query(
            "INSERT INTO extension_heads (conv, message, latest, cleared, made_ms) VALUES ($1, $2, 0, 0, $3)
             ON CONFLICT (conv, message) DO UPDATE SET latest = extension_heads.latest
             RETURNING latest, cleared",
            &params![conv.as_bytes(), bound(message), bound(now_ms)],
        )?;
        let row = rows.first().ok_or_else(|| DirectoryError::Engine("a counter has no row".to_owned()))?;
        Ok(ExtensionHead { latest: row.int(0)?, clear: row.int(1)? })
    }

    fn set_extension_head(
        &mut self,
        conv: &ConvKey,
        message: u64,
        head: ExtensionHead,
    ) -> Result<(), DirectoryError> {
        self.0.execute(
            "UPDATE extension_heads SET latest = $3, cleared = $4 WHERE conv = $1 AND message = $2",
            &params![conv.as_bytes(), bound(message), bound(head.latest), bound(head.clear)],
        )?;
        Ok(())
    }

    fn extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ExtensionRow>, DirectoryError> {
        let rows = self.0.query(
            "SELECT ext_key, value, seq FROM extensions WHERE conv = $1 AND message = $2 AND seq > $3
             ORDER BY seq LIMIT $4",
            &params![conv.as_bytes(), bound(message), bound(after), i64::from(limit)],
        )?;
        let row = |row: &super::Row| {
            Ok(ExtensionRow {
                key: row.text(0)?.to_owned(),
                value: row.text(1)?.to_owned(),
                seq: row.int(2)?,
            })
        };
        rows.iter().map(row).collect()
    }

    fn put_extension(
        &mut self,
        conv: &ConvKey,
        message: u64,
        row: &ExtensionRow,
    ) -> Result<(), DirectoryError> {
        self.0.execute(
            "INSERT INTO extensions (conv, message, ext_key, value, seq) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (conv, message, ext_key) DO UPDATE SET value = $4, seq = $5",
            &params![conv.as_bytes(), bound(message), row.key, row.value, bound(row.seq)],
        )?;
        Ok(())
    }

    fn clear_extensions(&mut self, conv: &ConvKey, message: u64) -> Result<(), DirectoryError> {
        self.0.execute(
            "DELETE FROM extensions WHERE conv = $1 AND message = $2",
            &params![conv.as_bytes(), bound(message)],
        )?;
        Ok(())
    }

    fn trim_extensions(&mut self, before_ms: u64, limit: u32) -> Result<(), DirectoryError> {
        let old = self.0.query(
            "SELECT conv, message FROM extension_heads WHERE made_ms < $1 ORDER BY made_ms LIMIT $2",
            &params![bound(before_ms), i64::from(limit)],
        )?;
        for row in &old {
            let (conv, message) = (row.blob(0)?.to_vec(), row.int::<i64>(1)?);
            let of = params![conv, message];
            self.0.execute("DELETE FROM extensions WHERE conv = $1 AND message = $2", &of)?;
            self.0.execute("DELETE FROM extension_heads WHERE conv = $1 AND message = $2", &of)?;
        }
        Ok(())
    }
}
