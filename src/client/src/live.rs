//! Live rooms: groups of any size without history.

use nearport_wire::body::{GroupJoin, LiveFrame, element, group_answer::Answer, group_call::Call};

pub use nearport_wire::Class;
pub use nearport_wire::body::{LiveCounts, LiveJoined, LiveNotice};

use crate::client::Client;
use crate::error::RequestError;

impl Client {
    /// Joins a live room with this session. What is said there comes as [`Event::Live`](crate::Event::Live) from here on. A
    /// membership ends with its session, and a server that was restarted knows none: join again after
    /// [`Event::Connected`](crate::Event::Connected). A second time changes nothing.
    ///
    /// Returns the counts of the room as of now: what comes after is counted from here.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::Unreadable`] if the group is no live room.
    pub async fn join_live_room(&self, room: &str) -> Result<LiveJoined, RequestError> {
        let join = GroupJoin { group: room.into(), text: String::new() };
        match self.group_call(Call::Join(join), true).await? {
            Answer::Join(outcome) => outcome.live.ok_or(RequestError::Unreadable),
            _ => Err(RequestError::Unreadable),
        }
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
