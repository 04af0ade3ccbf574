//! Becoming a member: by joining, by being invited, by approval.

use nearport_wire::body::{GroupInviteItem, GroupInviteResult, Notice};
use nearport_wire::code::group as code;

use super::effects::{Effects, NoticeKind, TipKind, notice};
use super::record::{Application, Change, Handled, JoinOption, Role};
use super::state::{Ctx, Group, bad, denied};
use super::types::{Joining, Rank};
use crate::actor::Actor;
use crate::key::UserKey;
use crate::reply::Failure;
use crate::text::check_text;

/// Longest text of an application or its answer, bytes.
pub(super) const TEXT_BYTES_MAX: usize = 300;

/// Most users that one request invites, of the public contract.
const INVITE_MAX: usize = 300;

impl Group {
    /// Whether nothing but room stands in the way of `user` joining: not for members, who are banned, or where one cannot join.
    /// Live rooms ask this too.
    ///
    /// # Errors
    /// 10010, 10007, 10013.
    pub(crate) fn check_join(&self, user: &UserKey, now_ms: u64) -> Result<(), Failure> {
        self.visible(Actor::User(user))?;
        if self.member(user).is_some() {
            return Err(Failure::new(code::ALREADY_MEMBER, "you are a member already"));
        }
        if self.banned_until_s(user, now_ms / 1000) > 0 {
            return Err(denied("you are banned from this group"));
        }
        match self.kind.joining {
            Joining::Never => Err(denied("one becomes a member of this group by invitation only")),
            Joining::Option if self.info().join == JoinOption::Closed => {
                Err(denied("this group takes no applications"))
            }
            Joining::Option | Joining::Free => Ok(()),
        }
    }

    /// `user` joins or applies; `true`: the application waits.
    pub(crate) fn join(
        &self,
        ctx: &Ctx<'_>,
        user: &UserKey,
        text: &str,
        fx: &mut Effects,
    ) -> Result<bool, Failure> {
        let actor = Actor::User(user);
        self.check_join(user, ctx.now_ms)?;
        check_text(text, TEXT_BYTES_MAX).map_err(|error| bad(format!("text {error}")))?;
        if self.kind.joining == Joining::Option && self.info().join == JoinOption::Approval {
            let application = Application {
                inviter: None,
                consent: false,
                time_ms: ctx.now_ms,
                text: text.to_owned(),
                handled: None,
            };
            self.apply_for(ctx, user, application, fx)?;
            fx.notice_leaders(self, &notice(NoticeKind::Application, actor, text));
            return Ok(true);
        }
        self.check_room(ctx, user, 0)?;
        self.admit(ctx, user, fx);
        fx.member_tip(self, TipKind::Joined, actor, std::slice::from_ref(user), self.member_count() + 1);
        Ok(false)
    }

    /// `actor` decides about the application or invitation of `user`.
    pub(crate) fn handle(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        user: &UserKey,
        agreed: bool,
        text: &str,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        if self.is_dismissed() {
            return Err(super::state::gone());
        }
        check_text(text, TEXT_BYTES_MAX).map_err(|error| bad(format!("text {error}")))?;
        let rank = self.rank(actor, ctx.present);
        let Some(application) = self.record.applications.get(user) else {
            // Who may not know of applications is not told whether there is one.
            return Err(match rank >= Rank::Admin || actor.is(user) {
                true => bad("there is no application of this user"),
                false => denied("you do not decide about applications of this group"),
            });
        };
        let may = if application.consent { actor.is(user) } else { rank >= Rank::Admin };
        if !may {
            return Err(denied("it is not yours to decide about this application"));
        }
        if application.handled.is_some() {
            return Err(Failure::new(code::HANDLED, "this application was handled already"));
        }
        let mut application = application.clone();
        let inviter = application.inviter.clone();
        if agreed && application.consent && self.needs_approval(inviter.as_ref()) {
            // The invitee has agreed; now an administrator is asked.
            application.consent = false;
            fx.application(user, application);
            let asked = Notice {
                user: user.name().to_owned(),
                ..notice(NoticeKind::InvitationApproval, actor, text)
            };
            fx.notice_leaders(self, &asked);
            return Ok(());
        }
        let consent = application.consent;
        application.handled = Some(Handled { by: actor.name().to_owned(), agreed, text: text.to_owned() });
        fx.application(user, application);
        if agreed && self.member(user).is_none() {
            self.check_room(ctx, user, 0)?;
            self.admit(ctx, user, fx);
            let (kind, by) = match &inviter {
                Some(inviter) => (TipKind::Invited, Actor::User(inviter)),
                None => (TipKind::Joined, Actor::User(user)),
            };
            fx.member_tip(self, kind, by, std::slice::from_ref(user), self.member_count() + 1);
        }
        if !consent {
            let kind = if agreed { NoticeKind::Accepted } else { NoticeKind::Refused };
            fx.notice(self, user, notice(kind, actor, text));
        }
        if let Some(inviter) = inviter.filter(|inviter| !actor.is(inviter)) {
            let kind = if agreed { NoticeKind::InvitationAccepted } else { NoticeKind::InvitationRefused };
            let told = Notice { user: user.name().to_owned(), ..notice(kind, actor, text) };
            fx.notice(self, &inviter, told);
        }
        Ok(())
    }

