//! Friend groups: how a user sorts her friends. A friend may be in several.

use std::collections::BTreeSet;

use super::{Area, Effects, ITEMS_MAX, Item, Items, People, Stop, check_count, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::key::UserKey;

/// Friend groups as a user has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FriendGroups {
    /// By name: how many are in it and, if they were asked for, who.
    pub groups: Vec<(String, usize, Vec<String>)>,
    /// Of friend groups.
    pub sequence: u64,
}

/// Names of users to put into an answer to a client, in all groups together: a page of 256 KiB has room for them.
const MEMBERS_SHOWN_MAX: usize = 6000;

impl People {
    /// Makes friend groups and puts friends into each of them. One item for each of `users`. Groups that exist stay.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30005, 30006, 30008, 30011; for an item 32216.
    pub fn add_friend_groups(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        users: &[String],
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        check_count(names.len(), ITEMS_MAX, codes::RELATION_BAD)?;
        check_count(users.len() + 1, ITEMS_MAX + 1, codes::RELATION_BAD)?;
        let tags = self.tags(user.app());
        names.iter().try_for_each(|name| tags.check_group(name))?;
        // Each once, so that every friend is put into as many groups as there may be, not into as many as are named.
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let max = self.config(user.app()).friend_groups_max;
        let (items, head) = self.change(user, &[], effects, |ledgered| {
            for name in &names {
                ledgered.make_group(user, name, max)?;
            }
            let mut items = Vec::with_capacity(users.len());
            for friend in users {
                let known = ledgered.tx.friend(user, friend)?.is_some();
                if known {
                    for name in &names {
                        ledgered.set_in_group(user, friend, name, true)?;
                    }
                }
                items.push(Item::of(friend, if known { Ok(()) } else { Err(not_a_friend()) }));
            }
            Ok(items)
        })?;
        Ok(Items { items, head })
    }

    /// Takes friend groups away. Friends stay friends, and a group that is not there is no error.
    ///
    /// # Errors
    /// 30001, 30003, 30004, 30006, 30008.
    pub fn delete_friend_groups(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        check_count(names.len(), ITEMS_MAX, codes::RELATION_BAD)?;
        let (items, head) = self.change(user, &[], effects, |ledgered| {
            for name in names {
                let members = !ledgered.tx.friend_group_members(user, name)?.is_empty();
                if ledgered.tx.delete_friend_group(user, name)? {
                    ledgered.heads.groups(user);
                    if members {
                        // The groups of a friend are among the standard fields.
                        ledgered.heads.friends(user, 0);
                    }
                }
            }
            Ok(names.iter().map(|name| Item::done(name)).collect())
        })?;
        Ok(Items { items, head })
    }

    /// Gives a friend group another name.
    ///
    /// # Errors
    /// 30001 (there is none of that name, or one of the new one), 30003 to 30006, 30008.
    pub fn rename_friend_group(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        (name, new_name): (&str, &str),
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        self.tags(user.app()).check_group(new_name)?;
        let (items, head) = self.change(user, &[], effects, |ledgered| {
            let members = ledgered.tx.friend_group_members(user, name)?;
            if !ledgered.tx.delete_friend_group(user, name)? {
                return Err(no_group());
            }
            if !ledgered.tx.add_friend_group(user, new_name)? {
                let info = "there is a friend group of the new name";
                return Err(Failure::new(codes::RELATION_BAD, info).into());
            }
            for member in &members {
                ledgered.tx.set_group_member(user, new_name, member, true)?;
            }
            ledgered.heads.groups(user);
            if !members.is_empty() {
                ledgered.heads.friends(user, 0);
            }
            Ok(vec![Item::done(new_name)])
        })?;
        Ok(Items { items, head })
    }

    /// Puts friends into a group, or takes them out. One item for each.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 32216.
    pub fn set_friend_group_members(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        name: &str,
        (add, remove): (&[String], &[String]),
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        check_count(add.len() + remove.len(), ITEMS_MAX, codes::RELATION_BAD)?;
        let (items, head) = self.change(user, &[], effects, |ledgered| {
            if !ledgered.tx.friend_groups(user)?.iter().any(|known| known == name) {
                return Err(no_group());
            }
            let mut items = Vec::with_capacity(add.len() + remove.len());
            for (friend, member) in
                add.iter().map(|friend| (friend, true)).chain(remove.iter().map(|friend| (friend, false)))
            {
                let known = ledgered.tx.friend(user, friend)?.is_some();
                if known {
                    ledgered.set_in_group(user, friend, name, member)?;
                }
                items.push(Item::of(friend, if known { Ok(()) } else { Err(not_a_friend()) }));
            }
            Ok(items)
        })?;
        Ok(Items { items, head })
    }

    /// Friend groups by name; all, if none is named. Without names and with the sequence `known`, none: nothing has changed.
    ///
    /// # Errors
    /// 30001, 30003, 30004, 30006.
    pub fn friend_groups(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        members: bool,
        known: u64,
    ) -> Result<FriendGroups, Failure> {
        self.own(actor, user)?;
        check_count(names.len() + 1, ITEMS_MAX + 1, codes::RELATION_BAD)?;
        self.read(Area::Relations, |tx| {
            let sequence = tx.relation_head(user)?.groups_seq;
            if names.is_empty() && known > 0 && known == sequence {
                return Ok(FriendGroups { groups: Vec::new(), sequence });
            }
            let shown_max = if actor.is_admin() { usize::MAX } else { MEMBERS_SHOWN_MAX };
            let mut groups = Vec::new();
            let mut shown = 0;
            for name in tx.friend_groups(user)? {
                if names.is_empty() || names.contains(&name) {
                    let users = tx.friend_group_members(user, &name)?;
                    let count = users.len();
                    let mut users = if members { users } else { Vec::new() };
                    users.truncate(shown_max - shown);
                    shown += users.len();
                    groups.push((name, count, users));
                }
            }
            Ok(FriendGroups { groups, sequence })
        })
    }
}

fn not_a_friend() -> Failure {
    Failure::new(codes::GROUP_NOT_A_FRIEND, "the user is not your friend")
}

fn no_group() -> Stop {
    Failure::new(codes::RELATION_BAD, "there is no friend group of that name").into()
}
