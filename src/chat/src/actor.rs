//! Who asks.

use crate::key::UserKey;

/// By whose rights something is done, to groups, profiles or relations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor<'a> {
    /// A user, for herself.
    User(&'a UserKey),
    /// The back end of the App, by the name of one of its administrators: for anybody in the App. In a group it may do what the
    /// owner may, and need not be a member.
    Admin(&'a str),
}

impl<'a> Actor<'a> {
    /// The name that tips and notices carry.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::User(user) => user.name(),
            Self::Admin(name) => name,
        }
    }

    /// The user, unless it is an administrator.
    #[must_use]
    pub fn user(self) -> Option<&'a UserKey> {
        match self {
            Self::User(user) => Some(user),
            Self::Admin(_) => None,
        }
    }

    /// Whether it is this user, for herself.
    #[must_use]
    pub fn is(self, user: &UserKey) -> bool {
        self.user() == Some(user)
    }

    /// Whether it may do what is for administrators of the App.
    #[must_use]
    pub fn is_admin(self) -> bool {
        self.user().is_none()
    }
}
