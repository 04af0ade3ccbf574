//! Groups: what a client asks of them. The bodies are those of the wire, [`nearport_wire::body`], where they have many fields.

use nearport_wire::Kind;
use nearport_wire::body::{self, group_answer::Answer, group_call::Call};

pub use nearport_wire::body::{
    GroupApplication, GroupAttribute, GroupAttributes, GroupAttributesWrite, GroupCounter,
    GroupCountersWrite, GroupCreate, GroupEdit, GroupEvent, GroupField, GroupHead, GroupInfo,
    GroupInviteItem, GroupInviteResult, GroupJoinOption, GroupMember, GroupMemberEdit, GroupMembers,
    GroupMembersPage, GroupNewMember, GroupPenalty, GroupReception, GroupRole, GroupRoleItem, GroupSelf,
    GroupTopic, GroupTopicChange, GroupTopicCreate, GroupTopicDestroyed, GroupTopicEdit, GroupTopicSelf,
    group_topic_change::How as GroupTopicHow,
};

use crate::client::Client;
use crate::error::RequestError;

/// A page of something, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// The `after` of the next page; `None`: that was all.
    pub next: Option<String>,
}

impl<T> Page<T> {
    fn new(items: Vec<T>, next: String) -> Self {
        Self { items, next: Some(next).filter(|next| !next.is_empty()) }
    }
}

/// What became of a wish to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The user is a member.
    Now,
    /// An administrator has to agree; [`Event::Notice`](crate::Event::Notice) tells.
    Pending,
}

