//! Profiles, relations, presence and the list of conversations: what a client asks about people. The bodies are those of the wire,
//! [`nearport_wire::body`].

use nearport_wire::Kind;
use nearport_wire::body::{self, people_answer::Answer, people_call::Call};

pub use nearport_wire::body::{
    Conversation, ConversationPage, Friend, FriendApplication, FriendApplicationAnswerType,
    FriendApplicationPage, FriendPage, PeopleEvent, PeopleResult, Presence, TagValue, UserProfile,
    UserStatus,
};

use crate::amend::target;
use crate::client::Client;
use crate::error::RequestError;
use crate::event::Target;

/// The answer that a call must have.
macro_rules! expect {
    ($answer:expr, $variant:ident) => {
        match $answer? {
            Answer::$variant(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    };
}

/// # People
///
/// All of these wait for a connection if there is none, and are asked again after a reconnect: each does the same the second
/// time, or says that it was done. Where a call names several users, one that fails does not fail the others: each has its
/// [`PeopleResult`].
impl Client {
    /// Any call about people.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn people_call(&self, call: Call) -> Result<Answer, RequestError> {
        let answer: body::PeopleAnswer =
            self.call(Kind::PEOPLE, &body::PeopleCall { call: Some(call) }, true).await?;
        answer.answer.ok_or(RequestError::Unreadable)
    }

    /// Profiles of users, at most 100; empty `tags`: all fields that this user may read.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn profiles(
        &self,
        users: Vec<String>,
        tags: Vec<String>,
    ) -> Result<Vec<UserProfile>, RequestError> {
        let call = Call::ProfileGet(body::ProfileGet { users, tags });
        Ok(expect!(self.people_call(call).await, Profiles)?.profiles)
    }

    /// Changes one's own profile: all of these fields, or none.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn set_profile(&self, fields: Vec<TagValue>) -> Result<(), RequestError> {
        expect!(self.people_call(Call::ProfileSet(body::ProfileSet { fields })).await, Done).map(|_| ())
    }

    /// Asks for a friendship, both ways. Code 30539: the other one must confirm.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn add_friend(&self, user: &str, wording: &str) -> Result<PeopleResult, RequestError> {
        let item = body::FriendAddItem {
            user: user.into(),
            source: "AddSource_Type_Rust".into(),
            wording: wording.into(),
            ..body::FriendAddItem::default()
        };
        let call = Call::FriendAdd(body::FriendAdd { items: vec![item], r#type: 0 });
        self.one_result(call).await
    }

    /// Ends a friendship, both ways.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_friend(&self, user: &str) -> Result<PeopleResult, RequestError> {
        let call = Call::FriendDelete(body::FriendDelete { users: vec![user.into()], both: true });
        self.one_result(call).await
    }

    /// A page of the user's friends, from [`FriendPage::next`] of the page before on, at first 0.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friends(&self, start: u32, limit: u32) -> Result<FriendPage, RequestError> {
        let list = body::FriendList { start, limit, ..body::FriendList::default() };
        expect!(self.people_call(Call::FriendList(list)).await, Friends)
    }

    /// A page of the applications for a friendship that came in, or that this user `sent`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn friend_applications(
        &self,
        before: u64,
        limit: u32,
        sent: bool,
    ) -> Result<FriendApplicationPage, RequestError> {
        let call = Call::ApplicationList(body::FriendApplicationList { before, limit, sent });
        expect!(self.people_call(call).await, Applications)
    }

    /// Decides about somebody's application for a friendship.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn answer_friend(
        &self,
        user: &str,
        answer: FriendApplicationAnswerType,
    ) -> Result<PeopleResult, RequestError> {
        let answer = body::FriendApplicationAnswer {
            users: vec![user.into()],
            r#type: answer.into(),
            ..body::FriendApplicationAnswer::default()
        };
        self.one_result(Call::ApplicationAnswer(answer)).await
    }

    /// Puts somebody on the blocklist: no message of theirs comes, and no friendship is left.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn block(&self, user: &str) -> Result<PeopleResult, RequestError> {
        self.one_result(Call::BlockAdd(body::BlockAdd { users: vec![user.into()] })).await
    }

    /// Takes somebody off the blocklist.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unblock(&self, user: &str) -> Result<PeopleResult, RequestError> {
        self.one_result(Call::BlockDelete(body::BlockDelete { users: vec![user.into()] })).await
    }

    /// Who of users, at most 500, is online.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn statuses(&self, users: Vec<String>) -> Result<Vec<UserStatus>, RequestError> {
        Ok(expect!(self.people_call(Call::StatusGet(body::StatusGet { users })).await, Statuses)?.statuses)
    }

    /// As [`Self::statuses`], and from now on [`Event::People`](crate::Event::People) tells when that changes. Subscribe again
    /// after a login.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn subscribe_statuses(&self, users: Vec<String>) -> Result<Vec<UserStatus>, RequestError> {
        let call = Call::StatusSubscribe(body::StatusSubscribe { users, ..body::StatusSubscribe::default() });
        Ok(expect!(self.people_call(call).await, Statuses)?.statuses)
    }

    /// A page of the user's conversations, the newest first, after [`ConversationPage::next`] of the page before.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations(&self, after: &str, limit: u32) -> Result<ConversationPage, RequestError> {
        let list = body::ConversationList { after: after.into(), limit, ..body::ConversationList::default() };
        expect!(self.people_call(Call::ConversationList(list)).await, Conversations)
    }

    /// Pins a conversation to the top of the list, or lets go of it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn pin_conversation(&self, with: Target, pinned: bool) -> Result<(), RequestError> {
        let with = target(with).into_iter().collect();
        let call = Call::ConversationPin(body::ConversationPin { with, pinned });
        expect!(self.people_call(call).await, Done).map(|_| ())
    }

    /// Messages that this user has not read, over all conversations that are not muted.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unread_total(&self) -> Result<u64, RequestError> {
        let unread = self.people_call(Call::UnreadTotal(body::UnreadTotal {})).await;
        Ok(expect!(unread, Unread)?.count)
    }

    async fn one_result(&self, call: Call) -> Result<PeopleResult, RequestError> {
        let results = expect!(self.people_call(call).await, Results)?;
        results.items.into_iter().next().ok_or(RequestError::Unreadable)
    }
}
