//! The list of conversations, its settings and groups.

use nearport_wire::body::{self, people_answer::Answer, people_call::Call};

use super::{Conversation, ConversationGroups, ConversationPage, Disturb};
use crate::amend::target;
use crate::client::Client;
use crate::error::RequestError;
use crate::event::Target;

/// # The list of conversations
///
/// Settings are the user's, on all devices. Waiting, asking again and dropping are as with the calls about people.
impl Client {
    /// A page of the user's conversations, the newest first, after [`ConversationPage::next`] of the page before.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations(&self, after: &str, limit: u32) -> Result<ConversationPage, RequestError> {
        self.conversations_of(after, limit, "", 0).await
    }

    /// As [`Self::conversations`], only those of a conversation group (empty: all) and with one of these marks (0: all).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations_of(
        &self,
        after: &str,
        limit: u32,
        group: &str,
        marks: u64,
    ) -> Result<ConversationPage, RequestError> {
        let list = body::ConversationList { after: after.into(), limit, group: group.into(), marks };
        expect!(self.people_call(Call::ConversationList(list)).await, Conversations)
    }

    /// Those of these conversations, at most 100, that there are.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations_with(&self, with: Vec<Target>) -> Result<Vec<Conversation>, RequestError> {
        let call = Call::ConversationGet(body::ConversationGet { with: targets(with) });
        Ok(expect!(self.people_call(call).await, Conversations)?.conversations)
    }

    /// Pins a conversation to the top of the list, or lets go of it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn pin_conversation(&self, with: Target, pinned: bool) -> Result<(), RequestError> {
        self.people_done(Call::ConversationPin(body::ConversationPin { with: targets([with]), pinned })).await
    }

    /// Sets marks of conversations and clears others: bits 1 star, 2 unread, 4 fold, 8 hide, from 2^32 those of the App.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mark_conversations(
        &self,
        with: Vec<Target>,
        set: u64,
        clear: u64,
    ) -> Result<(), RequestError> {
        let mark = body::ConversationMark { with: targets(with), set, clear };
        self.people_done(Call::ConversationMark(mark)).await
    }

    /// Whether messages of users are announced. For groups: [`GroupMemberEdit::reception`](crate::groups::GroupMemberEdit).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mute_conversations(&self, with: Vec<Target>, mute: Disturb) -> Result<(), RequestError> {
        let mute = body::ConversationMute { with: targets(with), mute: mute.into() };
        self.people_done(Call::ConversationMute(mute)).await
    }

    /// Keeps what was typed and not sent, at most 2048 bytes; empty takes it away.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn keep_draft(&self, with: Target, text: &str) -> Result<(), RequestError> {
        let draft = body::ConversationDraft { with: target(with), text: text.into() };
        self.people_done(Call::ConversationDraft(draft)).await
    }

    /// Takes conversations off the list, with their settings, until their next message. [`Self::clear`] deletes the messages.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_conversations(&self, with: Vec<Target>) -> Result<(), RequestError> {
        self.people_done(Call::ConversationDelete(body::ConversationDelete { with: targets(with) })).await
    }

    /// Makes a conversation group with these in it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn create_conversation_group(&self, name: &str, with: Vec<Target>) -> Result<(), RequestError> {
        let create = body::ConversationGroupCreate { name: name.into(), with: targets(with) };
        self.people_done(Call::ConversationGroupCreate(create)).await
    }

    /// Removes a conversation group; the conversations stay.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete_conversation_group(&self, name: &str) -> Result<(), RequestError> {
        let delete = body::ConversationGroupDelete { name: name.into() };
        self.people_done(Call::ConversationGroupDelete(delete)).await
    }

    /// Gives a conversation group another name.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn rename_conversation_group(&self, name: &str, new_name: &str) -> Result<(), RequestError> {
        let rename = body::ConversationGroupRename { name: name.into(), new_name: new_name.into() };
        self.people_done(Call::ConversationGroupRename(rename)).await
    }

    /// Puts conversations into a conversation group and takes others out.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn change_conversation_group(
        &self,
        name: &str,
        add: Vec<Target>,
        remove: Vec<Target>,
    ) -> Result<(), RequestError> {
        let (add, remove) = (targets(add), targets(remove));
        let change = body::ConversationGroupMembers { name: name.into(), add, remove };
        self.people_done(Call::ConversationGroupMembers(change)).await
    }

    /// The names of the conversation groups.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversation_groups(&self) -> Result<ConversationGroups, RequestError> {
        let list = Call::ConversationGroupList(body::ConversationGroupList {});
        expect!(self.people_call(list).await, ConversationGroups)
    }

    /// Messages that this user has not read, over all conversations that are not muted.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn unread_total(&self) -> Result<u64, RequestError> {
        let unread = self.people_call(Call::UnreadTotal(body::UnreadTotal {})).await;
        Ok(expect!(unread, Unread)?.count)
    }
}

fn targets(with: impl IntoIterator<Item = Target>) -> Vec<body::Target> {
    with.into_iter().filter_map(target).collect()
}
