//! Tags and attributes: what an App says of its users.
//!
//! An attribute is one of ten that the App has named; what a user has goes by its number, so another name changes nothing of it. A
//! tag is a text that a user has or has not.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Admin, Pending};
use crate::directory::DirectoryError;
use crate::directory::people::PeopleTx;
use crate::directory::push::{ATTRS_MAX, Attrs};
use crate::key::{AppId, UserKey};
use crate::reply::Failure;
use crate::shared::Shared;

/// Codes of the contract.
const INTERNAL: u32 = 91000;
const NO_ACCOUNT: u32 = 90048;
const TOO_MANY_USERS: u32 = 90018;
const BAD_LENGTH: u32 = 90030;
const TOO_MANY_TAGS: u32 = 90032;
pub(super) const BAD_ATTR: u32 = 90033;
const BAD_TAG: u32 = 90034;

/// Users of one call.
const USERS_MAX: usize = 100;
/// Bytes of a name or a value of an attribute, and of a tag.
pub(super) const TEXT_BYTES_MAX: usize = 50;
/// Tags that one call adds to a user, and takes from one.
const TAGS_AT_ONCE: usize = 10;
/// Tags of a user.
const TAGS_MAX: usize = 100;

/// Attributes of a user, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttrsOf {
    /// The user.
    pub user: String,
    /// Values by names.
    pub attrs: BTreeMap<String, String>,
}

/// Names of tags, or of attributes, of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesOf {
    /// The user.
    pub user: String,
    /// The names.
    pub names: Vec<String>,
}

impl Admin {
    /// What the App calls its attributes, by number. Blocks.
    ///
    /// # Errors
    /// 91000.
    pub fn attr_names(&self, app: AppId) -> Result<Attrs, Failure> {
        read(&self.shared, |tx| tx.attr_names(app))
    }

