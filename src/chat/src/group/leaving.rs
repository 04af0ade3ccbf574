//! Ceasing to be a member, and the end of groups.

use nearport_wire::body::{Notice, Tip, TipChange, group_event};
use nearport_wire::code::group as code;

use super::effects::{Effects, NoticeKind, TipKind, count, notice, tip};
use super::record::{Change, GroupInfo, Member, Penalty, Role};
use super::state::{Ctx, FOR_EVER_S, Group, bad, denied};
use super::types::Rank;
use crate::actor::Actor;
use crate::key::UserKey;
use crate::reply::Failure;
use crate::text::check_text;

/// Most users that one request removes, bans, or mutes, of the public contract.
const KICK_MAX: usize = 500;
const BAN_MAX: usize = 20;
const REASON_BYTES_MAX: usize = 300;
const BAN_REASON_BYTES_MAX: usize = 1000;

impl Group {
    /// `user` leaves. The last one to leave ends the group.
    pub(crate) fn quit(&self, ctx: &Ctx<'_>, user: &UserKey, fx: &mut Effects) -> Result<(), Failure> {
        let actor = Actor::User(user);
        self.visible(actor)?;
        // The owner of a live room is no stored member, and stays its owner all the same.
        if self.info().owner.as_ref() == Some(user) && !self.kind.owner_may_quit {
            return Err(Failure::new(
                code::OWNER_MAY_NOT_QUIT,
                "the owner may not quit: hand the group over, or dismiss it",
            ));
        }
        let Some(member) = self.member(user) else {
            return Err(denied("you are not a member"));
        };
        if self.member_count() == 1 {
            fx.left.push(user.clone());
            fx.changes.push(Change::Dismiss);
            return Ok(());
        }
        if member.role == Role::Owner {
            self.put_info(ctx, GroupInfo { owner: None, ..self.record.info.clone() }, fx);
        }
        fx.remove(self, user);
        fx.member_tip(self, TipKind::Quit, actor, std::slice::from_ref(user), self.member_count() - 1);
        fx.notice(self, user, notice(NoticeKind::Quit, actor, ""));
        Ok(())
    }

    /// Removes members. Who is none is no mistake.
    pub(crate) fn kick(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
        reason: &str,
        silent: bool,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let users = self.named(names, KICK_MAX)?;
        check_text(reason, REASON_BYTES_MAX).map_err(|error| bad(format!("reason {error}")))?;
        if !self.kind.stored_members {
            return Err(bad("nobody is removed from a live room: ban or mute them"));
        }
        let rank = self.rank(actor, ctx.present);
        if !rank.has(self.kind.kick) {
            return Err(denied("you may not remove members of this group"));
        }
        let mut removed = Vec::new();
        for user in users {
            let Some(_) = self.member(&user) else { continue };
            if !self.may(rank, self.kind.kick, self.rank(Actor::User(&user), false)) {
                return Err(denied("you may not remove this member"));
            }
            fx.remove(self, &user);
            fx.notice(self, &user, notice(NoticeKind::Kicked, actor, reason));
            removed.push(user);
        }
        self.removed(ctx, actor, &removed, silent && rank == Rank::App, fx);
        Ok(())
    }

    /// The account of `user` ends: she is no member any more, and nobody is told. A group of hers goes on without an owner, and the
    /// last one to leave ends it.
    pub(crate) fn forget_account(&self, ctx: &Ctx<'_>, user: &UserKey, fx: &mut Effects) {
        if self.member(user).is_none() {
            return;
        }
        if self.member_count() == 1 {
            fx.left.push(user.clone());
            fx.changes.push(Change::Dismiss);
            return;
        }
        if self.info().owner.as_ref() == Some(user) {
            self.put_info(ctx, GroupInfo { owner: None, ..self.record.info.clone() }, fx);
        }
        fx.remove(self, user);
    }

    /// Removes users, members or not, and keeps them out for `seconds`.
    pub(crate) fn ban(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
        seconds: u32,
        reason: &str,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let users = self.named(names, BAN_MAX)?;
        check_text(reason, BAN_REASON_BYTES_MAX).map_err(|error| bad(format!("reason {error}")))?;
        let rank = self.rank(actor, ctx.present);
        if !rank.has(self.kind.ban) {
            return Err(denied("you may not ban users from this group"));
        }
        if seconds == 0 {
            return Err(bad("a ban lasts at least a second"));
        }
        let until_s = until_s(ctx, seconds);
        let mut removed = Vec::new();
        for user in users {
            if !self.may(rank, self.kind.ban, self.rank(Actor::User(&user), false)) {
                return Err(denied("you may not ban this user"));
            }
            fx.changes.push(Change::Penalty(Penalty::Ban, user.clone(), until_s));
            let told = Notice { until_s, ..notice(NoticeKind::Banned, actor, reason) };
            fx.notice(self, &user, told);
            if self.member(&user).is_some() {
                fx.remove(self, &user);
                removed.push(user);
            } else if !self.kind.stored_members {
                fx.left.push(user);
            }
        }
        self.removed(ctx, actor, &removed, false, fx);
        Ok(())
    }

