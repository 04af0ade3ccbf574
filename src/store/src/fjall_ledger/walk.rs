//! Steps over the conversations of an App.

use std::ops::Bound;

use nearport_chat::key::{AppId, ConvKey, Talk};
use nearport_chat::ledger::{LedgerError, Walked};

use super::FjallLedger;
use super::{keys, read};

impl FjallLedger {
    pub(super) fn walk_step(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Result<Walked, LedgerError> {
        let of_talk = keys::conv_names(app, talk);
        // No name is as short as what all begin with: the first one is behind it.
        let mut behind = of_talk.to_vec();
        if let Some(conv) = after.filter(|conv| *conv.as_bytes() > of_talk[1..]) {
            keys::conv_name(&mut behind, conv);
        }
        let rows = self.keyspaces.ids.range((Bound::Excluded(behind), Bound::Unbounded));
        let mut walked = Walked::default();
        for (looked, row) in (1..).zip(rows) {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            if !key.starts_with(&of_talk) {
                break;
            }
            let unreadable = || LedgerError::Damaged(format!("an id is unreadable: {}", key.escape_ascii()));
            let conv = ConvKey::from_bytes(&key[1..]).ok_or_else(unreadable)?;
            let id = keys::conv_id(&value).ok_or_else(unreadable)?;
            let newest = self.newest(&conv, id)?;
            let is_last = looked >= looks;
            walked.next = is_last.then(|| conv.clone());
            // A commit shows the name first, and then the message.
            if newest.seq > 0 && newest.time_ms >= since_ms {
                walked.convs.push(conv);
            }
            if is_last {
                break;
            }
        }
        Ok(walked)
    }
}