    /// Names attributes; those that are not given stay. All have different names.
    ///
    /// The outcome: 90030 for a name that is empty or too long, 90033 for one that another has or a number that there is not, 91000.
    pub fn set_attr_names(&self, app: AppId, names: Attrs) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            if names.keys().any(|slot| *slot >= ATTRS_MAX) {
                return Err(Failure::new(BAD_ATTR, "attributes have the numbers 0 to 9"));
            }
            names.values().try_for_each(|name| fits(name, "the name of an attribute"))?;
            change(shared, |tx| {
                let mut all = tx.attr_names(app)?;
                all.extend(names.clone());
                if all.values().collect::<BTreeSet<_>>().len() < all.len() {
                    return Ok(Err(Failure::new(BAD_ATTR, "two attributes would have the same name")));
                }
                tx.set_attr_names(app, &names)?;
                Ok(Ok(()))
            })
        })
    }

    /// Sets attributes of users, all or none.
    ///
    /// The outcome: 90018 for more than 100 users, 90048 for one that is no account, 90030 for a value that is empty or too long, 90033 for an
    /// attribute without a name, 91000.
    pub fn set_attrs(&self, app: AppId, changes: Vec<AttrsOf>) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            let users = accounts(shared, app, changes.iter().map(|change| &*change.user))?;
            let mut values = changes.iter().flat_map(|change| change.attrs.values());
            values.try_for_each(|value| fits(value, "the value of an attribute"))?;
            change(shared, |tx| {
                let slots = slots(tx, app)?;
                let mut rows = Vec::new();
                for (user, change) in users.iter().zip(&changes) {
                    for (name, value) in &change.attrs {
                        let Some(slot) = slots.get(name) else { return Ok(Err(no_attr(name))) };
                        rows.push((user, *slot, value.as_str()));
                    }
                }
                tx.set_attrs(&rows)?;
                Ok(Ok(()))
            })
        })
    }

    /// Attributes of users, in their order. Blocks.
    ///
    /// # Errors
    /// 90018, 90048, 91000.
    pub fn attrs(&self, app: AppId, users: &[String]) -> Result<Vec<AttrsOf>, Failure> {
        let keys = accounts(&self.shared, app, users.iter().map(String::as_str))?;
        let (names, found) = read(&self.shared, |tx| Ok((tx.attr_names(app)?, tx.attrs(&keys)?)))?;
        let one = |(user, attrs): (&String, Attrs)| {
            let named =
                attrs.into_iter().filter_map(|(slot, value)| Some((names.get(&slot)?.clone(), value)));
            AttrsOf { user: user.clone(), attrs: named.collect() }
        };
        Ok(users.iter().zip(found).map(one).collect())
    }

    /// Takes attributes from users, all or none.
    ///
    /// The outcome: 90018, 90033, 90048, 91000.
    pub fn remove_attrs(&self, app: AppId, changes: Vec<NamesOf>) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            let users = accounts(shared, app, changes.iter().map(|change| &*change.user))?;
            change(shared, |tx| {
                let slots = slots(tx, app)?;
                let mut rows = Vec::new();
                for (user, change) in users.iter().zip(&changes) {
                    for name in &change.names {
                        let Some(slot) = slots.get(name) else { return Ok(Err(no_attr(name))) };
                        rows.push((user, *slot));
                    }
                }
                tx.delete_attrs(&rows)?;
                Ok(Ok(()))
            })
        })
    }

    /// Adds tags to users, all or none.
    ///
    /// The outcome: 90018, 90048, 90034 for a tag that is empty or too long, 90032 for more than 10 tags for a user in this call or more than
    /// 100 that she would have, 91000.
    pub fn add_tags(&self, app: AppId, changes: Vec<NamesOf>) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            let users = accounts(shared, app, changes.iter().map(|change| &*change.user))?;
            changes.iter().try_for_each(|change| check_tags(&change.names))?;
            change(shared, |tx| {
                // By user: one may be named twice.
                let mut all: BTreeMap<&UserKey, BTreeSet<String>> = BTreeMap::new();
                for (user, tags) in users.iter().zip(tx.tags(&users)?) {
                    all.insert(user, tags.into_iter().collect());
                }
                for (user, change) in users.iter().zip(&changes) {
                    let tags = all.entry(user).or_default();
                    tags.extend(change.names.iter().cloned());
                    if tags.len() > TAGS_MAX {
                        return Ok(Err(Failure::new(TOO_MANY_TAGS, "a user has at most 100 tags")));
                    }
                }
                tx.add_tags(&rows(&users, &changes))?;
                Ok(Ok(()))
            })
        })
    }

    /// Tags of users, in their order, each list by its bytes. Blocks.
    ///
    /// # Errors
    /// 90018, 90048, 91000.
    pub fn tags(&self, app: AppId, users: &[String]) -> Result<Vec<NamesOf>, Failure> {
        let keys = accounts(&self.shared, app, users.iter().map(String::as_str))?;
        let found = read(&self.shared, |tx| tx.tags(&keys))?;
        Ok(users.iter().zip(found).map(|(user, names)| NamesOf { user: user.clone(), names }).collect())
    }

    /// Takes tags from users, all or none.
    ///
    /// The outcome: as of [`Self::add_tags`].
    pub fn remove_tags(&self, app: AppId, changes: Vec<NamesOf>) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            let users = accounts(shared, app, changes.iter().map(|change| &*change.user))?;
            changes.iter().try_for_each(|change| check_tags(&change.names))?;
            change(shared, |tx| {
                tx.delete_tags(&rows(&users, &changes))?;
                Ok(Ok(()))
            })
        })
    }

    /// Takes all tags from users.
    ///
    /// The outcome: 90018, 90048, 91000.
    pub fn clear_tags(&self, app: AppId, users: Vec<String>) -> Pending<Result<(), Failure>> {
        self.on_desk(move |shared, _, _| {
            let users = accounts(shared, app, users.iter().map(String::as_str))?;
            change(shared, |tx| {
                tx.clear_tags(&users)?;
                Ok(Ok(()))
            })
        })
    }
}

/// Users that all exist.
fn accounts<'a>(
    shared: &Shared,
    app: AppId,
    users: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Vec<UserKey>, Failure> {
    if users.len() > USERS_MAX {
        return Err(Failure::new(TOO_MANY_USERS, "at most 100 users in one call"));
    }
    let missing = || Failure::new(NO_ACCOUNT, "one of the users is no account");
    let keys =
        users.map(|user| UserKey::new(app, user).map_err(|_| missing())).collect::<Result<Vec<_>, _>>()?;
    let found = shared.accounts.find(&keys).map_err(|error| {
        tracing::error!(%error, "cannot look accounts up");
        Failure::later(INTERNAL, "accounts cannot be looked up, try again", 1000)
    })?;
    if found.accounts.iter().all(Option::is_some) { Ok(keys) } else { Err(missing()) }
}

