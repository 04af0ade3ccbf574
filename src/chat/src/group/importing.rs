//! Members that another system had.

use std::collections::BTreeSet;

use nearport_wire::body::{GroupInviteItem, GroupInviteResult};
use nearport_wire::code::group as code;

use super::effects::Effects;
use super::record::{Change, Fields, Member, Role};
use super::state::{Ctx, Group, denied, gone};
use crate::key::UserKey;
use crate::reply::Failure;

/// Most members of one import, of the public contract.
const MEMBERS_MAX: usize = 300;

/// A member to be imported.
#[derive(Debug, Clone)]
pub(crate) struct NewMember {
    pub(crate) name: String,
    pub(crate) admin: bool,
    /// Since when, milliseconds; `None`: now.
    pub(crate) joined_ms: Option<u64>,
    /// Newest message when they joined.
    pub(crate) joined_seq: u64,
}

impl Group {
    /// Adds members without telling anybody, and says what became of each.
    pub(crate) fn import_members(
        &self,
        ctx: &Ctx<'_>,
        members: &[NewMember],
        fx: &mut Effects,
    ) -> Result<Vec<GroupInviteItem>, Failure> {
        if self.is_dismissed() {
            return Err(gone());
        }
        if !self.kind.import || !self.kind.stored_members {
            return Err(denied("members of this type of group are not imported"));
        }
        if members.is_empty() || members.len() > MEMBERS_MAX {
            return Err(Failure::new(code::TOO_MANY_ACCOUNTS, "1 to 300 members are imported at once"));
        }
        if members.iter().any(|member| member.admin) && !self.kind.admins {
            return Err(denied("groups of this type have no administrators"));
        }
        let (mut items, mut added, mut full) = (Vec::with_capacity(members.len()), BTreeSet::new(), None);
        for NewMember { name, admin, joined_ms, joined_seq } in members {
            let user = UserKey::new(self.key().app(), name).ok().filter(|user| ctx.people.contains_key(user));
            let joined_ms = joined_ms.unwrap_or(ctx.now_ms);
            // Seconds, as the back end has them.
            let since = self.info().created_ms / 1000..=ctx.now_s();
            let result = match user {
                Some(user) if self.member(&user).is_some() || added.contains(&user) => {
                    GroupInviteResult::GroupInviteKnown
                }
                Some(user) if since.contains(&(joined_ms / 1000)) => {
                    match self.check_room(ctx, &user, added.len()) {
                        Ok(()) => {
                            let member = Member {
                                role: if *admin { Role::Admin } else { Role::Member },
                                joined_ms,
                                joined_seq: *joined_seq,
                                reception: self.kind.reception,
                                name_card: "".into(),
                                fields: Fields::default(),
                            };
                            fx.changes.push(Change::PutMember(user.clone(), Box::new(member)));
                            fx.joined.push(user.clone());
                            added.insert(user);
                            GroupInviteResult::GroupInviteAdded
                        }
                        Err(failure) => {
                            full = Some(failure);
                            GroupInviteResult::GroupInviteFailed
                        }
                    }
                }
                _ => GroupInviteResult::GroupInviteFailed,
            };
            items.push(GroupInviteItem { user: name.clone(), result: result.into() });
        }
        match full.filter(|_| added.is_empty()) {
            Some(failure) => Err(failure),
            None => Ok(items),
        }
    }
}