    /// `actor` invites, or an administrator of the App adds.
    pub(crate) fn invite(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        names: &[String],
        text: &str,
        silent: bool,
        fx: &mut Effects,
    ) -> Result<Vec<GroupInviteItem>, Failure> {
        self.visible(actor)?;
        if !self.kind.stored_members {
            return Err(denied("members of a live room join on their own"));
        }
        if names.is_empty() {
            return Err(bad("nobody is named to invite"));
        }
        if names.len() > INVITE_MAX {
            return Err(Failure::new(code::TOO_MANY_ACCOUNTS, "at most 300 users are invited at once"));
        }
        check_text(text, TEXT_BYTES_MAX).map_err(|error| bad(format!("text {error}")))?;
        let rank = self.rank(actor, ctx.present);
        if rank == Rank::Anyone {
            return Err(denied("only members invite"));
        }
        if rank != Rank::App && self.info().invite == JoinOption::Closed {
            return Err(denied("members of this group do not invite"));
        }
        let silent = silent && rank == Rank::App;
        let (mut items, mut added) = (Vec::with_capacity(names.len()), Vec::new());
        let (mut full, mut waiting) = (None, std::collections::BTreeSet::new());
        for name in names {
            let user = UserKey::new(self.key().app(), name).ok().filter(|user| ctx.people.contains_key(user));
            let result = match user {
                None => GroupInviteResult::GroupInviteFailed,
                Some(user) if self.member(&user).is_some() || added.contains(&user) => {
                    GroupInviteResult::GroupInviteKnown
                }
                Some(user) if waiting.contains(&user) => GroupInviteResult::GroupInviteWaiting,
                Some(user) if self.banned_until_s(&user, ctx.now_s()) > 0 => {
                    GroupInviteResult::GroupInviteFailed
                }
                Some(user) => match self.invite_one(ctx, actor, &user, text, added.len(), fx) {
                    Ok(true) => {
                        added.push(user);
                        GroupInviteResult::GroupInviteAdded
                    }
                    Ok(false) => {
                        waiting.insert(user);
                        GroupInviteResult::GroupInviteWaiting
                    }
                    Err(failure) => {
                        full = Some(failure);
                        GroupInviteResult::GroupInviteFailed
                    }
                },
            };
            items.push(GroupInviteItem { user: name.clone(), result: result.into() });
        }
        let nothing = items.iter().all(|item| item.result() == GroupInviteResult::GroupInviteFailed);
        if let (true, Some(failure)) = (nothing, full) {
            return Err(failure);
        }
        if !added.is_empty() && !silent {
            fx.member_tip(self, TipKind::Invited, actor, &added, self.member_count() + added.len());
            if self.is_active() {
                for user in &added {
                    fx.notice(self, user, notice(NoticeKind::Invited, actor, text));
                }
            }
        }
        Ok(items)
    }

    /// `true`: is a member; `false`: waits.
    fn invite_one(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        user: &UserKey,
        text: &str,
        before: usize,
        fx: &mut Effects,
    ) -> Result<bool, Failure> {
        let approval = actor.user().is_some_and(|inviter| self.needs_approval(Some(inviter)));
        if !self.kind.invite_consent && !approval {
            self.check_room(ctx, user, before)?;
            self.admit(ctx, user, fx);
            return Ok(true);
        }
        let application = Application {
            inviter: actor.user().cloned(),
            consent: self.kind.invite_consent,
            time_ms: ctx.now_ms,
            text: text.to_owned(),
            handled: None,
        };
        self.apply_for(ctx, user, application, fx)?;
        match self.kind.invite_consent {
            true => fx.notice(self, user, notice(NoticeKind::Invitation, actor, text)),
            false => {
                let asked = Notice {
                    user: user.name().to_owned(),
                    ..notice(NoticeKind::InvitationApproval, actor, text)
                };
                fx.notice_leaders(self, &asked);
            }
        }
        Ok(false)
    }

    /// Whether what `inviter` has begun waits for an administrator.
    fn needs_approval(&self, inviter: Option<&UserKey>) -> bool {
        self.info().invite == JoinOption::Approval
            && inviter.is_some_and(|inviter| self.rank(Actor::User(inviter), false) < Rank::Admin)
    }

    /// Whether one more member, beside `more` that this request adds, has room.
    pub(super) fn check_room(&self, ctx: &Ctx<'_>, user: &UserKey, more: usize) -> Result<(), Failure> {
        let max = self.info().members_max;
        if max > 0 && self.member_count() + more >= max as usize {
            return Err(Failure::new(code::FULL, "the group is full"));
        }
        if ctx.has_no_room(user) {
            return Err(Failure::new(code::JOINED_TOO_MANY, "the user is in as many groups as they may"));
        }
        Ok(())
    }

    fn admit(&self, ctx: &Ctx<'_>, user: &UserKey, fx: &mut Effects) {
        fx.add(self, ctx, user, Role::Member);
    }

    /// Keeps an application. It takes the place of an earlier one of the same user; the oldest handled one makes room.
    fn apply_for(
        &self,
        ctx: &Ctx<'_>,
        user: &UserKey,
        application: Application,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        let kept = &self.record.applications;
        let waiting = fx.changes.iter().filter(|change| matches!(change, Change::PutApplication(..))).count();
        if !kept.contains_key(user) && kept.len() + waiting >= ctx.limits(self.key().app()).applications_max {
            let gone = |user: &UserKey| {
                fx.changes
                    .iter()
                    .any(|change| matches!(change, Change::RemoveApplication(gone) if gone == user))
            };
            let handled = kept.iter().filter(|(user, known)| known.handled.is_some() && !gone(user));
            let Some(oldest) = handled.min_by_key(|(_, known)| known.time_ms).map(|(user, _)| user.clone())
            else {
                return Err(Failure::new(
                    code::TOO_OFTEN,
                    "too many applications of this group wait for an answer",
                ));
            };
            fx.changes.push(Change::RemoveApplication(oldest));
        }
        fx.application(user, application);
        Ok(())
    }
}
