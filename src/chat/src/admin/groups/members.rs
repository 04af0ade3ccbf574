//! Members of groups, and who is muted or banned.

use std::sync::PoisonError;

use nearport_wire::body::{GroupMember, GroupRole};
use nearport_wire::code::group as code;

use super::{group_key, user_key};
use crate::actor::Actor;
use crate::admin::{Admin, Asker};
use crate::group::{MemberPlace, Penalty};
use crate::key::{AppId, ConvKey, GroupKey, UserKey};
use crate::ledger::CursorName;
use crate::reply::{Failure, unreadable};

/// Which members of a group, and what of them.
#[derive(Debug, Clone)]
pub struct MemberQuery {
    /// Id of the group.
    pub group: String,
    /// Only these; empty: all.
    pub roles: Vec<GroupRole>,
    /// Where it begins.
    pub place: MemberPlace,
    /// Most members.
    pub limit: usize,
    /// With how far they have read: a look into the ledger for each.
    pub read: bool,
    /// With when they have sent last: the same.
    pub last_sent: bool,
}

/// A member of a list.
#[derive(Debug, Clone)]
pub struct ListedMember {
    /// What the group knows of it.
    pub member: GroupMember,
    /// How far it has read.
    pub read: u64,
    /// When it sent something to the group last, milliseconds; 0: never.
    pub last_sent_ms: u64,
}

/// Some members of a group.
#[derive(Debug, Clone)]
pub struct MemberPage {
    /// By name.
    pub members: Vec<ListedMember>,
    /// More follow.
    pub more: bool,
    /// Members of the group.
    pub total: u32,
    /// It is a community.
    pub community: bool,
}

impl Admin {
    /// Members of a group.
    ///
    /// # Errors
    /// 10007 for a live room, 10010, 10015, 10002.
    pub fn group_members(&self, asker: &Asker, query: &MemberQuery) -> Result<MemberPage, Failure> {
        let key = group_key(asker.app, &query.group)?;
        let shared = self.group(&key)?;
        let (listed, more, total, community) = {
            let group = shared.read().unwrap_or_else(PoisonError::into_inner);
            if !group.kind().stored_members {
                return Err(Failure::new(code::NO_PERMISSION, "members of a live room are not stored"));
            }
            let (place, limit, by) = (&query.place, query.limit, Actor::Admin(&asker.admin));
            let (listed, more) = self.with_ctx(|ctx| group.list_members(ctx, by, &query.roles, place, limit));
            let total = u32::try_from(group.member_count()).unwrap_or(u32::MAX);
            (listed, more, total, group.kind().community)
        };
        let conv = key.conv();
        let mut members = Vec::with_capacity(listed.len());
        for (user, member) in listed {
            let [read, last_sent_ms] = self.cursors_of(&user, &conv, [query.read, query.last_sent])?;
            members.push(ListedMember { member, read, last_sent_ms });
        }
        Ok(MemberPage { members, more, total, community })
    }

    /// How far a member has read and when it has sent last, as far as these are wanted; one look for both.
    fn cursors_of(&self, user: &UserKey, conv: &ConvKey, wanted: [bool; 2]) -> Result<[u64; 2], Failure> {
        let names = [CursorName::Read(conv.clone()), CursorName::Spoke(conv.clone())];
        let (asked, names): (Vec<_>, Vec<_>) =
            names.into_iter().enumerate().filter(|(at, _)| wanted[*at]).unzip();
        let mut cursors = [0; 2];
        if !names.is_empty() {
            let found = self.shared.ledger.cursors(user, &names).map_err(|error| unreadable(&error))?;
            for (at, cursor) in asked.into_iter().zip(found) {
                cursors[at] = cursor.unwrap_or_default();
            }
        }
        Ok(cursors)
    }

    /// Who is muted or banned in a group, by name, with the Unix second in which it ends.
    ///
    /// # Errors
    /// 10010, 10015, 10002.
    pub fn group_penalties(
        &self,
        app: AppId,
        group: &str,
        what: Penalty,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let shared = self.group(&group_key(app, group)?)?;
        let group = shared.read().unwrap_or_else(PoisonError::into_inner);
        let all = group.list_penalties(what, self.now_ms() / 1000);
        Ok(all.into_iter().map(|(user, until_s)| (user.name().to_owned(), until_s)).collect())
    }

    /// How far a user has read a group.
    pub(super) fn read_of(&self, user: &UserKey, key: &GroupKey) -> Result<u64, Failure> {
        let cursor = self.shared.ledger.cursor(user, &CursorName::Read(key.conv()));
        Ok(cursor.map_err(|error| unreadable(&error))?.unwrap_or_default())
    }

    /// A user of the App that exists.
    ///
    /// # Errors
    /// 10019, 10002.
    pub(super) fn existing(&self, app: AppId, name: &str) -> Result<UserKey, Failure> {
        let unknown = || Failure::new(code::NO_ACCOUNT, "the account does not exist");
        let user = user_key(app, name).map_err(|_| unknown())?;
        match self.accounts_exist(app, &[name.to_owned()]) {
            Ok(exist) if exist == [true] => Ok(user),
            Ok(_) => Err(unknown()),
            Err(failure) => Err(Failure { code: code::INTERNAL, ..failure }),
        }
    }
}
