//! The conversation list.

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::conversations::{ConversationRow, ConversationTx, Peer};
use nearport_chat::key::UserKey;

use super::people::{PeopleRows, names};
use super::{Row, params};

/// Settings, from column `at`.
fn settings(row: &Row, at: usize) -> Result<ConversationRow, DirectoryError> {
    Ok(ConversationRow {
        pinned_ms: row.int(at)?,
        marks: row.int(at + 1)?,
        quiet: row.flag(at + 2)?,
        draft: row.text(at + 3)?.to_owned(),
        draft_ms: row.int(at + 4)?,
        hidden_seq: row.int(at + 5)?,
        custom_mark: row.text(at + 6)?.to_owned(),
    })
}

/// A peer, from column `at`.
fn peer(row: &Row, at: usize) -> Result<Peer, DirectoryError> {
    let kind = row.int(at)?;
    let peer = Peer::from_parts(kind, row.text(at + 1)?.to_owned());
    peer.ok_or_else(|| DirectoryError::Engine(format!("a conversation is of kind {kind}")))
}

impl ConversationTx for PeopleRows<'_> {
    fn conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError> {
        let rows = self.0.query(
            "SELECT seq FROM conversation_versions WHERE app_id = $1 AND user_name = $2",
            &params![user.app().0, user.name()],
        )?;
        rows.first().map_or(Ok(0), |row| row.int(0))
    }

    fn next_conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError> {
        let rows = self.0.query(
            "INSERT INTO conversation_versions (app_id, user_name, seq) VALUES ($1, $2, 1)
             ON CONFLICT (app_id, user_name) DO UPDATE SET seq = conversation_versions.seq + 1
             RETURNING seq",
            &params![user.app().0, user.name()],
        )?;
        let row = rows.first().ok_or_else(|| DirectoryError::Engine("a count has no row".to_owned()))?;
        row.int(0)
    }

    fn conversation(&mut self, user: &UserKey, with: &Peer) -> Result<ConversationRow, DirectoryError> {
        let rows = self.0.query(
            "SELECT pinned_ms, marks, quiet, draft, draft_ms, hidden_seq, custom_mark FROM conversation_settings
             WHERE app_id = $1 AND user_name = $2 AND peer_kind = $3 AND peer = $4",
            &params![user.app().0, user.name(), with.kind(), with.name()],
        )?;
        rows.first().map_or_else(|| Ok(ConversationRow::default()), |row| settings(row, 0))
    }

    fn conversations(&mut self, user: &UserKey) -> Result<Vec<(Peer, ConversationRow)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT peer_kind, peer, pinned_ms, marks, quiet, draft, draft_ms, hidden_seq, custom_mark
             FROM conversation_settings WHERE app_id = $1 AND user_name = $2 ORDER BY peer_kind, peer",
            &params![user.app().0, user.name()],
        )?;
        rows.iter().map(|row| Ok((peer(row, 0)?, settings(row, 2)?))).collect()
    }

    fn put_conversation(
        &mut self,
        user: &UserKey,
        with: &Peer,
        row: &ConversationRow,
    ) -> Result<(), DirectoryError> {
        if *row == ConversationRow::default() {
            self.0.execute(
                "DELETE FROM conversation_settings
                 WHERE app_id = $1 AND user_name = $2 AND peer_kind = $3 AND peer = $4",
                &params![user.app().0, user.name(), with.kind(), with.name()],
            )?;
            return Ok(());
        }
        self.0.execute(
            "INSERT INTO conversation_settings (app_id, user_name, peer_kind, peer, pinned_ms, marks, quiet, draft,
                                                draft_ms, hidden_seq, custom_mark)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (app_id, user_name, peer_kind, peer) DO UPDATE SET
                 pinned_ms = $5, marks = $6, quiet = $7, draft = $8, draft_ms = $9, hidden_seq = $10,
                 custom_mark = $11",
            &params![
                user.app().0,
                user.name(),
                with.kind(),
                with.name(),
                row.pinned_ms,
                row.marks,
                row.quiet,
                row.draft,
                row.draft_ms,
                row.hidden_seq,
                row.custom_mark
            ],
        )?;
        Ok(())
    }

    fn conversation_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError> {
        let rows = self.0.query(
            "SELECT group_name FROM conversation_groups WHERE app_id = $1 AND user_name = $2 ORDER BY group_name",
            &params![user.app().0, user.name()],
        )?;
        names(&rows)
    }

    fn add_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        let added = self.0.execute(
            "INSERT INTO conversation_groups (app_id, user_name, group_name) VALUES ($1, $2, $3)
             ON CONFLICT (app_id, user_name, group_name) DO NOTHING",
            &params![user.app().0, user.name(), name],
        )?;
        Ok(added > 0)
    }

    fn delete_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        let key = params![user.app().0, user.name(), name];
        self.0.execute(
            "DELETE FROM conversation_group_members WHERE app_id = $1 AND user_name = $2 AND group_name = $3",
            &key,
        )?;
        let gone = self.0.execute(
            "DELETE FROM conversation_groups WHERE app_id = $1 AND user_name = $2 AND group_name = $3",
            &key,
        )?;
        Ok(gone > 0)
    }

    fn conversation_group_members(&mut self, user: &UserKey) -> Result<Vec<(String, Peer)>, DirectoryError> {
        let rows = self.0.query(
            "SELECT group_name, peer_kind, peer FROM conversation_group_members
             WHERE app_id = $1 AND user_name = $2 ORDER BY group_name, peer_kind, peer",
            &params![user.app().0, user.name()],
        )?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), peer(row, 1)?))).collect()
    }

    fn set_conversation_group_member(
        &mut self,
        user: &UserKey,
        name: &str,
        with: &Peer,
        member: bool,
    ) -> Result<bool, DirectoryError> {
        let key = params![user.app().0, user.name(), name, with.kind(), with.name()];
        let changed = match member {
            true => self.0.execute(
                "INSERT INTO conversation_group_members (app_id, user_name, group_name, peer_kind, peer)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (app_id, user_name, group_name, peer_kind, peer) DO NOTHING",
                &key,
            )?,
            false => self.0.execute(
                "DELETE FROM conversation_group_members
                 WHERE app_id = $1 AND user_name = $2 AND group_name = $3 AND peer_kind = $4 AND peer = $5",
                &key,
            )?,
        };
        Ok(changed > 0)
    }
}
