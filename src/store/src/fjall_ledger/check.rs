//! Whether what is stored makes sense: every rule that the rows of [`super::keys`] keep among each other.

use std::collections::HashMap;

use nearport_chat::key::{ConvKey, ConvKind};
use nearport_chat::ledger::{LedgerError, OutboxEntry};

use super::keys::{self, ConvId, Floor, Message, UserId};
use super::{FjallLedger, read};

/// Problems that are told one by one; the rest is counted.
const TOLD_MAX: usize = 50;

/// What a check has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Number of the last commit.
    pub commit: u64,
    /// Users.
    pub users: u64,
    /// Conversations.
    pub conversations: u64,
    /// Messages.
    pub messages: u64,
    /// Entries of user logs.
    pub log_entries: u64,
    /// How many rules are broken.
    pub problems: u64,
    /// The first of them, for people.
    pub told: Vec<String>,
}

impl Checked {
    fn tell(&mut self, problem: impl FnOnce() -> String) {
        self.problems += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(problem());
        }
    }

    fn rule(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.tell(problem);
        }
    }
}

/// Conversations and users by id.
#[derive(Default)]
struct Names {
    convs: HashMap<ConvId, (ConvKey, Floor)>,
    users: HashMap<UserId, String>,
}

impl FjallLedger {
    /// Reads everything and checks that names and ids lead to each other, that sequence numbers and positions have no holes
    /// above their floors, that log entries, changes, receipts, skips, recalls and hidden messages point at messages, that every message has its
    /// idempotency key and no key is left over. Nothing may be committed meanwhile.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Io`] when rows cannot be read at all. What can be read and breaks a rule
    /// is told in [`Checked`].
    pub fn check(&self) -> Result<Checked, LedgerError> {
        let mut seen = Checked { commit: self.commit_number(), ..Checked::default() };
        let names = self.check_names(&mut seen)?;
        self.check_messages(&names, &mut seen)?;
        self.check_logs(&names, &mut seen)?;
        self.check_receipts(&names, &mut seen)?;
        self.check_rest(&names, &mut seen)?;
        Ok(seen)
    }

