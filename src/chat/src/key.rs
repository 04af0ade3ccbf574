//! Names of users and conversations, in the one byte form that every map and every engine uses.

use std::fmt;
use std::sync::Arc;

use nearport_trunk::{SessionId, Topic};

/// Longest user or device name, in bytes (`Identifier` in the public contract).
pub const NAME_BYTES_MAX: usize = 32;

/// Longest group id, in bytes (`GroupId` in the public contract).
pub const GROUP_BYTES_MAX: usize = 48;

/// Longest id of a topic, that of its community in front included, in bytes.
pub const TOPIC_BYTES_MAX: usize = 96;

/// Stands between the id of a community and the part that is a topic's own (public contract: `<GroupId>@TOPIC#_<part>`).
pub const TOPIC_MARK: &str = "@TOPIC#_";

/// An App, the tenant: `sdkappid` of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub u32);

/// A name that cannot be used, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// No characters at all.
    #[error("name is empty")]
    Empty,
    /// More bytes than its kind of name may have, which is this many: [`NAME_BYTES_MAX`], [`GROUP_BYTES_MAX`] or
    /// [`TOPIC_BYTES_MAX`].
    #[error("name is longer than {0} bytes")]
    TooLong(usize),
    /// A byte outside printable ASCII (0x20 to 0x7e), which no client of the contract accepts.
    #[error("name holds a byte outside printable ASCII")]
    NotPrintable,
}

pub(crate) fn check_name(name: &str) -> Result<(), BadName> {
    check_bytes(name, NAME_BYTES_MAX)
}

fn check_bytes(name: &str, bytes_max: usize) -> Result<(), BadName> {
    match name.len() {
        0 => Err(BadName::Empty),
        n if n > bytes_max => Err(BadName::TooLong(bytes_max)),
        _ if !name.bytes().all(|b| (0x20..=0x7e).contains(&b)) => Err(BadName::NotPrintable),
        _ => Ok(()),
    }
}

/// A user of one App.
///
/// Shape: App id (4 bytes, big endian), then the name (1 to 32 bytes of printable ASCII).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserKey(Arc<[u8]>);

impl UserKey {
    /// The key of `name` in `app`.
    ///
    /// # Errors
    /// [`BadName`] if the name is empty, longer than 32 bytes or not printable ASCII.
    pub fn new(app: AppId, name: &str) -> Result<Self, BadName> {
        check_name(name)?;
        Ok(Self([&app.0.to_be_bytes(), name.as_bytes()].concat().into()))
    }

    /// The App that the user belongs to.
    #[must_use]
    pub fn app(&self) -> AppId {
        AppId(u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }

    /// The name inside the App.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.0[4..]).expect("checked to be ASCII when the key was made")
    }

    /// The byte form, 5 to 36 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the names of guests begin with. Nobody logs in under such a name.
const GUEST_PREFIX: &str = "@GUEST#";

impl UserKey {
    /// Somebody without an account, for as long as this session lives.
    pub(crate) fn guest(app: AppId, session: SessionId) -> Self {
        Self::new(app, &format!("{GUEST_PREFIX}{:016x}", session.0)).expect("23 bytes of printable ASCII")
    }

    /// Whether it has the name of a guest.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        // Asked of each frame: without looking whether the rest is text.
        self.0[4..].starts_with(GUEST_PREFIX.as_bytes())
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app().0, self.name())
    }
}

/// A group of one App, or a topic of a community: a topic is named where a group is, and has a conversation of its own.
///
/// Shape: App id (4 bytes, big endian), then the id (1 to 48 bytes of printable ASCII; of a topic the id of its community, then
/// [`TOPIC_MARK`], then a part of its own, 96 bytes together).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(Arc<[u8]>);

impl GroupKey {
    /// The key of the group `id` in `app`.
    ///
    /// # Errors
    /// [`BadName`] if the id is empty, longer than 48 bytes (a topic's: 96) or not printable ASCII.
    pub fn new(app: AppId, id: &str) -> Result<Self, BadName> {
        match id.split_once(TOPIC_MARK) {
            Some((community, part)) if !community.is_empty() && !part.is_empty() => {
                check_bytes(community, GROUP_BYTES_MAX)?;
                check_bytes(id, TOPIC_BYTES_MAX)?;
            }
            _ => check_bytes(id, GROUP_BYTES_MAX)?,
        }
        Ok(Self([&app.0.to_be_bytes(), id.as_bytes()].concat().into()))
    }

