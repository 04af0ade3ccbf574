//! What the back end of an App lists of a group: all of it, in pages that it cuts itself.

use nearport_wire::body::{GroupMember, GroupRole};

use super::members::role_body;
use super::record::Penalty;
use super::state::{Ctx, Group};
use super::types::Rank;
use crate::actor::Actor;
use crate::key::UserKey;

/// Where a list of members begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberPlace {
    /// Behind so many.
    Offset(usize),
    /// Behind the one of this name; "" is the beginning.
    After(String),
}

impl Group {
    /// Members by name, of these roles (of none: all), at most `limit`, and whether more follow.
    pub(crate) fn list_members(
        &self,
        ctx: &Ctx<'_>,
        by: Actor<'_>,
        roles: &[GroupRole],
        place: &MemberPlace,
        limit: usize,
    ) -> (Vec<(UserKey, GroupMember)>, bool) {
        let wanted =
            self.members().filter(|(_, member)| roles.is_empty() || roles.contains(&role_body(member.role)));
        let mut wanted: Box<dyn Iterator<Item = _>> = match place {
            MemberPlace::Offset(offset) => Box::new(wanted.skip(*offset)),
            MemberPlace::After(name) => {
                Box::new(wanted.skip_while(move |(user, _)| user.name() <= name.as_str()))
            }
        };
        let listed: Vec<_> = wanted
            .by_ref()
            .take(limit)
            .map(|(user, member)| (user.clone(), self.shown(ctx, by, Rank::App, user, member)))
            .collect();
        (listed, wanted.next().is_some())
    }

    /// Who is muted or banned now, by name, with the second in which it ends.
    pub(crate) fn list_penalties(&self, what: Penalty, now_s: u64) -> Vec<(UserKey, u64)> {
        let all = self.record.penalties.iter();
        all.filter(|((kind, _), until_s)| *kind == what && **until_s > now_s)
            .map(|((_, user), until_s)| (user.clone(), *until_s))
            .collect()
    }
}