/// The answer that a call must have.
macro_rules! expect {
    ($answer:expr, $variant:ident) => {
        match $answer? {
            Answer::$variant(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    };
}

/// # Groups
///
/// All of these wait for a connection if there is none. What only reads, and what does the same the second time, is asked again
/// after a reconnect; creating, inviting and counting are not, and fail with [`Failure::Lost`](crate::Failure::Lost). Dropped early, a
/// call that has gone out is carried out all the same, and what comes of it is an event or the next page that is read.
impl Client {
    /// Any call about groups. `repeatable`: it does the same the second time.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_call(&self, call: Call, repeatable: bool) -> Result<Answer, RequestError> {
        let answer: body::GroupAnswer =
            self.call(Kind::GROUP, &body::GroupCall { call: Some(call) }, repeatable).await?;
        answer.answer.ok_or(RequestError::Unreadable)
    }

    /// Makes a group, whose owner this user is. Returns its id.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn create_group(&self, create: GroupCreate) -> Result<String, RequestError> {
        let id = expect!(self.group_call(Call::Create(create), false).await, Id)?;
        self.groups_changed();
        Ok(id.group)
    }

    /// What is known about groups, in the order of `groups` (at most 50). One that cannot be told of has its `error`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_infos(&self, groups: Vec<String>) -> Result<Vec<GroupInfo>, RequestError> {
        let infos = expect!(self.group_call(Call::Info(body::GroupNames { groups }), true).await, Infos)?;
        Ok(infos.infos)
    }

    /// Makes a topic of a community. Returns its id, which stands wherever that of a group does: messages to it are sent to
    /// [`group(id)`](crate::group).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn create_topic(&self, create: GroupTopicCreate) -> Result<String, RequestError> {
        let id = expect!(self.group_call(Call::CreateTopic(create), false).await, Id)?;
        Ok(id.group)
    }

    /// Changes the profile of a topic.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn edit_topic(&self, edit: GroupTopicEdit) -> Result<(), RequestError> {
        self.group_done(Call::EditTopic(edit)).await
    }

    /// Destroys topics of a community, and says what became of each.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn destroy_topics(
        &self,
        group: &str,
        topics: Vec<String>,
    ) -> Result<Vec<GroupTopicDestroyed>, RequestError> {
        let names = body::GroupTopicNames { group: group.into(), topics };
        let destroyed = expect!(self.group_call(Call::DestroyTopics(names), true).await, TopicsDestroyed)?;
        Ok(destroyed.items)
    }

    /// A page of the topics of a community, after the one of that id: 50 at most.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn topics(&self, group: &str, after: &str) -> Result<Page<GroupTopic>, RequestError> {
        let page = body::GroupTopicsPage { group: group.into(), after: after.into(), ..Default::default() };
        let topics = expect!(self.group_call(Call::Topics(page), true).await, Topics)?;
        Ok(Page::new(topics.items, topics.next))
    }

    /// Topics of a community by their ids, in that order, 50 at most. One that is not there has its `error`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn topics_named(
        &self,
        group: &str,
        topics: Vec<String>,
    ) -> Result<Vec<GroupTopic>, RequestError> {
        let page = body::GroupTopicsPage { group: group.into(), topics, ..Default::default() };
        let topics = expect!(self.group_call(Call::Topics(page), true).await, Topics)?;
        Ok(topics.items)
    }

    /// A page of the groups that this user is in, after the one of that name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn joined_groups(&self, after: &str, limit: u32) -> Result<Page<GroupInfo>, RequestError> {
        let page = page("", after, limit);
        let joined = expect!(self.group_call(Call::Joined(page), true).await, Joined)?;
        Ok(Page::new(joined.infos, joined.next))
    }

    /// Joins a group, or applies for it: `text` is for who decides.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn join_group(&self, group: &str, text: &str) -> Result<Joined, RequestError> {
        let join = body::GroupJoin { group: group.into(), text: text.into() };
        let outcome = expect!(self.group_call(Call::Join(join), true).await, Join)?;
        if outcome.live.is_some() {
            self.enter_live_room(group);
        }
        self.groups_changed();
        Ok(if outcome.pending { Joined::Pending } else { Joined::Now })
    }

    /// Decides about somebody who applied, or about one's own invitation (`user` is oneself then).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn handle_application(
        &self,
        group: &str,
        user: &str,
        agree: bool,
        text: &str,
    ) -> Result<(), RequestError> {
        let handle = body::GroupHandle { group: group.into(), user: user.into(), agree, text: text.into() };
        self.group_done(Call::Handle(handle)).await?;
        self.groups_changed();
        Ok(())
    }

    /// A page of the applications and invitations that this user may decide about; of all its groups if `group` is empty.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_applications(
        &self,
        group: &str,
        after: &str,
        limit: u32,
    ) -> Result<Page<GroupApplication>, RequestError> {
        let page = page(group, after, limit);
        let list = expect!(self.group_call(Call::Applications(page), true).await, Applications)?;
        Ok(Page::new(list.items, list.next))
    }

    /// Invites users, at most 300. Returns what became of each.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn invite_to_group(
        &self,
        group: &str,
        users: Vec<String>,
        text: &str,
    ) -> Result<Vec<GroupInviteItem>, RequestError> {
        let invite = body::GroupInvite { group: group.into(), users, text: text.into(), silent: false };
        // Who is in already is said to be so.
        let invited = expect!(self.group_call(Call::Invite(invite), true).await, Invited)?;
        Ok(invited.items)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn quit_group(&self, group: &str) -> Result<(), RequestError> {
        self.group_done(Call::Quit(body::GroupRef { group: group.into() })).await?;
        self.leave_live_room(group);
        self.groups_changed();
        Ok(())
    }

    /// Removes members.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn kick_from_group(
        &self,
        group: &str,
        users: Vec<String>,
        reason: &str,
    ) -> Result<(), RequestError> {
        let kick = body::GroupKick { group: group.into(), users, reason: reason.into(), silent: false };
        self.group_done(Call::Kick(kick)).await
    }

    /// Removes members and keeps them out for a time.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ban_from_group(
        &self,
        group: &str,
        users: Vec<String>,
        seconds: u32,
        reason: &str,
    ) -> Result<(), RequestError> {
        let ban = body::GroupBan { group: group.into(), users, seconds, reason: reason.into() };
        self.group_done(Call::Ban(ban)).await
    }

    /// Lets banned users come back.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unban_from_group(&self, group: &str, users: Vec<String>) -> Result<(), RequestError> {
        self.group_done(Call::Unban(body::GroupAccounts { group: group.into(), users })).await
    }

    /// Makes another member the owner.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn transfer_group(&self, group: &str, user: &str) -> Result<(), RequestError> {
        self.group_done(Call::Transfer(body::GroupTransfer { group: group.into(), user: user.into() })).await
    }

    /// Ends a group.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn dismiss_group(&self, group: &str) -> Result<(), RequestError> {
        self.group_done(Call::Dismiss(body::GroupRef { group: group.into() })).await?;
        self.leave_live_room(group);
        self.groups_changed();
        Ok(())
    }

    /// Changes a group's profile, its options, who may speak.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn edit_group(&self, edit: GroupEdit) -> Result<(), RequestError> {
        self.group_done(Call::Edit(edit)).await
    }

    /// A page of the members; empty `roles`: all.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_members(
        &self,
        group: &str,
        roles: &[GroupRole],
        after: &str,
        limit: u32,
    ) -> Result<Page<GroupMember>, RequestError> {
        let roles = roles.iter().map(|role| i32::from(*role)).collect();
        let ask =
            GroupMembersPage { group: group.into(), roles, after: after.into(), limit, users: Vec::new() };
        let members = expect!(self.group_call(Call::Members(ask), true).await, Members)?;
        Ok(Page::new(members.members, members.next))
    }

    /// Those of users, at most 100, who are members.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_members_named(
        &self,
        group: &str,
        users: Vec<String>,
    ) -> Result<Vec<GroupMember>, RequestError> {
        let ask = GroupMembersPage { group: group.into(), users, ..GroupMembersPage::default() };
        Ok(expect!(self.group_call(Call::Members(ask), true).await, Members)?.members)
    }

    /// Changes a member: role, name card, mute, fields; or oneself.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn edit_group_member(&self, edit: GroupMemberEdit) -> Result<(), RequestError> {
        self.group_done(Call::EditMember(edit)).await
    }

    /// Silences members for so many seconds; 0: not any more.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mute_group_members(
        &self,
        group: &str,
        users: Vec<String>,
        seconds: u32,
    ) -> Result<(), RequestError> {
        self.group_done(Call::Mute(body::GroupMute { group: group.into(), users, seconds })).await
    }

    /// A page of the members who are silenced; `banned`: of the users who are kept out.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_penalties(
        &self,
        group: &str,
        banned: bool,
        after: &str,
        limit: u32,
    ) -> Result<Page<GroupPenalty>, RequestError> {
        let page = page(group, after, limit);
        let call = if banned { Call::Banned(page) } else { Call::Muted(page) };
        let list = expect!(self.group_call(call, true).await, Penalties)?;
        Ok(Page::new(list.items, list.next))
    }

    /// What users, at most 500, are to a group.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_roles(
        &self,
        group: &str,
        users: Vec<String>,
    ) -> Result<Vec<GroupRoleItem>, RequestError> {
        let ask = body::GroupAccounts { group: group.into(), users };
        Ok(expect!(self.group_call(Call::Roles(ask), true).await, Roles)?.items)
    }

    /// The attributes of a group with their version; empty `keys`: all.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_attributes(
        &self,
        group: &str,
        keys: Vec<String>,
    ) -> Result<GroupAttributes, RequestError> {
        let ask = body::GroupAttributeNames { group: group.into(), keys };
        expect!(self.group_call(Call::Attributes(ask), true).await, Attributes)
    }

    /// Changes attributes. Returns all that there are after it.
    ///
    /// # Errors
    /// [`RequestError`]; refused with 10056 if somebody else changed them since the version that is named.
    pub async fn write_group_attributes(
        &self,
        write: GroupAttributesWrite,
    ) -> Result<GroupAttributes, RequestError> {
        expect!(self.group_call(Call::WriteAttributes(write), false).await, Attributes)
    }

    /// The counters of a group; empty `keys`: all.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_counters(
        &self,
        group: &str,
        keys: Vec<String>,
    ) -> Result<Vec<GroupCounter>, RequestError> {
        let ask = body::GroupAttributeNames { group: group.into(), keys };
        Ok(expect!(self.group_call(Call::Counters(ask), true).await, Counters)?.items)
    }

    /// Changes counters. Returns those that were written.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn write_group_counters(
        &self,
        write: GroupCountersWrite,
    ) -> Result<Vec<GroupCounter>, RequestError> {
        Ok(expect!(self.group_call(Call::WriteCounters(write), false).await, Counters)?.items)
    }

    /// Where the groups of this user stand: newest message, how far it was read, what is unread.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn group_heads(&self) -> Result<Vec<GroupHead>, RequestError> {
        let heads = self.group_call(Call::Heads(body::GroupHeadsCall::default()), true).await;
        Ok(expect!(heads, Heads)?.items)
    }

    async fn group_done(&self, call: Call) -> Result<(), RequestError> {
        expect!(self.group_call(call, true).await, Done).map(|_| ())
    }
}

