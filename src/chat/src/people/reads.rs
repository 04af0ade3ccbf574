//! What is read of relations: pages, checks, and the fields of single friends.

use nearport_wire::body;
use prost::Message as _;

use super::{Area, ITEMS_MAX, PAGE_BYTES_MAX, People, Stop, check_count, codes, sequences};
use crate::Failure;
use crate::actor::Actor;
use crate::directory::people::{ApplicationRow, FieldValue, FriendRow, PeopleTx, RelationHead};
use crate::key::UserKey;

/// Most friends in a page, and in one look-up.
const PAGE_MAX: u32 = 100;

/// A friend as the user knows her.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Name of the friend.
    pub name: String,
    /// Standard fields; absent if the asker has them.
    pub row: Option<FriendRow>,
    /// Friend groups that she is in; with the standard fields.
    pub groups: Vec<String>,
    /// Custom fields; empty if the asker has them.
    pub custom: Vec<(String, FieldValue)>,
}

/// A page of friends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FriendPage {
    /// By name.
    pub friends: Vec<Known>,
    /// Counters of the user.
    pub head: RelationHead,
    /// Where the next page starts.
    pub next: u32,
    /// There is none.
    pub complete: bool,
}

/// One friend of a look-up, with fields of the profile.
pub type FriendInfo = Result<(Known, Vec<(String, FieldValue)>), Failure>;

/// Two users, seen from the first: whether each has the other in the list in question, or why that is not known.
pub type Checked = Result<(bool, bool), Failure>;

impl People {
    /// A page of friends from number `start`. What the asker has, by its sequences, is left out.
    ///
    /// # Errors
    /// 30003, 30004, 30006.
    pub fn friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        start: u32,
        limit: u32,
        (standard, custom): (u64, u64),
    ) -> Result<FriendPage, Failure> {
        self.own(actor, user)?;
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        self.read(Area::Relations, |tx| {
            let head = tx.relation_head(user)?;
            let rows = tx.friends(user, start, limit)?;
            let mut friends = Vec::with_capacity(rows.len());
            let mut bytes = 0;
            for (name, row) in rows {
                let row = (standard == 0 || standard != head.standard_seq).then_some(row);
                let custom = custom == 0 || custom != head.custom_seq;
                let known = self.known(tx, actor, user, name, row, custom)?;
                bytes += friend_to_wire(&known).encoded_len();
                friends.push(known);
                if bytes > PAGE_BYTES_MAX {
                    break;
                }
            }
            let next = start.saturating_add(u32::try_from(friends.len()).unwrap_or(limit));
            Ok(FriendPage { friends, head, next, complete: next >= head.friends })
        })
    }

    fn known(
        &self,
        tx: &mut dyn PeopleTx,
        actor: &Actor<'_>,
        user: &UserKey,
        name: String,
        row: Option<FriendRow>,
        custom: bool,
    ) -> Result<Known, Stop> {
        let tags = self.tags(user.app());
        let groups = if row.is_some() { tx.groups_of_friend(user, &name)? } else { Vec::new() };
        let mut custom = if custom { tx.friend_fields(user, &name)? } else { Vec::new() };
        custom.retain(|(tag, _)| tags.friend_readable(actor, tag));
        Ok(Known { name, row, groups, custom })
    }

    /// Single friends with fields of their profiles, in the order of `names`: of 100, or of 1,000 for a back end. Without `wanted`:
    /// all fields.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006; 30001 for one who is not a friend.
    pub fn friend_infos(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        wanted: &[String],
    ) -> Result<Vec<FriendInfo>, Failure> {
        self.own(actor, user)?;
        let most = if actor.is_admin() { ITEMS_MAX } else { PAGE_MAX as usize };
        check_count(names.len(), most, codes::RELATION_BAD)?;
        check_count(wanted.len() + 1, PAGE_MAX as usize, codes::RELATION_BAD)?;
        let wants = |tag: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == tag);
        let profile = wanted.is_empty() || wanted.iter().any(|tag| tag.starts_with("Tag_Profile_"));
        self.read(Area::Relations, |tx| {
            let mut infos = Vec::with_capacity(names.len());
            for name in names {
                let row = tx.friend(user, name)?;
                let (Some(row), Ok(friend)) = (row, UserKey::new(user.app(), name)) else {
                    infos.push(Err(Failure::new(codes::RELATION_BAD, "the user is not your friend")));
                    continue;
                };
                let mut known = self.known(tx, actor, user, name.clone(), Some(row), true)?;
                known.custom.retain(|(tag, _)| wants(tag));
                if let Some(row) = &mut known.row {
                    keep_wanted(row, &wants);
                }
                if !wants("Tag_SNS_IM_Group") {
                    known.groups.clear();
                }
                let fields = match profile {
                    true => self.readable_fields(tx, actor, &friend, wanted)?,
                    false => Vec::new(),
                };
                infos.push(Ok((known, fields)));
            }
            Ok(infos)
        })
    }

    /// Whether `user` has each of `names` as a friend and, if `both` sides are asked for, the other way round.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006; for an item 30003.
    pub fn check_friends(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        both: bool,
    ) -> Result<Vec<Checked>, Failure> {
        self.check(actor, user, names, both, |tx, user, other| Ok(tx.friend(user, other)?.is_some()))
    }

    /// The same for blocklists.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006; for an item 30003.
    pub fn check_blocks(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        both: bool,
    ) -> Result<Vec<Checked>, Failure> {
        self.check(actor, user, names, both, |tx, user, other| Ok(tx.block(user, other)?.is_some()))
    }

    pub(super) fn check(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        both: bool,
        has: impl Fn(&mut dyn PeopleTx, &UserKey, &str) -> Result<bool, Stop>,
    ) -> Result<Vec<Checked>, Failure> {
        self.own(actor, user)?;
        check_count(names.len(), ITEMS_MAX, codes::RELATION_BAD)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let peers = self.users(user.app(), &names, Area::Relations)?;
        self.read(Area::Relations, |tx| {
            let mut checked = Vec::with_capacity(peers.len());
            for peer in &peers {
                checked.push(match peer {
                    Ok(peer) => Ok((has(tx, user, peer.name())?, both && has(tx, peer, user.name())?)),
                    Err(failure) => Err(failure.clone()),
                });
            }
            Ok(checked)
        })
    }
}