    /// The App that the group belongs to.
    #[must_use]
    pub fn app(&self) -> AppId {
        AppId(u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }

    /// The id inside the App.
    #[must_use]
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.0[4..]).expect("checked to be ASCII when the key was made")
    }

    /// The byte form, 5 to 100 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is a topic of a community.
    #[must_use]
    pub fn is_topic(&self) -> bool {
        community_len(&self.0[4..]).is_some()
    }

    /// The group that it is, or whose topic.
    #[must_use]
    pub fn home(&self) -> Self {
        community_len(&self.0[4..]).map_or_else(|| self.clone(), |len| Self(self.0[..4 + len].into()))
    }

    /// Where the group's messages are.
    #[must_use]
    pub fn conv(&self) -> ConvKey {
        ConvKey(tagged(self.app(), CONV_GROUP, self.id().as_bytes()))
    }

    /// What the group's members listen to: one address for a community with all its topics. Its bytes are those of the group's
    /// conversation: a user's address is a user key, whose fifth byte is printable, so no group's is ever a user's.
    #[must_use]
    pub fn topic(&self) -> Topic {
        let id = self.id().as_bytes();
        Topic(tagged(self.app(), CONV_GROUP, &id[..community_len(id).unwrap_or(id.len())]))
    }
}

/// Of the id of a topic: how long that of its community is.
fn community_len(id: &[u8]) -> Option<usize> {
    let mark = TOPIC_MARK.as_bytes();
    let at = id.windows(mark.len()).position(|bytes| bytes == mark)?;
    (at > 0 && at + mark.len() < id.len()).then_some(at)
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app().0, self.id())
    }
}

const CONV_C2C: u8 = 1;
const CONV_GROUP: u8 = 2;
const CONV_NOTICES: u8 = 3;
const CONV_PUSHES: u8 = 4;

fn tagged(app: AppId, kind: u8, name: &[u8]) -> Arc<[u8]> {
    [&app.0.to_be_bytes()[..], &[kind], name].concat().into()
}

/// A conversation: a pair of users, a group, what the system tells one user, or what an App pushes to its members.
///
/// Shape: App id (4 bytes, big endian), kind (1 = pair, 2 = group, 3 = notices, 4 = pushes), then for a pair the length of the
/// smaller name and both names in byte order, for a group or a topic its id, for notices the user's name, for pushes
/// nothing. At most 101 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConvKey(Arc<[u8]>);

/// Where people say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Talk {
    /// In pairs.
    Pairs,
    /// In groups and topics.
    Groups,
}

impl Talk {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Pairs, Self::Groups];

    /// What the keys of all such conversations of an App begin with, and those of no others.
    #[must_use]
    pub fn prefix(self, app: AppId) -> [u8; 5] {
        let [a, b, c, d] = app.0.to_be_bytes();
        let kind = match self {
            Self::Pairs => CONV_C2C,
            Self::Groups => CONV_GROUP,
        };
        [a, b, c, d, kind]
    }
}

/// What a conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConvKind {
    /// Two users, the smaller name first; twice the same for notes to oneself.
    Pair(UserKey, UserKey),
    /// A group.
    Group(GroupKey),
    /// What the system tells a user.
    Notices(UserKey),
    /// What an App pushes to its members.
    Pushes(AppId),
}

impl ConvKey {
    /// The conversation of two users of one App; the order of the arguments does not matter.
    ///
    /// # Panics
    /// If the users belong to different Apps: callers build both keys from one session's App.
    #[must_use]
    pub fn pair(a: &UserKey, b: &UserKey) -> Self {
        assert_eq!(a.app(), b.app(), "a conversation never crosses Apps");
        let (small, large) = if a.name() <= b.name() { (a, b) } else { (b, a) };
        let mut key = Vec::with_capacity(6 + small.name().len() + large.name().len());
        key.extend_from_slice(&a.app().0.to_be_bytes());
        key.push(CONV_C2C);
        key.push(u8::try_from(small.name().len()).expect("names have at most 32 bytes"));
        key.extend_from_slice(small.name().as_bytes());
        key.extend_from_slice(large.name().as_bytes());
        Self(key.into())
    }

    /// The conversation of a group.
    ///
    /// # Errors
    /// [`BadName`] as [`GroupKey::new`].
    pub fn group(app: AppId, id: &str) -> Result<Self, BadName> {
        Ok(GroupKey::new(app, id)?.conv())
    }

    /// The conversation that holds what the system tells `user`: applications, kicks, dismissals.
    #[must_use]
    pub fn notices(user: &UserKey) -> Self {
        Self(tagged(user.app(), CONV_NOTICES, user.name().as_bytes()))
    }

    /// The conversation that holds what `app` pushes to its members. Nobody reads it: its messages are in user logs, and only there.
    #[must_use]
    pub fn pushes(app: AppId) -> Self {
        Self(tagged(app, CONV_PUSHES, &[]))
    }

    /// What it is, and whose.
    #[must_use]
    pub fn kind(&self) -> ConvKind {
        self.parse().expect("checked when the key was made")
    }

    fn parse(&self) -> Option<ConvKind> {
        let (app, rest) = self.0.split_first_chunk::<4>()?;
        let app = AppId(u32::from_be_bytes(*app));
        let (kind, rest) = rest.split_first()?;
        let name = |bytes| std::str::from_utf8(bytes).ok();
        let user = |bytes| UserKey::new(app, name(bytes)?).ok();
        match *kind {
            CONV_C2C => {
                let (small, names) = rest.split_first()?;
                let (small, large) = names.split_at_checked(usize::from(*small))?;
                (small <= large).then_some(ConvKind::Pair(user(small)?, user(large)?))
            }
            CONV_GROUP => GroupKey::new(app, name(rest)?).ok().map(ConvKind::Group),
            CONV_NOTICES => user(rest).map(ConvKind::Notices),
            CONV_PUSHES => rest.is_empty().then_some(ConvKind::Pushes(app)),
            _ => None,
        }
    }

