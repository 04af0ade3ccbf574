//! Conversation lists of users.

use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;

use super::{Admin, Pending};
use crate::callback::Origin;
use crate::desk::people::conversations::UNREAD_MAX;
use crate::desk::people::{conversations, publish};
use crate::directory::conversations::Peer;
use crate::key::UserKey;
use crate::people::Effects;
pub use crate::people::conversations::ContactMark;
use crate::people::conversations::{Known, Settings};
use crate::reply::Failure;

impl Admin {
    /// Carries out a call about conversations as if `user` asked; her devices hear of what changed.
    pub fn conversations_as(&self, user: &UserKey, call: Call) -> Pending<Result<Answer, Failure>> {
        let user = user.clone();
        self.on_desk(move |shared, now_ms, out| {
            let mut effects = Effects::default();
            let answer = conversations::carry_out(shared, &user, call, now_ms, &mut effects)?;
            publish(shared, effects, None, Origin::REST, out);
            Ok(answer)
        })
    }

    /// Marks conversations in the name of `user`, in one change; her devices hear of it.
    pub fn mark_conversations(
        &self,
        user: &UserKey,
        marks: Vec<ContactMark>,
    ) -> Pending<Result<(), Failure>> {
        let user = user.clone();
        self.on_desk(move |shared, _, out| {
            let mut effects = Effects::default();
            shared.people.mark_each_conversation(&user, &marks, &mut effects)?;
            publish(shared, effects, None, Origin::REST, out);
            Ok(())
        })
    }

    /// What a user has set for conversations. Blocks.
    ///
    /// # Errors
    /// 50004.
    pub fn conversation_settings(&self, user: &UserKey) -> Result<Settings, Failure> {
        self.shared.people.conversation_settings(user)
    }

    /// The conversation list of a user, by order key, largest first, with what she has set. Blocks.
    ///
    /// # Errors
    /// 50004.
    pub fn conversation_list(&self, user: &UserKey) -> Result<(Vec<(String, Known)>, Settings), Failure> {
        let settings = self.shared.people.conversation_settings(user)?;
        let known = conversations::known(&self.shared, user, &settings, self.now_ms())?;
        Ok((known, settings))
    }

    /// How many messages of other users are unread in all. Blocks.
    ///
    /// # Errors
    /// 50004.
    pub fn pairs_unread(&self, user: &UserKey) -> Result<u64, Failure> {
        let (known, _) = self.conversation_list(user)?;
        let pairs = known.iter().filter(|(_, known)| matches!(known.peer, Peer::User(_)));
        Ok(pairs.map(|(_, known)| known.unread.min(UNREAD_MAX)).sum())
    }

    /// How many messages of each of these are unread. Blocks.
    ///
    /// # Errors
    /// 50004.
    pub fn unread_with(&self, user: &UserKey, peers: &[UserKey]) -> Result<Vec<u64>, Failure> {
        let counts = conversations::unread_of(&self.shared, user, peers, self.now_ms())?;
        Ok(counts.into_iter().map(|count| count.min(UNREAD_MAX)).collect())
    }
}
