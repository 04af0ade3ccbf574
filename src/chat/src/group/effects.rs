//! What an operation leaves beside its answer.

use nearport_wire::body::{GroupTopicChange, Notice, Tip, group_event};

use super::record::{Application, Change, Member, Role};
use super::state::{Ctx, Group};
use crate::actor::Actor;
use crate::key::{GroupKey, UserKey};

/// Users that one tip names: a message has 12 KiB.
const TIP_USERS_MAX: usize = 100;

/// What happened in a group; numbers of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TipKind {
    /// By themselves.
    Joined = 1,
    Invited = 2,
    Quit = 3,
    Kicked = 4,
    AdminSet = 5,
    AdminRemoved = 6,
    Info = 7,
    MemberInfo = 8,
    TopicInfo = 9,
    // Ours: the contract has none of these.
    TopicCreated = 20,
    TopicDestroyed = 21,
}

/// What a user is told; numbers of the public contract up to 16, ours from 20 on, where the contract's are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoticeKind {
    /// To owner and administrators.
    Application = 1,
    Accepted = 2,
    Refused = 3,
    Kicked = 4,
    Dismissed = 5,
    Created = 6,
    /// Was added without being asked.
    Invited = 7,
    Quit = 8,
    AdminSet = 9,
    AdminRemoved = 10,
    /// Consent is needed.
    Invitation = 12,
    InvitationAccepted = 13,
    InvitationRefused = 14,
    Banned = 20,
    Unbanned = 21,
    Muted = 22,
    Reception = 23,
    /// To owner and administrators.
    InvitationApproval = 24,
}

/// Filled by an operation as it goes. If the operation fails, nothing of it holds.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// For the store, and then for the group in memory.
    pub(crate) changes: Vec<Change>,
    /// Messages of the group's conversation.
    pub(crate) tips: Vec<Tip>,
    /// Messages of conversations of the group's topics.
    pub(crate) topic_tips: Vec<(GroupKey, Tip)>,
    /// What members are told of topics.
    pub(crate) topics: Vec<GroupTopicChange>,
    /// Messages of users' own conversations.
    pub(crate) notices: Vec<(UserKey, Notice)>,
    /// What members are hinted at.
    pub(crate) event: Option<group_event::What>,
    /// Whose devices are to ask anew where their groups stand.
    pub(crate) behind: Vec<UserKey>,
    /// Whose sessions begin to hear the group.
    pub(crate) joined: Vec<UserKey>,
    /// Whose sessions cease to.
    pub(crate) left: Vec<UserKey>,
}

impl Effects {
    /// A change of members that shows in the conversation where the type says so and the group can be seen.
    pub(super) fn member_tip(
        &mut self,
        group: &Group,
        kind: TipKind,
        by: Actor<'_>,
        users: &[UserKey],
        members: usize,
    ) {
        if group.kind.change_tips {
            self.tip(group, Tip { member_count: count(members), ..tip(kind, by, users) });
        }
    }

    /// A tip, unless the group has not had its first message. In a live room it is said like any message.
    pub(super) fn tip(&mut self, group: &Group, tip: Tip) {
        if group.is_active() {
            self.tips.push(tip);
        }
    }

    pub(super) fn notice(&mut self, group: &Group, to: &UserKey, notice: Notice) {
        let (id, name) = (group.key().id().to_owned(), group.info().name.clone());
        self.notices.push((to.clone(), Notice { group: id, group_name: name, ..notice }));
    }

    /// To owner and administrators, but not to who caused it.
    pub(super) fn notice_leaders(&mut self, group: &Group, notice: &Notice) {
        for leader in group.leaders.iter().filter(|leader| leader.name() != notice.operator) {
            self.notice(group, leader, notice.clone());
        }
    }

    /// `user` becomes a member.
    pub(super) fn add(&mut self, group: &Group, ctx: &Ctx<'_>, user: &UserKey, role: Role) {
        let member = Member {
            role,
            joined_ms: ctx.now_ms,
            joined_seq: ctx.head,
            reception: group.kind.reception,
            name_card: "".into(),
            fields: super::record::Fields::default(),
        };
        self.changes.push(Change::PutMember(user.clone(), Box::new(member)));
        self.joined.push(user.clone());
    }

    /// `user` is no member any more.
    pub(super) fn remove(&mut self, group: &Group, user: &UserKey) {
        self.changes.extend(group.forgotten_receptions(user));
        self.changes.push(Change::RemoveMember(user.clone()));
        self.left.push(user.clone());
    }

    pub(super) fn application(&mut self, user: &UserKey, application: Application) {
        self.changes.push(Change::PutApplication(user.clone(), Box::new(application)));
    }
}

/// A tip about some users.
pub(super) fn tip(kind: TipKind, by: Actor<'_>, users: &[UserKey]) -> Tip {
    Tip {
        r#type: kind as u32,
        operator: by.name().to_owned(),
        members: users.iter().take(TIP_USERS_MAX).map(|user| user.name().to_owned()).collect(),
        ..Tip::default()
    }
}

/// A notice that somebody caused.
pub(super) fn notice(kind: NoticeKind, by: Actor<'_>, text: &str) -> Notice {
    Notice { r#type: kind as u32, operator: by.name().to_owned(), text: text.to_owned(), ..Notice::default() }
}

/// Members fit.
pub(super) fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}