    fn check_names(&self, seen: &mut Checked) -> Result<Names, LedgerError> {
        let last = self.writer().last;
        let mut names = Names::default();
        let mut forward = 0u64;
        for row in self.keyspaces.ids.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            match key.split_first() {
                Some((b'u', name)) => match (read::user_key(name), keys::user_id(&value)) {
                    (Some(user), Some(id)) => {
                        seen.rule(id < last.next_user, || {
                            format!("user {user:?} has id {id}, which was never given out")
                        });
                        let other = names.users.insert(id, format!("{user:?}"));
                        seen.rule(other.is_none(), || {
                            format!("id {id} is that of {user:?} and of {other:?}")
                        });
                    }
                    _ => seen.tell(|| format!("the user {} is unreadable", name.escape_ascii())),
                },
                Some((b'n', id)) => match (keys::conv_id(id), ConvKey::from_bytes(&value)) {
                    (Some(id), Some(conv)) => {
                        seen.rule(id.0 < last.next_conv, || {
                            format!("{conv:?} has id {}, which was never given out", id.0)
                        });
                        let back = self.conv_id(&conv)?;
                        seen.rule(back == Some(id), || {
                            format!("id {} leads to {conv:?}, but that to {back:?}", id.0)
                        });
                        let floor = read::floor(&self.keyspaces, id)?;
                        names.convs.insert(id, (conv, floor));
                    }
                    _ => {
                        seen.tell(|| format!("the name of conversation {} is unreadable", id.escape_ascii()))
                    }
                },
                Some((b'c', _)) => forward += 1,
                _ => seen.tell(|| format!("an unknown row of names: {}", key.escape_ascii())),
            }
        }
        // Each way back was followed above: equal numbers mean that there is no other way forward.
        let back = names.convs.len() as u64;
        seen.rule(forward == back, || {
            format!("{forward} conversations have an id, {back} ids have a conversation")
        });
        (seen.users, seen.conversations) = (names.users.len() as u64, back);
        Ok(names)
    }

    fn check_messages(&self, names: &Names, seen: &mut Checked) -> Result<(), LedgerError> {
        let mut at: Option<(ConvId, u64)> = None;
        let mut changed = 0u64;
        for row in self.keyspaces.messages.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            seen.messages += 1;
            let Some((conv, seq)) = keys::message_place(&key) else {
                seen.tell(|| format!("the message {} is unreadable", key.escape_ascii()));
                continue;
            };
            let Some((name, floor)) = names.convs.get(&conv) else {
                seen.tell(|| format!("message {seq} is of conversation {}, which has no name", conv.0));
                continue;
            };
            let expected = match at {
                Some((same, last)) if same == conv => last + 1,
                _ => floor.seq + 1,
            };
            seen.rule(seq == expected, || format!("{name:?}: message {seq} stands where {expected} should"));
            at = Some((conv, seq));
            let Some(message) = Message::parse(&value) else {
                seen.tell(|| format!("{name:?}: message {seq} is unreadable"));
                continue;
            };
            let first =
                read::row(&self.keyspaces.idem, &message.idem, "an idempotency row", keys::idem_parts)?;
            let right = first == Some((seq, message.time_ms));
            seen.rule(right, || format!("{name:?}: message {seq} has the idempotency key of {first:?}"));
            if message.edit > 0 {
                changed += 1;
                let change = keys::edit_key(conv, message.edit);
                let of = read::row(&self.keyspaces.edits, &change, "a change", keys::number)?;
                seen.rule(of == Some(seq), || {
                    format!(
                        "{name:?}: change {} of message {seq} stands in the change log as one of {of:?}",
                        message.edit
                    )
                });
            }
        }
        let (idem, edits) = (count(&self.keyspaces.idem)?, count(&self.keyspaces.edits)?);
        seen.rule(idem == seen.messages, || {
            format!("{idem} idempotency keys for another number of messages")
        });
        seen.rule(edits == changed, || format!("{edits} changes for {changed} changed messages"));
        Ok(())
    }

    fn check_logs(&self, names: &Names, seen: &mut Checked) -> Result<(), LedgerError> {
        let mut at: Option<(UserId, u64)> = None;
        for row in self.keyspaces.logs.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            seen.log_entries += 1;
            let (Some((user, position)), Some((seq, conv, _))) =
                (keys::log_place(&key), keys::log_parts(&value))
            else {
                seen.tell(|| format!("the log entry {} is unreadable", key.escape_ascii()));
                continue;
            };
            let expected = match at {
                Some((same, last)) if same == user => last + 1,
                _ => read::log_floor(&self.keyspaces, user)? + 1,
            };
            let owner =
                || names.users.get(&user).cloned().unwrap_or_else(|| format!("user {user}, who has no name"));
            seen.rule(names.users.contains_key(&user), || format!("a log is that of {}", owner()));
            seen.rule(position == expected, || {
                format!("log of {}: position {position} stands where {expected} should", owner())
            });
            at = Some((user, position));
            let there = self.is_or_was(conv, seq, names)?;
            seen.rule(there, || {
                format!(
                    "log of {}: position {position} points at message {seq} of {}, which is missing",
                    owner(),
                    conv.0
                )
            });
        }
        Ok(())
    }

    /// Whether a message is there, or was until it was trimmed.
    fn is_or_was(&self, conv: ConvId, seq: u64, names: &Names) -> Result<bool, LedgerError> {
        let Some((_, floor)) = names.convs.get(&conv) else { return Ok(false) };
        let key = keys::message_key(conv, seq);
        Ok(seq <= floor.seq || self.keyspaces.messages.contains_key(key).map_err(|e| read::error(&e))?)
    }

    fn check_receipts(&self, names: &Names, seen: &mut Checked) -> Result<(), LedgerError> {
        // The row that counts stands before those that it counts.
        let mut counted: Option<([u8; 16], u64)> = None;
        let settle = |counted: &mut Option<([u8; 16], u64)>, seen: &mut Checked| {
            if let Some((message, left)) = counted.take() {
                seen.rule(left == 0, || {
                    format!("message {}: {left} receipts are missing", message.escape_ascii())
                });
            }
        };
        for row in self.keyspaces.receipts.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let (Some(message), Some((conv, seq))) = (key.first_chunk::<16>(), keys::message_place(&key))
            else {
                seen.tell(|| format!("the receipt {} is unreadable", key.escape_ascii()));
                continue;
            };
            if key.len() > message.len() {
                match &mut counted {
                    Some((of, left)) if of == message && *left > 0 => *left -= 1,
                    _ => seen.tell(|| format!("a receipt too many: {}", key.escape_ascii())),
                }
                continue;
            }
            settle(&mut counted, seen);
            counted = keys::number(&value).map(|count| (*message, count));
            let floor = names.convs.get(&conv).map_or(0, |(_, floor)| floor.seq);
            let there = seq > floor && self.is_or_was(conv, seq, names)?;
            seen.rule(there, || format!("receipts of message {seq} of {}, which is missing", conv.0));
        }
        settle(&mut counted, seen);
        Ok(())
    }

    fn check_rest(&self, names: &Names, seen: &mut Checked) -> Result<(), LedgerError> {
        for row in self.keyspaces.hides.iter() {
            let key = row.key().map_err(|e| read::error(&e))?;
            let there = match keys::hide_parts(&key) {
                Some((conv, seq)) => self.is_or_was(conv, seq, names)?,
                None => false,
            };
            seen.rule(there, || format!("a hidden message is missing: {}", key.escape_ascii()));
        }
        let mut skipped: Option<(ConvId, u64)> = None;
        for row in self.keyspaces.skips.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let (Some((conv, seq)), Some(count)) = (keys::message_place(&key), keys::number(&value)) else {
                seen.tell(|| format!("the skip {} is unreadable", key.escape_ascii()));
                continue;
            };
            let floor = names.convs.get(&conv).map_or(0, |(_, floor)| floor.seq);
            let there = seq > floor && self.is_or_was(conv, seq, names)?;
            seen.rule(there, || format!("message {seq} of {} counts for nobody and is missing", conv.0));
            let follows = skipped.is_none_or(|(of, before)| of != conv || count == before + 1);
            seen.rule(follows, || format!("conversation {}: {count} skips up to message {seq}", conv.0));
            skipped = Some((conv, count));
        }
        for row in self.keyspaces.recalls.iter() {
            let key = row.key().map_err(|e| read::error(&e))?;
            let there = match keys::message_place(&key) {
                Some((conv, seq)) => {
                    let twice = self.keyspaces.skips.contains_key(&key).map_err(|e| read::error(&e))?;
                    seen.rule(!twice, || format!("message {seq} of {} is left out twice", conv.0));
                    let floor = names.convs.get(&conv).map_or(0, |(_, floor)| floor.seq);
                    seq > floor && self.is_or_was(conv, seq, names)?
                }
                None => false,
            };
            seen.rule(there, || format!("a message that was taken back is missing: {}", key.escape_ascii()));
        }
        for row in self.keyspaces.cursors.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            seen.rule(keys::number(&value).is_some(), || {
                format!("the cursor {} is unreadable", key.escape_ascii())
            });
        }
        for row in self.keyspaces.outbox.iter() {
            let (key, value) = row.into_inner().map_err(|e| read::error(&e))?;
            let good = key.len() == 13 && OutboxEntry::decode(0, &value).is_some();
            seen.rule(good, || format!("the entry {} of the outbox is unreadable", key.escape_ascii()));
        }
        for (id, (conv, floor)) in &names.convs {
            let ConvKind::Pair(a, b) = conv.kind() else { continue };
            if read::conv_head(&self.keyspaces, *id)? == 0 && floor.seq == 0 {
                continue;
            }
            for user in [a, b] {
                let listed = match self.user_id(&user)? {
                    Some(user) => {
                        let key = keys::pair_key(user, conv.as_bytes());
                        self.keyspaces.pairs.contains_key(key).map_err(|e| read::error(&e))?
                    }
                    None => false,
                };
                seen.rule(listed, || format!("{conv:?} is not among the conversations of {user:?}"));
            }
        }
        Ok(())
    }
}

