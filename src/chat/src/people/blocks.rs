//! The blocklist: who is on it cannot write to its owner, and neither can ask the other for a friendship.

use super::{Area, Effects, Items, People, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::key::UserKey;

/// Most users in a page.
const PAGE_MAX: u32 = 100;

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
    /// Blocks users: friendships with them end in both directions, and so do applications.
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
            if ledgered.heads.get(user).blocks >= self.config.blocks_max {
                return fail(codes::BLOCKS_FULL, "the blocklist is full");
            }
            ledgered.tx.add_block(user, peer.name(), now_ms / 1000)?;
            ledgered.heads.blocks(user, 1);
            ledgered.part(user, peer)?;
            ledgered.part(peer, user)?;
            ledgered.drop_application(user, peer)?;
            ledgered.drop_application(peer, user)?;
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
                return Ok(());
            }
            Err(Failure::new(codes::RELATION_BAD, "the user is not blocked").into())
        })
    }

    /// A page of the blocklist. Empty and complete if `known` is its sequence.
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
        let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
        self.read(Area::Relations, |tx| {
            let head = tx.relation_head(user)?;
            let (sequence, total) = (head.blocks_seq, head.blocks);
            if known > 0 && known == sequence {
                return Ok(BlockPage { sequence, total, ..BlockPage::default() });
            }
            let mut blocks = tx.blocks(user, start, limit + 1)?;
            let next = if blocks.len() > limit as usize { start + limit } else { 0 };
            blocks.truncate(limit as usize);
            Ok(BlockPage { blocks, next, sequence, total })
        })
    }
}
