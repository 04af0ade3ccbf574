//! Live rooms: groups of any size without history.

use nearport_wire::body::{GroupJoin, LiveFrame, element, group_answer::Answer, group_call::Call};

pub use nearport_wire::Class;
pub use nearport_wire::body::{LiveCounts, LiveJoined, LiveNotice};

use crate::client::Client;
use crate::error::RequestError;

impl Client {
    /// Joins a live room. What is said there comes as [`Event::Live`](crate::Event::Live) from here on, until
    /// [`Client::quit_group`]. A membership ends with its session: the client joins again with the next one, and what was said meanwhile
    /// never comes. If it may not, [`Event::LiveLeft`](crate::Event::LiveLeft) says so. A second time changes nothing.
    ///
    /// Returns the counts of the room as of now: what comes after is counted from here.
    ///
    /// Dropped early, the client goes on with joining, and stays: [`Client::quit_group`] ends it.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::NotLive`] if the group is no live room.
    pub async fn join_live_room(&self, room: &str) -> Result<LiveJoined, RequestError> {
        let join = GroupJoin { group: room.into(), text: String::new() };
        // Before the answer, so that a session that begins in between has it, too.
        let new = self.enter_live_room(room);
        let joined = match self.group_call(Call::Join(join), true).await {
            Ok(Answer::Join(outcome)) => outcome.live.ok_or(RequestError::NotLive),
            Ok(_) => Err(RequestError::Unreadable),
            Err(error) => Err(error),
        };
        if new && joined.is_err() {
            self.leave_live_room(room);
        }
        joined
    }
}

/// The first text that a frame says, if it brings a message and that begins with one.
#[must_use]
pub fn text_of(frame: &LiveFrame) -> Option<&str> {
    let content = frame.delivery.as_ref()?.message.as_ref()?.content.as_ref()?;
    match content.elements.first()?.element.as_ref()? {
        element::Element::Text(text) => Some(&text.text),
        _ => None,
    }
}