fn rows<'a>(users: &'a [UserKey], changes: &'a [NamesOf]) -> Vec<(&'a UserKey, &'a str)> {
    let all = users.iter().zip(changes);
    all.flat_map(|(user, change)| change.names.iter().map(move |name| (user, name.as_str()))).collect()
}

/// Numbers of attributes by their names.
pub(super) fn slots(tx: &mut dyn PeopleTx, app: AppId) -> Result<BTreeMap<String, u8>, DirectoryError> {
    Ok(tx.attr_names(app)?.into_iter().map(|(slot, name)| (name, slot)).collect())
}

pub(super) fn no_attr(name: &str) -> Failure {
    let shown: String = name.chars().take(TEXT_BYTES_MAX).collect();
    Failure::new(BAD_ATTR, format!("there is no attribute {shown:?}: im_set_attr_name names them"))
}

/// U+0000 is no text for PostgreSQL.
pub(super) fn is_good(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains('\0')
}

fn fits(text: &str, what: &str) -> Result<(), Failure> {
    match is_good(text) {
        true => Ok(()),
        false => Err(Failure::new(BAD_LENGTH, format!("{what} has 1 to 50 bytes, none of them zero"))),
    }
}

fn check_tags(tags: &[String]) -> Result<(), Failure> {
    if tags.len() > TAGS_AT_ONCE {
        return Err(Failure::new(TOO_MANY_TAGS, "at most 10 tags of a user in one call"));
    }
    match tags.iter().all(|tag| is_good(tag)) {
        true => Ok(()),
        false => Err(Failure::new(BAD_TAG, "a tag has 1 to 50 bytes, none of them zero")),
    }
}

fn read<T>(
    shared: &Shared,
    mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, DirectoryError>,
) -> Result<T, Failure> {
    let mut value = None;
    let done = shared.directory.read_people(&mut |tx| {
        value = Some(work(tx)?);
        Ok(())
    });
    done.map_err(|error| internal(&error))?;
    value.ok_or_else(|| internal(&DirectoryError::Abandoned))
}

/// A transaction that a rule may give up.
pub(super) fn change<T>(
    shared: &Shared,
    mut work: impl FnMut(&mut dyn PeopleTx) -> Result<Result<T, Failure>, DirectoryError>,
) -> Result<T, Failure> {
    let mut outcome = None;
    let done = shared.directory.write_people(&mut |tx| {
        // It may be the second time.
        let refused = outcome.insert(work(tx)?).is_err();
        if refused { Err(DirectoryError::Abandoned) } else { Ok(()) }
    });
    match (outcome, done) {
        (Some(outcome), Ok(())) | (Some(outcome @ Err(_)), Err(DirectoryError::Abandoned)) => outcome,
        (_, Err(error)) => Err(internal(&error)),
        (None, Ok(())) => Err(internal(&DirectoryError::Abandoned)),
    }
}

fn internal(error: &DirectoryError) -> Failure {
    tracing::error!(%error, "cannot reach tags and attributes");
    Failure::later(INTERNAL, "the store does not answer, try again", 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_limits_at_the_byte() {
        for (good, text) in [(false, ""), (true, "x"), (false, "a\0b"), (true, &"ö".repeat(25))] {
            assert_eq!((fits(text, "it").is_ok(), is_good(text)), (good, good), "{text:?}");
        }
        let long = "x".repeat(51);
        assert_eq!(fits(&long, "it").unwrap_err().code, BAD_LENGTH);
        assert_eq!(check_tags(&[long]).unwrap_err().code, BAD_TAG);
        assert_eq!(check_tags(&[String::new()]).unwrap_err().code, BAD_TAG);
        let tags: Vec<_> = (0..11).map(|n| n.to_string()).collect();
        assert_eq!(check_tags(&tags).unwrap_err().code, TOO_MANY_TAGS);
        assert!(check_tags(&tags[..10]).is_ok());
    }
}
