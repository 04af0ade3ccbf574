//! Who has confirmed to have read a message.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use bytes::Bytes;
use nearport_wire::body::{self, ReadCount, ReaderPage};
use nearport_wire::code;
use prost::Message as _;

use super::Front;
use crate::group::SharedGroup;
use crate::kept::Kept;
use crate::key::{ConvKey, UserKey};
use crate::ledger::Ledger;
use crate::reply::{Failure, With, decode, unreadable};

/// Messages of one request.
const SEQS_MAX: usize = 30;

/// Names of one page.
const NAMES_MAX: u32 = 200;

impl Front {
    /// Answers READERS: counts for each message, and for a single one of a group the names.
    pub(super) fn readers(&self, user: &UserKey, body: Bytes) -> Result<Bytes, Failure> {
        let request: body::Readers = decode(body, "readers")?;
        let with = With::of(user, request.with.clone())?;
        let conv = with.conv(user);
        let shared = match &with {
            With::Group(key) => {
                self.floor(user, &with)?;
                Some(self.group(key)?)
            }
            With::User(_) | With::Notices => None,
        };
        if request.seqs.len() > SEQS_MAX {
            let code = if shared.is_some() { code::group::BAD_PARAMETER } else { code::BAD_REQUEST };
            return Err(Failure::new(code, "at most 30 messages at once"));
        }
        let mut page = ReaderPage { complete: true, ..ReaderPage::default() };
        for seq in &request.seqs {
            let entry = self.shared.ledger.entry(&conv, *seq).map_err(|error| unreadable(&error))?;
            let kept = entry.map(|entry| Kept::open(&entry.body));
            // Only who has sent it asks; for others it is as if it had none.
            if !kept.is_some_and(|kept| kept.head.need_receipt && kept.is_from(user)) {
                continue;
            }
            let names = request.seqs.len() == 1 && request.limit > 0;
            match &shared {
                Some(group) => {
                    self.group_readers(user, &conv, group, *seq, names.then_some(&request), &mut page)?
                }
                None => {
                    let read =
                        self.shared.ledger.receipt_count(&conv, *seq).map_err(|error| unreadable(&error))?;
                    let read = u32::from(read > 0);
                    page.counts.push(ReadCount { seq: *seq, read, unread: 1 - read });
                }
            }
        }
        if page.counts.is_empty() {
            let code = if shared.is_some() { code::group::NO_RECEIPTS } else { code::NO_MESSAGE };
            return Err(Failure::new(code, "there is no message of yours here that has receipts"));
        }
        Ok(page.encode_to_vec().into())
    }

    fn group_readers(
        &self,
        sender: &UserKey,
        conv: &ConvKey,
        group: &SharedGroup,
        seq: u64,
        names: Option<&body::Readers>,
        page: &mut ReaderPage,
    ) -> Result<(), Failure> {
        let Readers { readers, unread } = readers(&*self.shared.ledger, sender, conv, group, seq)?;
        let unread: Vec<&UserKey> = unread.iter().collect();
        let count = |len| u32::try_from(len).unwrap_or(u32::MAX);
        page.counts.push(ReadCount { seq, read: count(readers.len()), unread: count(unread.len()) });
        let Some(request) = names else { return Ok(()) };
        let all: Vec<&UserKey> = if request.unread { unread } else { readers.iter().collect() };
        let mut after = all.into_iter().map(UserKey::name).filter(|name| *name > request.after.as_str());
        let limit = request.limit.min(NAMES_MAX) as usize;
        page.names = after.by_ref().take(limit).map(str::to_owned).collect();
        page.complete = after.next().is_none();
        Ok(())
    }
}

/// Who has read a message of a group, and who has not.
#[derive(Debug)]
pub(crate) struct Readers {
    pub(crate) readers: BTreeSet<UserKey>,
    /// Members of now who were in it when it was sent, by name.
    pub(crate) unread: Vec<UserKey>,
}

/// Tells members apart by what they have confirmed of a message of `sender`. The group is not locked while the ledger is read: whoever
/// wanted to change it would wait for that, and behind it the message path.
pub(crate) fn readers(
    ledger: &dyn Ledger,
    sender: &UserKey,
    conv: &ConvKey,
    group: &SharedGroup,
    seq: u64,
) -> Result<Readers, Failure> {
    // Receipts are kept for small groups only: all readers of one message are few. Who has left has read it all the same.
    let most = {
        let group = group.read().unwrap_or_else(PoisonError::into_inner);
        group.kind().receipts_members_max as usize + group.member_count() + 1
    };
    let readers = ledger.receipts(conv, seq, None, most).map_err(|error| unreadable(&error))?;
    let readers: BTreeSet<UserKey> = readers.into_iter().collect();
    let group = group.read().unwrap_or_else(PoisonError::into_inner);
    let waits = |(user, member): &(&UserKey, &crate::group::Member)| {
        *user != sender && member.joined_seq < seq && !readers.contains(*user)
    };
    let unread = group.members().filter(waits).map(|(user, _)| user.clone()).collect();
    Ok(Readers { readers, unread })
}