    /// Reads back a key that [`Self::as_bytes`] gave, as engines do for the entries of a user log.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = Self(bytes.into());
        key.parse().is_some().then_some(key)
    }

    /// Whether it is a group's: told from the byte form alone, without an allocation.
    #[must_use]
    pub fn is_group(&self) -> bool {
        self.0[4] == CONV_GROUP
    }

    /// Whether it is that of a topic of a community.
    #[must_use]
    pub fn is_topic(&self) -> bool {
        self.is_group() && community_len(&self.0[5..]).is_some()
    }

    /// Of a group or a topic: what its members listen to, as [`GroupKey::topic`].
    #[must_use]
    pub fn topic(&self) -> Topic {
        let id = &self.0[5..];
        Topic(self.0[..5 + community_len(id).unwrap_or(id.len())].into())
    }

    /// Whether it is that of a pair.
    #[must_use]
    pub fn is_pair(&self) -> bool {
        self.0[4] == CONV_C2C
    }

    /// Whether it is that of pushes.
    #[must_use]
    pub fn is_pushes(&self) -> bool {
        self.0[4] == CONV_PUSHES
    }

    /// The byte form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ConvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_conversation_knows_whose_it_is(a in "[ -~]{1,32}", b in "[ -~]{1,32}", id in "[ -~]{1,48}", app in 0..3u32) {
            let app = AppId(app);
            let (a, b) = (UserKey::new(app, &a).unwrap(), UserKey::new(app, &b).unwrap());
            let group = GroupKey::new(app, &id).unwrap();
            let (small, large) = if a <= b { (&a, &b) } else { (&b, &a) };
            let known = [
                (ConvKey::pair(&a, &b), ConvKind::Pair(small.clone(), large.clone())),
                (group.conv(), ConvKind::Group(group.clone())),
                (ConvKey::notices(&a), ConvKind::Notices(a.clone())),
                (ConvKey::pushes(app), ConvKind::Pushes(app)),
            ];
            for (conv, kind) in known {
                prop_assert!(conv.as_bytes().len() <= 101);
                prop_assert_eq!(conv.is_group(), matches!(kind, ConvKind::Group(_)));
                prop_assert_eq!(conv.is_pair(), matches!(kind, ConvKind::Pair(..)));
                prop_assert_eq!(conv.is_pushes(), matches!(kind, ConvKind::Pushes(_)));
                prop_assert_eq!(conv.kind(), kind);
                prop_assert_eq!(ConvKey::from_bytes(conv.as_bytes()), Some(conv));
            }
            prop_assert_ne!(&group.topic().0[..], a.as_bytes());
        }

        #[test]
        fn bytes_that_are_no_key_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(conv) = ConvKey::from_bytes(&bytes) {
                let _ = conv.kind();
            }
        }
    }

    #[test]
    fn names_have_limits() {
        let long = |n| "x".repeat(n);
        assert_eq!(UserKey::new(AppId(1), &long(33)), Err(BadName::TooLong(32)));
        assert!(GroupKey::new(AppId(1), &long(48)).is_ok());
        assert_eq!(GroupKey::new(AppId(1), &long(49)), Err(BadName::TooLong(48)));
        assert_eq!(GroupKey::new(AppId(1), "groep\u{e9}"), Err(BadName::NotPrintable));
        assert_eq!(GroupKey::new(AppId(1), ""), Err(BadName::Empty));
    }

    #[test]
    fn a_topic_belongs_to_its_community() {
        let key = |id: &str| GroupKey::new(AppId(1), id);
        let (community, topic) = (key("@TGS#_c").unwrap(), key("@TGS#_c@TOPIC#_@TOPIC#1").unwrap());
        assert!(topic.is_topic() && !community.is_topic());
        assert_eq!((topic.home(), community.home()), (community.clone(), community.clone()));
        assert_eq!(
            [topic.topic(), topic.conv().topic(), community.conv().topic()],
            [(); 3].map(|()| community.topic())
        );
        assert_ne!(topic.conv(), community.conv());
        let long =
            |community: usize, part: usize| format!("{}@TOPIC#_{}", "x".repeat(community), "y".repeat(part));
        assert!(key(&long(48, 40)).is_ok());
        assert_eq!(key(&long(48, 41)), Err(BadName::TooLong(96)));
        assert_eq!(key(&long(49, 1)), Err(BadName::TooLong(48)));
        // Nothing before the mark, or nothing behind it: a group as any other.
        for id in ["@TOPIC#_x", "x@TOPIC#_"] {
            let group = key(id).unwrap();
            assert!(!group.is_topic());
            assert_eq!((group.home(), group.conv().topic()), (group.clone(), group.topic()));
        }
    }
}
