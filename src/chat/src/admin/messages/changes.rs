//! Recalls, edits, and marks on behalf of users.

use nearport_wire::body::{Amended, Element};
use nearport_wire::code;

use super::super::{Admin, Asker, Pending, busy};
use crate::key::{ConvKey, GroupKey, UserKey};
use crate::msg_key::MsgKey;
use crate::posts::{Act, ActWhat, AdminChange, AdminWhat};
use crate::reply::{Failure, With, unreadable};

/// A message of a pair by its key.
#[derive(Debug, Clone)]
pub struct Named {
    /// Who sent it.
    pub from: UserKey,
    /// To whom.
    pub to: UserKey,
    /// Its key.
    pub key: MsgKey,
}

impl Admin {
    /// Takes a message back, at any time. Blocks for a look at the message.
    ///
    /// # Errors
    /// 20005; the outcome: 20022, 20023, 20005, 60018.
    pub fn recall_message(
        &self,
        asker: &Asker,
        named: &Named,
    ) -> Result<Pending<Result<(), Failure>>, Failure> {
        self.change(asker, named, AdminWhat::Recall { reason: String::new() })
    }

    /// Puts other elements, other `CloudCustomData` or both into a message. Blocks for a look at it.
    ///
    /// # Errors
    /// As [`Self::recall_message`].
    pub fn edit_message(
        &self,
        asker: &Asker,
        named: &Named,
        elements: Vec<Element>,
        cloud_custom_data: Option<String>,
    ) -> Result<Pending<Result<(), Failure>>, Failure> {
        self.change(asker, named, AdminWhat::Edit { elements, cloud_custom_data })
    }

    fn change(
        &self,
        asker: &Asker,
        named: &Named,
        what: AdminWhat,
    ) -> Result<Pending<Result<(), Failure>>, Failure> {
        let conv = ConvKey::pair(&named.from, &named.to);
        let found = self.message_by_key(&conv, &named.key).map_err(|error| unreadable(&error))?;
        let is_theirs = |message: &nearport_wire::body::Message| message.from == named.from.name();
        let Some(found) = found.filter(|found| is_theirs(&found.message)) else {
            return Err(Failure::new(code::NO_MESSAGE, "there is no such message"));
        };
        let (pending, done) = Pending::new();
        let changed = move |outcome: Result<u64, u32>| {
            done.tell(outcome.map(drop).map_err(|code| match code {
                code::RECALLED => Failure::new(code, "the message was recalled before"),
                code::NO_MESSAGE => Failure::new(code, "there is no such message"),
                code => Failure::new(code, "the message cannot be changed"),
            }));
        };
        let change = AdminChange { conv, seq: found.seq, what, by: asker.clone(), done: Box::new(changed) };
        match self.shared.posts.change(change) {
            Ok(()) => Ok(pending),
            Err(_) => Ok(Pending::ready(Err(busy()))),
        }
    }

    /// `reader` has read what `peer` and they said up to this Unix second. Blocks for a look.
    ///
    /// # Errors
    /// 20005; the outcome: 20005, 60018.
    pub fn mark_read(
        &self,
        asker: &Asker,
        reader: &UserKey,
        peer: &UserKey,
        until_s: Option<u64>,
    ) -> Result<Pending<Result<Amended, Failure>>, Failure> {
        let conv = ConvKey::pair(reader, peer);
        let ledger = &self.shared.ledger;
        let seq = match until_s {
            None => ledger.head(&conv),
            Some(until_s) => {
                let behind_ms = until_s.saturating_add(1).saturating_mul(1000);
                ledger.seq_at(&conv, behind_ms).map(|seq| seq.saturating_sub(1))
            }
        };
        let seq = seq.map_err(|error| unreadable(&error))?;
        Ok(self.act(reader, With::User(peer.clone()), ActWhat::Read { seq, origin: asker.origin() }))
    }

    /// `reader` confirms messages of `peer` that need receipts. Keys that name none are passed over. Blocks for a look.
    ///
    /// # Errors
    /// As [`Self::mark_read`].
    pub fn confirm_read(
        &self,
        reader: &UserKey,
        peer: &UserKey,
        keys: &[MsgKey],
    ) -> Result<Pending<Result<Amended, Failure>>, Failure> {
        let seqs = self.seqs(&ConvKey::pair(reader, peer), keys)?;
        Ok(self.act(reader, With::User(peer.clone()), ActWhat::Receipts(seqs)))
    }

    /// Deletes messages for `user` alone. Keys that name none are passed over. Blocks for a look.
    ///
    /// # Errors
    /// As [`Self::mark_read`].
    pub fn hide_messages(
        &self,
        user: &UserKey,
        peer: &UserKey,
        keys: &[MsgKey],
    ) -> Result<Pending<Result<Amended, Failure>>, Failure> {
        let seqs = self.seqs(&ConvKey::pair(user, peer), keys)?;
        Ok(self.act(user, With::User(peer.clone()), ActWhat::Hide(seqs)))
    }

    /// Deletes the history with a user, or of a group, for `user` alone.
    pub fn clear_history(&self, user: &UserKey, with: ClearWith) -> Pending<Result<Amended, Failure>> {
        let with = match with {
            ClearWith::User(peer) => With::User(peer),
            ClearWith::Group(group) => With::Group(group),
        };
        self.act(user, with, ActWhat::Clear)
    }

    fn act(&self, user: &UserKey, with: With, what: ActWhat) -> Pending<Result<Amended, Failure>> {
        let (pending, done) = Pending::new();
        let act = Act { user: user.clone(), with, what, done: Box::new(|outcome| done.tell(outcome)) };
        match self.shared.posts.act(act) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(busy())),
        }
    }

    /// Places of messages, smallest first, each once.
    fn seqs(&self, conv: &ConvKey, keys: &[MsgKey]) -> Result<Vec<u64>, Failure> {
        let mut seqs = Vec::with_capacity(keys.len());
        for key in keys {
            let found = self.message_by_key(conv, key).map_err(|error| unreadable(&error))?;
            seqs.extend(found.map(|found| found.seq));
        }
        seqs.sort_unstable();
        seqs.dedup();
        Ok(seqs)
    }
}

/// Whose history is deleted.
#[derive(Debug, Clone)]
pub enum ClearWith {
    /// With this user.
    User(UserKey),
    /// Of this group.
    Group(GroupKey),
}