    /// Ends bans. Who has none is no mistake.
    pub(crate) fn unban(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        let users = self.named(names, BAN_MAX)?;
        let rank = self.rank(actor, ctx.present);
        if !rank.has(self.kind.ban) {
            return Err(denied("you may not end bans of this group"));
        }
        for user in users {
            if self.banned_until_s(&user, ctx.now_s()) > 0 {
                fx.notice(self, &user, notice(NoticeKind::Unbanned, actor, ""));
            }
            if self.record.penalties.contains_key(&(Penalty::Ban, user.clone())) {
                fx.changes.push(Change::Penalty(Penalty::Ban, user, 0));
            }
        }
        Ok(())
    }

    /// Hands the group over, or gives an owner to one that has none.
    pub(crate) fn transfer(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        to: &str,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        if !self.kind.transfer {
            return Err(denied("groups of this type are not handed over"));
        }
        if self.rank(actor, ctx.present) < Rank::Owner {
            return Err(denied("only the owner hands the group over"));
        }
        let new = UserKey::new(self.key().app(), to).ok();
        let Some((new, member)) = new.and_then(|new| self.member(&new).map(|member| (new.clone(), member)))
        else {
            return Err(bad("the new owner must be a member"));
        };
        if member.role == Role::Owner {
            return Ok(());
        }
        if let Some((old, member)) = self.info().owner.as_ref().and_then(|old| Some((old, self.member(old)?)))
        {
            let member = Member { role: Role::Member, ..member.clone() };
            fx.changes.push(Change::PutMember(old.clone(), Box::new(member)));
        }
        let member = Member { role: Role::Owner, ..member.clone() };
        fx.changes.push(Change::PutMember(new.clone(), Box::new(member)));
        let changes = vec![TipChange { field: "Owner_Account".to_owned(), value: new.name().to_owned() }];
        self.put_info(ctx, GroupInfo { owner: Some(new), ..self.record.info.clone() }, fx);
        let member_count = count(self.member_count());
        fx.tip(self, Tip { changes, member_count, ..tip(TipKind::Info, actor, &[]) });
        Ok(())
    }

    /// Ends the group.
    pub(crate) fn dismiss(&self, ctx: &Ctx<'_>, actor: Actor<'_>, fx: &mut Effects) -> Result<(), Failure> {
        self.visible(actor)?;
        if self.rank(actor, ctx.present) < self.kind.dismiss {
            return Err(denied("you may not dismiss this group"));
        }
        if self.member_count() <= ctx.limits(self.key().app()).notices_max && self.is_active() {
            for (user, _) in self.members() {
                fx.notice(self, user, notice(NoticeKind::Dismissed, actor, ""));
            }
        }
        fx.event = Some(group_event::What::Gone);
        fx.left.extend(self.members().map(|(user, _)| user.clone()));
        fx.changes.push(Change::Dismiss);
        Ok(())
    }

    fn removed(&self, ctx: &Ctx<'_>, actor: Actor<'_>, removed: &[UserKey], silent: bool, fx: &mut Effects) {
        if removed.is_empty() {
            return;
        }
        if self.info().owner.as_ref().is_some_and(|owner| removed.contains(owner)) {
            self.put_info(ctx, GroupInfo { owner: None, ..self.record.info.clone() }, fx);
        }
        if !silent {
            let members = self.member_count() - removed.len();
            fx.member_tip(self, TipKind::Kicked, actor, removed, members);
        }
    }

    /// The users of a request, each once.
    ///
    /// # Errors
    /// 10004 for none or a name that cannot be, 10005 for more than `max`.
    pub(crate) fn named(&self, names: &[String], max: usize) -> Result<Vec<UserKey>, Failure> {
        if names.is_empty() {
            return Err(bad("nobody is named"));
        }
        if names.len() > max {
            return Err(Failure::new(
                code::TOO_MANY_ACCOUNTS,
                format!("at most {max} users are named at once"),
            ));
        }
        let users = names.iter().map(|name| UserKey::new(self.key().app(), name));
        let users: std::collections::BTreeSet<_> =
            users.collect::<Result<_, _>>().map_err(|error| bad(format!("a user: {error}")))?;
        Ok(users.into_iter().collect())
    }
}

/// The end of a time that begins now. 2^32 - 1 seconds are for ever, as the public contract has it.
pub(super) fn until_s(ctx: &Ctx<'_>, seconds: u32) -> u64 {
    match seconds {
        0 => 0,
        u32::MAX => FOR_EVER_S,
        seconds => ctx.now_s() + u64::from(seconds),
    }
}
