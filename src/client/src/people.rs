//! Profiles, relations, presence and the list of conversations: what a client asks about people. The bodies are those of the wire,
//! [`nearport_wire::body`].

use nearport_wire::Kind;
use nearport_wire::body::{self, people_answer::Answer, people_call::Call};

pub use nearport_wire::body::{
    Block, BlockPage, Conversation, ConversationGroups, ConversationPage, Disturb, Friend, FriendAddItem,
    FriendAddType, FriendApplication, FriendApplicationAnswer, FriendApplicationAnswerType,
    FriendApplicationPage, FriendGroup, FriendGroups, FriendInfo, FriendList, FriendPage, FriendRelation,
    FriendUpdateItem, Mention, PeopleEvent, PeopleResult, Presence, RelationItem, RelationSequences,
    TagValue, UserProfile, UserStatus, tag_value,
};

use crate::client::Client;
use crate::error::RequestError;

/// The answer that a call must have.
macro_rules! expect {
    ($answer:expr, $variant:ident) => {
        match $answer? {
            Answer::$variant(answer) => Ok(answer),
            _ => Err(RequestError::Unreadable),
        }
    };
}

mod conversations;
mod friends;

/// # People
///
/// All of these wait for a connection if there is none, and are asked again after a reconnect: each does the same the second
/// time, or says that it was done. Dropped early, a call that has gone out is carried out all the same. Where a call names several users, one that fails does not fail the others: each has its
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
        self.people_done(Call::ProfileSet(body::ProfileSet { fields })).await
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

    /// Watches users no longer; none named: nobody.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unsubscribe_statuses(&self, users: Vec<String>) -> Result<(), RequestError> {
        let stop_all = users.is_empty();
        let stop = body::StatusSubscribe { stop: users, stop_all, ..body::StatusSubscribe::default() };
        expect!(self.people_call(Call::StatusSubscribe(stop)).await, Statuses).map(|_| ())
    }

    /// A line of one's own beside the state, at most 100 bytes; empty takes it away. It goes with the user's last session.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn set_status(&self, text: &str) -> Result<(), RequestError> {
        self.people_done(Call::StatusSet(body::StatusSet { text: text.into() })).await
    }

    /// Logs this device out: nothing is left that could be pushed to. Then as [`Self::close`]. A failure leaves the session as it is.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn log_out(&self) -> Result<(), RequestError> {
        self.people_done(Call::LogOut(body::LogOut {})).await?;
        self.close().await;
        Ok(())
    }

    async fn people_done(&self, call: Call) -> Result<(), RequestError> {
        expect!(self.people_call(call).await, Done).map(|_| ())
    }

    async fn results(&self, call: Call) -> Result<Vec<PeopleResult>, RequestError> {
        Ok(expect!(self.people_call(call).await, Results)?.items)
    }

    async fn one_result(&self, call: Call) -> Result<PeopleResult, RequestError> {
        self.results(call).await?.into_iter().next().ok_or(RequestError::Unreadable)
    }
}