fn page(group: &str, after: &str, limit: u32) -> body::GroupPage {
    body::GroupPage { group: group.into(), after: after.into(), limit }
}

#[cfg(test)]
mod tests {
    /// The names of a call's cases, as the code has them.
    fn cases(proto: &str, call: &str) -> Vec<String> {
        let body = proto.split_once(&format!("message {call} {{")).unwrap().1.split_once("\n}").unwrap().0;
        let field = |line: &str| Some(line.split_once('=')?.0.split_whitespace().nth(1)?.to_owned());
        let camel = |name: String| {
            let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
            words.collect::<String>()
        };
        body.lines().filter_map(field).map(camel).collect()
    }

    /// A call of the wire without a method here would be one that applications must spell by hand.
    #[test]
    fn every_call_of_the_wire_has_a_typed_one() {
        let groups = include_str!("groups.rs");
        let people = [
            include_str!("people.rs"),
            include_str!("people/friends.rs"),
            include_str!("people/conversations.rs"),
        ]
        .concat();
        let wires = [
            (include_str!("../../wire/proto/group.proto"), "GroupCall", groups, 25),
            (include_str!("../../wire/proto/people.proto"), "PeopleCall", &people, 37),
            (include_str!("../../wire/proto/media.proto"), "MediaCall", include_str!("media.rs"), 2),
        ];
        for (proto, call, code, least) in wires {
            let cases = cases(proto, call);
            assert!(cases.len() >= least, "{call}: {cases:?}");
            let missing: Vec<_> =
                cases.iter().filter(|case| !code.contains(&format!("Call::{case}("))).collect();
            assert!(missing.is_empty(), "{call}: {missing:?}");
        }
    }
}
