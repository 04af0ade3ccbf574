//! Profiles: who may read and write which field, and what it may hold.

use nearport_wire::body;

use super::{Area, Effects, People, check_count, codes, tags};
use crate::Failure;
use crate::actor::Actor;
use crate::callback::Command;
use crate::directory::people::{FieldValue, PeopleTx};
use crate::key::{AppId, UserKey};

/// Users in one look-up.
const USERS_MAX: usize = 100;

/// Fields in one call: more than there are.
const FIELDS_MAX: usize = 64;

/// Friends that are told of a change in one go. It is a hint, and whoever has more friends has a long queue.
const FRIENDS_TOLD_MAX: u32 = 3000;

/// One user of a look-up: fields by tag, or why there are none.
pub type Profile = Result<Vec<(String, FieldValue)>, Failure>;

impl People {
    /// Sets fields of `user`: all or none.
    ///
    /// # Errors
    /// 40001, 40003, 40004, 40005, 40006, 40008, 40009, 40601, 40605, 40610.
    pub fn set_profile(
        &self,
        actor: &Actor<'_>,
        user: &UserKey,
        fields: &[(String, FieldValue)],
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        if !actor.is_admin() && !actor.is(user) {
            return Err(Failure::new(codes::PROFILE_ADMIN, "that is another user's profile"));
        }
        check_count(fields.len(), FIELDS_MAX, codes::PROFILE_BAD)?;
        let tags = self.tags(user.app());
        for (tag, value) in fields {
            tags.check_profile(actor, tag, value)?;
        }
        self.registered(user, Area::Profiles)?;
        let item = |(tag, value): &(String, FieldValue)| {
            let value = match value {
                FieldValue::Text(text) => text.as_str().into(),
                FieldValue::Number(number) => serde_json::Value::from(*number),
                FieldValue::Data(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
            };
            serde_json::json!({ "Tag": tag, "Value": value })
        };
        let told = serde_json::json!({
            "From_Account": user.name(),
            "Operator_Account": actor.name(),
            "ProfileItem": fields.iter().map(item).collect::<Vec<_>>(),
        });
        let told =
            super::Told { command: Command::PortraitSet, user: user.clone(), fields: told, origin: None };
        let (friends, pending) = self.write(Area::Profiles, |tx| {
            for (tag, value) in fields {
                tx.set_profile(user, tag, value)?;
            }
            let pending = effects.keep(tx, std::slice::from_ref(&told))?;
            Ok((tx.friends(user, 0, FRIENDS_TOLD_MAX)?, pending))
        })?;
        effects.pending.extend(pending);
        // Only what a client may read, whoever wrote it.
        let reader = Actor::User(user);
        let shown = fields.iter().filter(|(tag, _)| tags.readable(&reader, tag).is_ok());
        let fields: Vec<_> = shown.map(|(tag, value)| to_wire(tag, value)).collect();
        if !fields.is_empty() {
            let friends = friends.iter().filter_map(|(name, _)| UserKey::new(user.app(), name).ok());
            let told = std::iter::once(user.clone()).chain(friends).collect();
            let changed = body::ProfileChanged { user: user.name().to_owned(), fields };
            effects.push_all(told, body::people_event::Event::Profile(changed));
        }
        Ok(())
    }

    /// Fields that came in JSON with the types that they are declared with.
    #[must_use]
    pub fn declared(&self, app: AppId, fields: Vec<(String, FieldValue)>) -> Vec<(String, FieldValue)> {
        let tags = self.tags(app);
        let fields = fields.into_iter().map(|(tag, value)| {
            let value = tags.declared(&tag, value);
            (tag, value)
        });
        fields.collect()
    }

    /// Fields of users, in the order of `names`. Without `wanted`: all that the actor may read. What was never set is left
    /// out.
    ///
    /// # Errors
    /// 40001, 40002, 40006, 40007, 40009; 40003 for one of the users, and for the call if it is so for all of them.
    pub fn profiles(
        &self,
        actor: &Actor<'_>,
        app: AppId,
        names: &[String],
        wanted: &[String],
    ) -> Result<Vec<Profile>, Failure> {
        if names.is_empty() {
            return Err(Failure::new(codes::PROFILE_NOBODY, "nobody is named"));
        }
        check_count(names.len(), USERS_MAX, codes::PROFILE_BAD)?;
        if wanted.len() > FIELDS_MAX {
            check_count(wanted.len(), FIELDS_MAX, codes::PROFILE_BAD)?;
        }
        let tags = self.tags(app);
        for tag in wanted {
            tags.readable(actor, tag)?;
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let users = self.users(app, &names, Area::Profiles)?;
        if let Some(Err(failure)) = users.iter().find(|_| users.iter().all(Result::is_err)) {
            return Err(failure.clone());
        }
        self.read(Area::Profiles, |tx| {
            let one = |user: &Result<UserKey, Failure>| match user {
                Ok(user) => Ok(Ok(self.readable_fields(tx, actor, user, wanted)?)),
                Err(failure) => Ok(Err(failure.clone())),
            };
            users.iter().map(one).collect()
        })
    }

    /// What `actor` may read of a profile, and wants.
    pub(super) fn readable_fields(
        &self,
        tx: &mut dyn PeopleTx,
        actor: &Actor<'_>,
        user: &UserKey,
        wanted: &[String],
    ) -> Result<Vec<(String, FieldValue)>, crate::directory::DirectoryError> {
        let tags = self.tags(user.app());
        let mut fields = tx.profile(user)?;
        fields.retain(|(tag, _)| {
            (wanted.is_empty() || wanted.contains(tag)) && tags.readable(actor, tag).is_ok()
        });
        Ok(fields)
    }

    /// How `user` takes applications, and whether `user` may send any.
    pub(super) fn manners(
        &self,
        tx: &mut dyn PeopleTx,
        user: &UserKey,
    ) -> Result<Manners, crate::directory::DirectoryError> {
        let mut manners = Manners { allow: self.config(user.app()).allow_type, may_apply: true };
        for (tag, value) in tx.profile(user)? {
            match tag.as_str() {
                tags::ALLOW_TYPE => {
                    manners.allow = super::AllowType::from_value(&value).unwrap_or(manners.allow);
                }
                tags::ADMIN_FORBID_TYPE => {
                    manners.may_apply = value != FieldValue::Text(tags::FORBID_SEND_OUT.to_owned());
                }
                _ => {}
            }
        }
        Ok(manners)
    }
}

/// What a profile says about applications.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) allow: super::AllowType,
    pub(super) may_apply: bool,
}

/// A field as the wire has it.
pub(crate) fn to_wire(tag: &str, value: &FieldValue) -> body::TagValue {
    use body::tag_value::Value;
    let value = match value {
        FieldValue::Number(number) => Value::Number(*number),
        FieldValue::Text(text) => Value::Text(text.clone()),
        FieldValue::Data(data) => Value::Data(data.clone()),
    };
    body::TagValue { tag: tag.to_owned(), value: Some(value) }
}

/// Fields from the wire.
pub(crate) fn from_wire(
    fields: Vec<body::TagValue>,
    code: u32,
) -> Result<Vec<(String, FieldValue)>, Failure> {
    use body::tag_value::Value;
    let one = |body::TagValue { tag, value }| {
        let value = match value {
            Some(Value::Number(number)) => FieldValue::Number(number),
            Some(Value::Text(text)) => FieldValue::Text(text),
            Some(Value::Data(data)) => FieldValue::Data(data),
            None => return Err(Failure::new(code, "a field has no value")),
        };
        Ok((tag, value))
    };
    fields.into_iter().map(one).collect()
}