fn count(keyspace: &fjall::Keyspace) -> Result<u64, LedgerError> {
    keyspace.len().map(|rows| rows as u64).map_err(|e| read::error(&e))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use bytes::Bytes;
    use nearport_chat::key::{AppId, UserKey};
    use nearport_chat::ledger::{Append, Batch, Edit, Hide, IdemKey, Ledger, Receipt, TrimBudget, TrimPlace};

    use super::super::Options;
    use super::*;

    /// Conversation 0 is a pair of users 0 and 1 with six messages, of which the first is trimmed and the second changed,
    /// read and hidden. All but the third count for nobody.
    fn store(path: &std::path::Path) -> FjallLedger {
        let ledger = FjallLedger::open(path, Options::default()).unwrap();
        let (alice, bob) = (UserKey::new(AppId(1), "alice").unwrap(), UserKey::new(AppId(1), "bob").unwrap());
        let conv = ConvKey::pair(&alice, &bob);
        let append = |id: u8| Append {
            conv: conv.clone(),
            idem: IdemKey { sender: alice.clone(), client_msg_id: [id; 16] },
            logs: vec![alice.clone(), bob.clone()],
            time_ms: u64::from(id),
            body: Bytes::from_static(b"text"),
            uncounted: id != 3,
        };
        ledger.commit(&Batch { appends: (1..=6).map(append).collect(), ..Batch::default() }).unwrap();
        let (body, logs) = (Bytes::new(), vec![bob.clone()]);
        let edit = Edit { conv: conv.clone(), seq: 2, body, logs, uncounted: false };
        let amend = Batch {
            edits: vec![edit],
            hides: vec![Hide { user: bob.clone(), conv: conv.clone(), seq: 2 }],
            receipts: vec![Receipt { conv, seq: 2, user: bob }],
            ..Batch::default()
        };
        ledger.commit(&amend).unwrap();
        let budget = TrimBudget { rows: usize::MAX, time: std::time::Duration::from_secs(60) };
        assert_eq!(ledger.trim(&|_| 2, &TrimPlace::default(), budget).unwrap().messages, 1);
        ledger
    }

    #[test]
    fn a_sound_store_passes_and_so_does_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = store(&dir.path().join("store"));
        let seen = ledger.check().unwrap();
        assert_eq!((seen.told.clone(), seen.problems), (vec![], 0));
        assert_eq!((seen.users, seen.conversations, seen.messages, seen.log_entries), (2, 1, 5, 11));
        let copy = dir.path().join("copy");
        let copied = ledger.copy_to(&copy, &AtomicBool::new(false)).unwrap();
        assert_eq!((copied.commit, copied.messages), (3, 5));
        let copy = FjallLedger::open(&copy, Options::default()).unwrap();
        assert_eq!(copy.check().unwrap(), seen);
        assert_eq!(copy.commit_number(), 3);
    }

    #[test]
    fn a_copy_that_was_stopped_is_no_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = store(&dir.path().join("store"));
        let copy = dir.path().join("copy");
        ledger.copy_to(&copy, &AtomicBool::new(true)).unwrap_err();
        FjallLedger::open(&copy, Options::default()).unwrap_err();
    }

    #[test]
    fn every_broken_rule_is_told() {
        type Spoil = fn(&FjallLedger);
        let spoils: [(Spoil, &str); 13] = [
            (
                |l| l.keyspaces.messages.remove(keys::message_key(ConvId(0), 4)).unwrap(),
                "stands where 4 should",
            ),
            (|l| l.keyspaces.logs.remove(keys::log_key(0, 4)).unwrap(), "stands where 4 should"),
            (
                |l| {
                    l.keyspaces.logs.insert(keys::log_key(1, 8), keys::log_value(9, ConvId(0), true)).unwrap()
                },
                "missing",
            ),
            (|l| l.keyspaces.idem.remove(keys::idem_key(0, &[3; 16])).unwrap(), "idempotency key of None"),
            (
                |l| l.keyspaces.idem.insert(keys::idem_key(0, &[9; 16]), keys::idem_value(3, 3)).unwrap(),
                "another number",
            ),
            (
                |l| l.keyspaces.edits.remove(keys::edit_key(ConvId(0), 1)).unwrap(),
                "change log as one of None",
            ),
            (|l| l.keyspaces.receipts.remove(keys::message_key(ConvId(0), 2)).unwrap(), "a receipt too many"),
            (|l| l.keyspaces.ids.remove(keys::conv_by_id(ConvId(0))).unwrap(), "has no name"),
            (
                |l| l.keyspaces.hides.insert(keys::hide_key(1, ConvId(0), 7), "").unwrap(),
                "hidden message is missing",
            ),
            (|l| l.keyspaces.skips.remove(keys::skip_key(ConvId(0), 4)).unwrap(), "skips up to message 5"),
            (
                |l| l.keyspaces.skips.insert(keys::skip_key(ConvId(0), 7), 6u64.to_be_bytes()).unwrap(),
                "counts for nobody and is missing",
            ),
            (
                |l| l.keyspaces.recalls.insert(keys::skip_key(ConvId(0), 4), "").unwrap(),
                "message 4 of 0 is left out twice",
            ),
            (
                |l| l.keyspaces.recalls.insert(keys::skip_key(ConvId(0), 7), "").unwrap(),
                "taken back is missing",
            ),
        ];
        for (spoil, told) in spoils {
            let dir = tempfile::tempdir().unwrap();
            let ledger = store(&dir.path().join("store"));
            spoil(&ledger);
            let seen = ledger.check().unwrap();
            assert!(
                seen.told.iter().any(|problem| problem.contains(told)),
                "{told:?} not in {:?}",
                seen.told
            );
        }
    }
}
