//! What of a conversation a user may see.

use nearport_wire::code;

use super::Front;
use crate::actor::Actor;
use crate::group::{SharedGroup, gone_at};
use crate::kept::Kept;
use crate::key::{AppId, ConvKey, GroupKey, UserKey};
use crate::ledger::{CursorName, Entry, LedgerError};
use crate::reply::{Failure, With, no_groups, unreadable};
use crate::shared::Shared;

const DAY_MS: u64 = 86_400_000;

/// System notices that are shown of one's notices, of the public contract: the newest.
const NOTICES_SHOWN: u64 = 100;

/// Which messages of a range of a conversation one user may see.
#[derive(Debug)]
pub(crate) struct View {
    user: UserKey,
    /// Only what lies above.
    floor: u64,
    /// Only what is not older, milliseconds.
    since_ms: u64,
    /// What the user has deleted, ascending.
    hidden: Vec<u64>,
}

impl View {
    pub(crate) fn shows(&self, entry: &Entry, kept: &Kept) -> bool {
        entry.seq > self.floor
            && entry.time_ms >= self.since_ms
            && self.hidden.binary_search(&entry.seq).is_err()
            && kept.is_for(&self.user)
    }
}

impl Shared {
    /// What `user` may see above `floor` but for what is hidden, ascending.
    pub(crate) fn view_of(&self, user: &UserKey, floor: u64, hidden: Vec<u64>, now_ms: u64) -> View {
        View { user: user.clone(), floor, since_ms: self.since_ms(user.app(), now_ms), hidden }
    }

    /// The time before which nothing is shown to users of an App.
    pub(crate) fn since_ms(&self, app: AppId, now_ms: u64) -> u64 {
        match self.settings(app).config.roaming_days {
            0 => 0,
            days => now_ms.saturating_sub(u64::from(days) * DAY_MS),
        }
    }
}

impl Front {
    /// Up to where `user` has deleted the history of a conversation.
    pub(super) fn cleared(&self, user: &UserKey, conv: &ConvKey) -> Result<u64, LedgerError> {
        let cleared = self.shared.ledger.cursor(user, &CursorName::Cleared(conv.clone()))?;
        Ok(cleared.unwrap_or_default())
    }

    /// What `user` may see above `floor` of the messages `first` to `last`, whatever kind of conversation it is.
    pub(super) fn view(
        &self,
        user: &UserKey,
        conv: &ConvKey,
        floor: u64,
        (first, last): (u64, u64),
        now_ms: u64,
    ) -> Result<View, LedgerError> {
        let hidden = self.shared.ledger.hidden(user, conv, first, last)?;
        Ok(self.shared.view_of(user, floor, hidden, now_ms))
    }

    /// The seq above which `user` may see a conversation at all.
    pub(super) fn floor(&self, user: &UserKey, with: &With) -> Result<u64, Failure> {
        match with {
            With::User(_) => Ok(0),
            With::Notices => {
                let head = self.shared.ledger.head(&ConvKey::notices(user));
                Ok(head.map_err(|error| unreadable(&error))?.saturating_sub(NOTICES_SHOWN))
            }
            With::Group(key) => self.group_floor(user, key),
        }
    }

    /// A group that exists.
    pub(super) fn group(&self, key: &GroupKey) -> Result<SharedGroup, Failure> {
        self.shared.groups.find_home(key).map_err(|error| no_groups(&error))?.ok_or_else(|| gone_at(key))
    }

    fn group_floor(&self, user: &UserKey, key: &GroupKey) -> Result<u64, Failure> {
        let group = self.group(key)?;
        let group = group.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        group.visible(Actor::User(user))?;
        if !group.kind().history {
            return Err(Failure::new(code::group::NO_PERMISSION, "groups of this type keep no messages"));
        }
        let denied = || Failure::new(code::group::NO_PERMISSION, "only members read the messages of a group");
        group.history_after(key, user).ok_or_else(denied)
    }
}
