//! Attributes and counters: free keys and values that an App keeps at a group.

use std::collections::BTreeMap;

use nearport_wire::body::{
    GroupAttribute, GroupAttributes, GroupAttributesWrite, GroupCounter, GroupCountersWrite,
    group_attributes_write, group_counters_write, group_event,
};
use nearport_wire::code::group as code;

use super::effects::Effects;
use super::record::{Change, GroupInfo};
use super::state::{Ctx, Group, bad, denied};
use super::types::Rank;
use crate::actor::Actor;
use crate::reply::Failure;

/// Limits of the public contract.
const ATTRIBUTE_KEY_BYTES_MAX: usize = 32;
const ATTRIBUTE_VALUE_BYTES_MAX: usize = 4000;
const ATTRIBUTE_KEYS_MAX: usize = 16;
const ATTRIBUTE_BYTES_MAX: usize = 16_000;
const ATTRIBUTE_WRITES_PER_S: u32 = 5;
const COUNTER_KEYS_MAX: usize = 20;
const COUNTER_KEY_BYTES_MAX: usize = 128;

impl Group {
    /// Who writes attributes and counters: every member, for a voice room's seats are taken by those who sit down.
    fn may_use(
        &self,
        actor: Actor<'_>,
        present: bool,
        offered: bool,
        what: &'static str,
    ) -> Result<(), Failure> {
        self.visible(actor)?;
        if !offered {
            return Err(denied(what));
        }
        if self.rank(actor, present) == Rank::Anyone {
            return Err(denied("only members see and write these"));
        }
        Ok(())
    }

    fn may_use_attributes(&self, actor: Actor<'_>, present: bool) -> Result<(), Failure> {
        self.may_use(actor, present, self.kind.attributes, "groups of this type have no attributes")
    }

    fn may_use_counters(&self, actor: Actor<'_>, present: bool) -> Result<(), Failure> {
        self.may_use(actor, present, self.kind.counters, "groups of this type have no counters")
    }

    /// Attributes of these keys; of none: all.
    pub(crate) fn attributes(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        keys: &[String],
    ) -> Result<GroupAttributes, Failure> {
        self.may_use_attributes(actor, ctx.present)?;
        let wanted = self.record.attributes.iter().filter(|(key, _)| keys.is_empty() || keys.contains(key));
        let item =
            |(key, value): (&String, &String)| GroupAttribute { key: key.clone(), value: value.clone() };
        Ok(GroupAttributes { items: wanted.map(item).collect(), version: self.info().attributes_version })
    }