fn keep_wanted(row: &mut FriendRow, wants: &dyn Fn(&str) -> bool) {
    if !wants("Tag_SNS_IM_Remark") {
        row.remark.clear();
    }
    if !wants("Tag_SNS_IM_AddSource") {
        row.source.clear();
    }
    if !wants("Tag_SNS_IM_AddWording") {
        row.wording.clear();
    }
    if !wants("Tag_SNS_IM_AddTime") {
        row.added_s = 0;
    }
}

// What the wire calls these things.

pub(crate) fn friend_to_wire(known: &Known) -> body::Friend {
    let row = known.row.clone().unwrap_or_default();
    body::Friend {
        user: known.name.clone(),
        remark: row.remark,
        source: row.source,
        wording: row.wording,
        added_s: row.added_s,
        groups: known.groups.clone(),
        custom: known.custom.iter().map(|(tag, value)| super::profiles::to_wire(tag, value)).collect(),
    }
}

pub(crate) fn page_to_wire(page: &FriendPage) -> body::FriendPage {
    body::FriendPage {
        friends: page.friends.iter().map(friend_to_wire).collect(),
        sequences: Some(sequences(&page.head)),
        total: page.head.friends,
        next: page.next,
        complete: page.complete,
    }
}

pub(crate) fn application_to_wire(
    other: &str,
    row: &ApplicationRow,
    id: u64,
    read: bool,
) -> body::FriendApplication {
    body::FriendApplication {
        user: other.to_owned(),
        id,
        time_s: row.time_s,
        wording: row.wording.clone(),
        source: row.source.clone(),
        single: row.single,
        read,
    }
}
