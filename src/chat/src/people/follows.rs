//! Follows: one way, and nobody is asked.

use super::{Area, Checked, Effects, Items, People, check_count, codes};
use crate::Failure;
use crate::actor::Actor;
use crate::directory::people::Follows;
use crate::key::{AppId, UserKey};

/// Users in one change.
const CHANGED_MAX: usize = 20;

/// Users in one check.
const CHECKED_MAX: usize = 100;

/// Users in one look at numbers.
const COUNTED_MAX: usize = 20;

/// Most users in a page, and in one for which no number was said.
const PAGE_MAX: u32 = 1000;
const PAGE: u32 = 100;

/// A page of follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowPage {
    /// By name, with the time of the follow in Unix seconds.
    pub follows: Vec<(String, u64)>,
    /// Where the next page starts; empty: there is none.
    pub next: String,
}

/// How many of each there are of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowCounts {
    /// Who follow the user.
    pub followers: u64,
    /// Whom the user follows.
    pub following: u64,
    /// Who do both.
    pub mutual: u64,
}

impl People {
    /// `user` follows others. Whoever is followed already stays so.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 30001 (herself), 30003, 30010, 30515, 30525.
    pub fn add_follows(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        check_count(names.len(), CHANGED_MAX, codes::RELATION_BAD)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, peer| {
            let fail = |code, info: &'static str| Err(Failure::new(code, info).into());
            if user == peer {
                return fail(codes::RELATION_BAD, "nobody follows herself");
            }
            if ledgered.tx.follow(user, peer.name())?.is_some() {
                return Ok(());
            }
            if ledgered.tx.block(user, peer.name())?.is_some() {
                return fail(codes::BLOCKED_BY_SELF, "the user is in your blocklist");
            }
            if ledgered.tx.block(peer, user.name())?.is_some() {
                return fail(codes::BLOCKED_BY_PEER, "you are in the user's blocklist");
            }
            let following = ledgered.tx.count_follows(user, Follows::Following)?;
            if following >= u64::from(self.config(user.app()).following_max) {
                return fail(codes::FRIENDS_FULL, "you follow as many users as you may");
            }
            ledgered.tx.add_follow(user, peer.name(), now_ms / 1000)?;
            Ok(())
        })
    }

    /// `user` ceases to follow others. Whoever is not followed is no mistake.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006, 30008; for an item 30003.
    pub fn delete_follows(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
        effects: &mut Effects,
    ) -> Result<Items, Failure> {
        self.own(actor, user)?;
        check_count(names.len(), CHANGED_MAX, codes::RELATION_BAD)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.change_each(user, &names, effects, |ledgered, _, peer| {
            ledgered.tx.delete_follow(user, peer.name())?;
            Ok(())
        })
    }

    /// A page of followers, or of whom `user` follows, behind the place `after`.
    ///
    /// # Errors
    /// 30003, 30004, 30006.
    pub fn follows(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        which: Follows,
        after: &str,
        limit: u32,
    ) -> Result<FollowPage, Failure> {
        self.own(actor, user)?;
        let limit = if limit == 0 { PAGE } else { limit.min(PAGE_MAX) };
        self.read(Area::Relations, |tx| {
            let mut follows = tx.follows(user, which, after, limit + 1)?;
            let more = follows.len() > limit as usize;
            follows.truncate(limit as usize);
            let next = follows.last().filter(|_| more).map(|(name, _)| name.clone()).unwrap_or_default();
            Ok(FollowPage { follows, next })
        })
    }

    /// Whether `user` follows each of `names`, and the other way round.
    ///
    /// # Errors
    /// For the call 30001, 30003, 30004, 30006; for an item 30003.
    pub fn check_follows(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        names: &[String],
    ) -> Result<Vec<Checked>, Failure> {
        check_count(names.len(), CHECKED_MAX, codes::RELATION_BAD)?;
        self.check(actor, user, names, true, |tx, user, other| Ok(tx.follow(user, other)?.is_some()))
    }

    /// How many followers users have, and how many they follow.
    ///
    /// # Errors
    /// For the call 30001, 30006; for an item 30003.
    pub fn count_follows(
        &self,
        app: AppId,
        names: &[String],
    ) -> Result<Vec<Result<FollowCounts, Failure>>, Failure> {
        check_count(names.len(), COUNTED_MAX, codes::RELATION_BAD)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let users = self.users(app, &names, Area::Relations)?;
        self.read(Area::Relations, |tx| {
            let mut counted = Vec::with_capacity(users.len());
            for user in &users {
                counted.push(match user {
                    Ok(user) => Ok(FollowCounts {
                        followers: tx.count_follows(user, Follows::Followers)?,
                        following: tx.count_follows(user, Follows::Following)?,
                        mutual: tx.count_follows(user, Follows::Mutual)?,
                    }),
                    Err(failure) => Err(failure.clone()),
                });
            }
            Ok(counted)
        })
    }
}