    /// Writes attributes and gives all that there are then.
    pub(crate) fn write_attributes(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &GroupAttributesWrite,
        fx: &mut Effects,
    ) -> Result<GroupAttributes, Failure> {
        use group_attributes_write::How;
        self.may_use_attributes(actor, ctx.present)?;
        let refuse = |code: u32, info: &'static str| Err(Failure::new(code, info));
        if asked.version.is_some_and(|version| version != self.info().attributes_version) {
            return refuse(
                code::ATTRIBUTE_CONFLICT,
                "the attributes have changed meanwhile: fetch them and try again",
            );
        }
        let (second, writes) = self.attribute_writes;
        if second == ctx.now_s() && writes >= ATTRIBUTE_WRITES_PER_S {
            let info = "attributes of a group are written at most 5 times in a second";
            return Err(Failure::later(code::ATTRIBUTE_RATE, info, 1000));
        }
        let mut values = match asked.how() {
            How::Replace | How::Clear => BTreeMap::new(),
            How::Merge | How::Delete => self.record.attributes.clone(),
        };
        match asked.how() {
            How::Merge | How::Replace => {
                for GroupAttribute { key, value } in &asked.items {
                    if key.len() > ATTRIBUTE_KEY_BYTES_MAX || key.is_empty() {
                        return refuse(code::ATTRIBUTE_KEY, "keys of attributes have 1 to 32 bytes");
                    }
                    if value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
                        return refuse(code::ATTRIBUTE_VALUE, "values of attributes have at most 4000 bytes");
                    }
                    if key.contains('\0') || value.contains('\0') {
                        return Err(bad("attributes are text, which holds no zero byte"));
                    }
                    values.insert(key.clone(), value.clone());
                }
            }
            How::Delete => {
                for GroupAttribute { key, .. } in &asked.items {
                    if values.remove(key).is_none() {
                        return refuse(code::ATTRIBUTE_MISSING, "there is no attribute of this key");
                    }
                }
            }
            How::Clear => {}
        }
        if values.len() > ATTRIBUTE_KEYS_MAX {
            return refuse(code::ATTRIBUTE_KEYS, "a group has at most 16 attributes");
        }
        if values.values().map(String::len).sum::<usize>() > ATTRIBUTE_BYTES_MAX {
            return refuse(code::ATTRIBUTE_TOTAL, "attributes of a group have at most 16000 bytes");
        }
        let before = &self.record.attributes;
        let gone = before.keys().filter(|key| !values.contains_key(*key));
        fx.changes.extend(gone.map(|key| Change::RemoveAttribute(key.clone())));
        let new = values.iter().filter(|(key, value)| before.get(*key) != Some(value));
        fx.changes.extend(new.map(|(key, value)| Change::PutAttribute(key.clone(), value.clone())));
        let version = self.info().attributes_version + 1;
        // Not a change of the profile: its number stays.
        let info = GroupInfo { attributes_version: version, ..self.record.info.clone() };
        fx.changes.push(Change::Info(Box::new(info)));
        fx.event = Some(group_event::What::Attributes);
        let items = values.into_iter().map(|(key, value)| GroupAttribute { key, value }).collect();
        Ok(GroupAttributes { items, version })
    }

    /// Counters of these keys; of none: all.
    pub(crate) fn counters(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        keys: &[String],
    ) -> Result<Vec<GroupCounter>, Failure> {
        self.may_use_counters(actor, ctx.present)?;
        let wanted = self.record.counters.iter().filter(|(key, _)| keys.is_empty() || keys.contains(key));
        Ok(wanted.map(|(key, value)| GroupCounter { key: key.clone(), value: *value }).collect())
    }

    /// Writes counters and gives those that were written. A sum beyond 64 bits stays at the end.
    pub(crate) fn write_counters(
        &self,
        ctx: &Ctx<'_>,
        actor: Actor<'_>,
        asked: &GroupCountersWrite,
        fx: &mut Effects,
    ) -> Result<Vec<GroupCounter>, Failure> {
        use group_counters_write::How;
        self.may_use_counters(actor, ctx.present)?;
        let mut values = self.record.counters.clone();
        if asked.how() == How::Delete {
            let keys: Vec<_> = match asked.items.is_empty() {
                true => values.keys().cloned().collect(),
                false => asked.items.iter().map(|item| item.key.clone()).collect(),
            };
            let known = keys.into_iter().filter(|key| self.record.counters.contains_key(key));
            fx.changes.extend(known.map(Change::RemoveCounter));
        } else if asked.items.is_empty() {
            return Err(bad("no counter is named"));
        }
        let mut written = BTreeMap::new();
        for GroupCounter { key, value } in asked.items.iter().filter(|_| asked.how() != How::Delete) {
            if !(1..=COUNTER_KEY_BYTES_MAX).contains(&key.len()) || key.contains('\0') {
                return Err(bad("keys of counters have 1 to 128 bytes"));
            }
            let old = values.get(key).copied().unwrap_or_default();
            let new = match asked.how() {
                How::Increase => old.saturating_add(*value),
                How::Decrease => old.saturating_sub(*value),
                How::Set | How::Delete => *value,
            };
            values.insert(key.clone(), new);
            written.insert(key.clone(), new);
        }
        if values.len() > COUNTER_KEYS_MAX {
            return Err(Failure::new(code::COUNTER_KEYS, "a group has at most 20 counters"));
        }
        fx.changes.extend(written.iter().map(|(key, value)| Change::PutCounter(key.clone(), *value)));
        if !fx.changes.is_empty() {
            fx.event = Some(group_event::What::Counters);
        }
        Ok(written.into_iter().map(|(key, value)| GroupCounter { key, value }).collect())
    }
}
