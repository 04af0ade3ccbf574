//! The blocklist: who is on it cannot write to its owner, and neither can ask the other for a friendship.

use super::{Area, Effects, Items, People, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::key::UserKey;

/// Most users in a page for a client.
const PAGE_MAX: u32 = 100;

/// Most users in a page for a back end.
const ADMIN_PAGE_MAX: u32 = 1000;

/// A page of a blocklist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockPage {
    /// By name, with the time of blocking in Unix seconds.
    pub blocks: Vec<(String, u64)>,
    /// Where the next page starts; 0: there is none.
    pub next: u32,
    /// Of the blocklist.
    pub sequence: u64,
    /// Users in the list.
    pub total: u32,
}

impl People {
    /// Blocks users: friendships with them end in both directions, and so do applications and follows.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item also 30013.
    pub fn add_blocks(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, peer| {
            let fail = |code, info: &'static str| Err(Failure::new(code, info).into());
            if user == peer {
                return fail(codes::RELATION_BAD, "nobody blocks herself");
            }
            if ledgered.tx.block(user, peer.name())?.is_some() {
                return fail(codes::RELATION_BAD, "the user is blocked already");
            }
            if ledgered.heads.get(user).blocks >= self.config(user.app()).blocks_max {
                return fail(codes::BLOCKS_FULL, "the blocklist is full");
            }
            ledgered.tx.add_block(user, peer.name(), now_ms / 1000)?;
            ledgered.heads.blocks(user, 1);
            ledgered.part(user, peer)?;
            ledgered.part(peer, user)?;
            ledgered.tx.delete_follow(user, peer.name())?;
            ledgered.tx.delete_follow(peer, user.name())?;
            ledgered.drop_application(user, peer)?;
            ledgered.drop_application(peer, user)?;
            ledgered.blocked.push((user.clone(), peer.clone()));
            Ok(())
        })
    }

    /// Takes users off the blocklist.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 30001 if the user was not on it.
    pub fn delete_blocks(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, peer| {
            if ledgered.tx.delete_block(user, peer.name())? {
                ledgered.heads.blocks(user, -1);
                ledgered.unblocked.push((user.clone(), peer.clone()));
                return Ok(());
            }
            Err(Failure::new(codes::RELATION_BAD, "the user is not blocked").into())
        })
    }

    /// A page of the blocklist: of 100 users, or of 1,000 for a back end that asks for so many. The first one is empty and complete if
    /// `known` is the list's sequence.
    ///
    /// # Errors
    /// 30003, 30004, 30006.
    pub fn blocks(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        start: u32,
        limit: u32,
        known: u64,
    ) -> Result<BlockPage, Failure> {
        self.own(actor, user)?;
        let most = if actor.is_admin() { ADMIN_PAGE_MAX } else { PAGE_MAX };
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(most) };
        self.read(Area::Relations, |tx| {
            let head = tx.relation_head(user)?;
            let (sequence, total) = (head.blocks_seq, head.blocks);
            if known > 0 && known == sequence && start == 0 {
                return Ok(BlockPage { sequence, total, ..BlockPage::default() });
            }
            let mut blocks = tx.blocks(user, start, limit + 1)?;
            let next = if blocks.len() > limit as usize { start.saturating_add(limit) } else { 0 };
            blocks.truncate(limit as usize);
            Ok(BlockPage { blocks, next, sequence, total })
        })
    }
}
