//! A message as the ledger keeps it: what clients get, and behind it what only the server knows.

use bytes::Bytes;
use nearport_wire::body::{
    Mentions, Message, MessageHead, Target, append_audience, target, without_audience,
};
use prost::Message as _;

use crate::key::UserKey;

/// Which side of a pair a message is for. What is not for somebody is in no page of theirs, and for them as if it had
/// never been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// Both.
    #[default]
    All,
    /// Its sender: the receiver has blocked them, and they are not to know.
    Sender,
    /// All but its sender: an App sent it in the sender's name without a copy.
    Others,
}

impl Audience {
    fn number(self) -> u32 {
        match self {
            Self::All => 0,
            Self::Sender => 1,
            Self::Others => 2,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Sender,
            2 => Self::Others,
            _ => Self::All,
        }
    }
}

/// The bytes that the ledger keeps.
#[must_use]
pub fn seal(message: &Message, audience: Audience) -> Bytes {
    let message = message.encode_to_vec();
    match audience {
        Audience::All => message.into(),
        _ => append_audience(&message, audience.number()),
    }
}

/// A message that was stored once for many, as `user` gets it: to her. Encoded messages with more behind them are messages with that too.
#[must_use]
pub(crate) fn addressed(message: &Bytes, user: &UserKey) -> Bytes {
    let to = Some(Target { target: Some(target::Target::User(user.name().to_owned())) });
    let to = Message { to, ..Message::default() }.encode_to_vec();
    [&message[..], &to].concat().into()
}

/// A stored message, of which only the head was read.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What decides who gets it.
    pub head: MessageHead,
    /// Whom it is for.
    pub audience: Audience,
    /// What clients get: an encoded `Message`.
    pub message: Bytes,
}

impl Kept {
    /// Reads what [`seal`] made. A body that is no message, which nothing here writes, is one without a sender: it is shown as it is.
    #[must_use]
    pub fn open(body: &Bytes) -> Self {
        let head = MessageHead::decode(body.clone()).unwrap_or_default();
        let audience = Audience::from_number(head.audience);
        let message = without_audience(body, head.audience);
        Self { head, audience, message }
    }

    /// Whether `user` sent it.
    #[must_use]
    pub fn is_from(&self, user: &UserKey) -> bool {
        self.head.from[..] == *user.name().as_bytes()
    }

    /// Whether it is for `user`.
    #[must_use]
    pub fn is_for(&self, user: &UserKey) -> bool {
        match self.audience {
            Audience::All => true,
            Audience::Sender => self.is_from(user),
            Audience::Others => !self.is_from(user),
        }
    }

    /// Whether a device that comes at `now_ms` is not told of it any more, for its life is over.
    #[must_use]
    pub fn is_over(&self, time_ms: u64, now_ms: u64) -> bool {
        let life_ms = u64::from(self.head.life_time_s) * 1000;
        life_ms > 0 && now_ms > time_ms.saturating_add(life_ms)
    }

    /// Whether it counts as unread for `user`: it is for them, not from them, and neither taken back nor sent without.
    #[must_use]
    pub fn counts_for(&self, user: &UserKey) -> bool {
        let counted = self.head.control.as_ref().is_none_or(|control| !control.no_unread);
        counted && self.head.recalled.is_none() && self.is_for(user) && !self.is_from(user)
    }

    /// Whether it means `user` by "@", and whether it means all.
    #[must_use]
    pub fn mentions(&self, user: &UserKey) -> (bool, bool) {
        let mentions = self.head.mentions.clone().and_then(|encoded| Mentions::decode(encoded).ok());
        let Mentions { users, all } = mentions.unwrap_or_default();
        (users.iter().any(|name| name == user.name()), all)
    }

    /// Whether the conversation list shows it as the last message.
    #[must_use]
    pub fn may_be_last(&self) -> bool {
        self.head.control.as_ref().is_none_or(|control| !control.no_last_message)
    }

    /// The whole message.
    ///
    /// # Errors
    /// If the bytes are no message.
    pub fn decode(&self) -> Result<Message, prost::DecodeError> {
        Message::decode(self.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use nearport_wire::body::SendControl;

    use super::*;
    use crate::key::AppId;

    fn user(name: &str) -> UserKey {
        UserKey::new(AppId(1), name).unwrap()
    }

    #[test]
    fn each_audience_sees_its_own() {
        let message = Message { from: "alice".into(), life_time_s: 9, ..Message::default() };
        let seen = |audience| {
            let kept = Kept::open(&seal(&message, audience));
            assert_eq!((kept.audience, kept.decode().unwrap()), (audience, message.clone()));
            [kept.is_for(&user("alice")), kept.is_for(&user("bob"))]
        };
        assert_eq!(seen(Audience::All), [true, true]);
        assert_eq!(seen(Audience::Sender), [true, false]);
        assert_eq!(seen(Audience::Others), [false, true]);
    }

    #[test]
    fn what_is_for_many_is_addressed_to_each() {
        let message = Message { from: "alice".into(), life_time_s: 9, ..Message::default() };
        let got = Message::decode(addressed(&message.encode_to_vec().into(), &user("bob"))).unwrap();
        let to = Some(Target { target: Some(target::Target::User("bob".to_owned())) });
        assert_eq!(got, Message { to, ..message });
    }

    #[test]
    fn a_life_ends_and_one_without_a_bound_does_not() {
        let kept =
            |life_time_s| Kept::open(&seal(&Message { life_time_s, ..Message::default() }, Audience::All));
        assert!(!kept(9).is_over(1000, 10_000) && kept(9).is_over(1000, 10_001));
        assert!(!kept(0).is_over(1000, u64::MAX));
    }

    #[test]
    fn controls_say_what_is_counted() {
        let with = |no_unread, no_last_message| {
            let control = Some(SendControl { no_unread, no_last_message });
            Kept::open(&seal(&Message { from: "alice".into(), control, ..Message::default() }, Audience::All))
        };
        let (bob, alice) = (user("bob"), user("alice"));
        assert!(with(false, false).counts_for(&bob) && !with(false, false).counts_for(&alice));
        assert!(!with(true, false).counts_for(&bob));
        assert!(with(true, false).may_be_last() && !with(false, true).may_be_last());
    }
}
