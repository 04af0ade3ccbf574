//! What users set for their conversations: pins, marks, do-not-disturb, drafts, groups, and which are off the list.
//!
//! The list itself is not kept: it follows from the conversations that the ledger knows, their heads and the user's read
//! cursors, and from these settings ([`Settings::list`], [`Settings::page`]).

mod list;

use std::collections::{BTreeMap, BTreeSet};

use nearport_wire::body::{self, people_event};

use super::{Area, Effects, People, Stop, codes};
use crate::Failure;
use crate::directory::conversations::{ConversationRow, Peer};
use crate::directory::people::PeopleTx;
use crate::key::{AppId, UserKey};

pub use list::{Known, Page, Settings, Wanted};

/// Most conversations in one change.
const CHANGED_MAX: usize = 100;

/// Most conversations that are muted or have drafts: more than a list may have. All settings are read for each change.
const MUTED_OR_DRAFTED_MAX: usize = 4000;

/// Longest draft, bytes.
const DRAFT_BYTES_MAX: usize = 2048;

/// Longest name of a conversation group, bytes.
const GROUP_NAME_BYTES_MAX: usize = 32;

/// Longest custom mark, bytes.
const CUSTOM_MARK_BYTES_MAX: usize = 256;

/// Marks of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactMark {
    /// With whom.
    pub with: Peer,
    /// Bits that are set.
    pub set: u64,
    /// Bits that are cleared.
    pub clear: u64,
    /// Instead of what the App said of it; `None`: that stays.
    pub custom: Option<String>,
}

pub(crate) fn to_target(peer: &Peer) -> body::Target {
    use body::target::Target;
    let target = match peer {
        Peer::User(name) => Target::User(name.clone()),
        Peer::Group(id) => Target::Group(id.clone()),
    };
    body::Target { target: Some(target) }
}

/// A user or group that can exist. Whether it does is not looked at: what is set for nobody shows nowhere.
pub(crate) fn to_peer(user: &UserKey, target: body::Target) -> Result<Peer, Failure> {
    use body::target::Target;
    match target.target {
        Some(Target::User(name)) => match UserKey::new(user.app(), &name) {
            Ok(_) => Ok(Peer::User(name)),
            Err(error) => Err(Failure::new(codes::CONVERSATION_BAD, format!("the other user: {error}"))),
        },
        Some(Target::Group(id)) => match crate::key::ConvKey::group(user.app(), &id) {
            Ok(_) => Ok(Peer::Group(id)),
            Err(error) => Err(Failure::new(codes::CONVERSATION_NO_GROUP, format!("the group: {error}"))),
        },
        Some(Target::Notices(_)) | None => Err(Failure::new(
            codes::CONVERSATION_BAD,
            "the conversation is neither with a user nor with a group",
        )),
    }
}

/// The conversations of a change.
pub(crate) fn to_peers(user: &UserKey, targets: Vec<body::Target>) -> Result<Vec<Peer>, Failure> {
    if targets.is_empty() || targets.len() > CHANGED_MAX {
        let info = format!("{} conversations: 1 to {CHANGED_MAX} in one change", targets.len());
        return Err(Failure::new(codes::CONVERSATION_COUNT, info));
    }
    targets.into_iter().map(|target| to_peer(user, target)).collect()
}

impl People {
    /// All that `user` has set for conversations.
    ///
    /// # Errors
    /// 50004.
    pub fn conversation_settings(&self, user: &UserKey) -> Result<Settings, Failure> {
        self.read(Area::Conversations, |tx| Ok(settings(tx, user)?))
    }

    /// One transaction over settings, if it changes anything.
    fn set(
        &self,
        user: &UserKey,
        with: &[Peer],
        effects: &mut Effects,
        mut work: impl FnMut(&mut dyn PeopleTx, &mut Settings) -> Result<(), Stop>,
    ) -> Result<(), Failure> {
        let sequence = self.write(Area::Conversations, |tx| {
            let sequence = tx.next_conversation_seq(user)?;
            let mut settings = settings(tx, user)?;
            work(tx, &mut settings)?;
            Ok(sequence)
        })?;
        let with = with.iter().map(to_target).collect();
        let changed = body::ConversationChanged { sequence, with };
        effects.push(user.clone(), people_event::Event::Conversation(changed));
        Ok(())
    }

    /// Changes the settings of each of `with`, and keeps to the limits.
    fn set_each(
        &self,
        user: &UserKey,
        with: &[Peer],
        effects: &mut Effects,
        change: impl Fn(&mut ConversationRow),
    ) -> Result<(), Failure> {
        self.set(user, with, effects, |tx, settings| {
            for peer in with {
                let row = settings.rows.entry(peer.clone()).or_default();
                change(row);
                tx.put_conversation(user, peer, row)?;
            }
            self.check_limits(user.app(), settings)
        })
    }

    fn check_limits(&self, app: AppId, settings: &Settings) -> Result<(), Stop> {
        let limits = self.config(app);
        let pins = settings.rows.values().filter(|row| row.pinned_ms > 0).count();
        if pins > limits.pins_max as usize {
            let info = format!("at most {} pinned conversations", limits.pins_max);
            return Err(Failure::new(codes::CONVERSATION_PINS_FULL, info).into());
        }
        let marked = settings.rows.iter().filter(|(_, row)| row.marks != 0 || !row.custom_mark.is_empty());
        let marked = marked.map(|(peer, _)| peer);
        let marked: BTreeSet<&Peer> = marked.chain(settings.members.keys()).collect();
        if marked.len() > limits.marked_max as usize {
            let info = format!("at most {} conversations with marks or groups", limits.marked_max);
            return Err(Failure::new(codes::CONVERSATION_MARKED_FULL, info).into());
        }
        let more = settings.rows.values().filter(|row| row.quiet || !row.draft.is_empty()).count();
        if more > MUTED_OR_DRAFTED_MAX {
            let info = format!("at most {MUTED_OR_DRAFTED_MAX} conversations that are muted or have drafts");
            return Err(Failure::new(codes::CONVERSATION_MARKED_FULL, info).into());
        }
        Ok(())
    }

    /// Pins conversations, or lets them go. A pin keeps its first time.
    ///
    /// # Errors
    /// 50004, 51012.
    pub fn pin_conversations(
        &self,
        user: &UserKey,
        with: &[Peer],
        pinned: bool,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        self.set_each(user, with, effects, |row| match (pinned, row.pinned_ms) {
            (true, 0) => row.pinned_ms = now_ms.max(1),
            (true, _) => {}
            (false, _) => row.pinned_ms = 0,
        })
    }

    /// Sets and clears marks.
    ///
    /// # Errors
    /// 50002 (a mark of bit 63, or one that is set and cleared), 50004, 51008.
    pub fn mark_conversations(
        &self,
        user: &UserKey,
        with: &[Peer],
        (set, clear): (u64, u64),
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        if set & clear != 0 || (set | clear) >> 63 != 0 {
            let info = "a mark is set and cleared at once, or is that of bit 63";
            return Err(Failure::new(codes::CONVERSATION_BAD, info));
        }
        self.set_each(user, with, effects, |row| row.marks = row.marks & !clear | set)
    }

    /// Sets and clears marks, for each conversation its own, and what the App says of them, in one change.
    ///
    /// # Errors
    /// 50002 (a mark of bit 63, one that is set and cleared, or a custom one of more than 256 bytes), 50004, 51008.
    pub fn mark_each_conversation(
        &self,
        user: &UserKey,
        marks: &[ContactMark],
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        for ContactMark { set, clear, custom, .. } in marks {
            let custom = custom.as_deref().unwrap_or_default();
            if set & clear != 0 || (set | clear) >> 63 != 0 {
                let info = "a mark is set and cleared at once, or is that of bit 63";
                return Err(Failure::new(codes::CONVERSATION_BAD, info));
            }
            if custom.len() > CUSTOM_MARK_BYTES_MAX || custom.contains('\0') {
                let info = "a custom mark has at most 256 bytes, none of them zero";
                return Err(Failure::new(codes::CONVERSATION_BAD, info));
            }
        }
        let with: Vec<_> = marks.iter().map(|mark| mark.with.clone()).collect();
        self.set(user, &with, effects, |tx, settings| {
            for ContactMark { with, set, clear, custom } in marks {
                let row = settings.rows.entry(with.clone()).or_default();
                row.marks = row.marks & !clear | set;
                if let Some(custom) = custom {
                    custom.clone_into(&mut row.custom_mark);
                }
                tx.put_conversation(user, with, row)?;
            }
            self.check_limits(user.app(), settings)
        })
    }

    /// Do not disturb, for users. Groups have it as a field of the member.
    ///
    /// # Errors
    /// 50002 for a group, 50004, 51008.
    pub fn mute_conversations(
        &self,
        user: &UserKey,
        with: &[Peer],
        quiet: bool,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        if with.iter().any(|peer| matches!(peer, Peer::Group(_))) {
            let info = "for a group set the member's MsgFlag";
            return Err(Failure::new(codes::CONVERSATION_BAD, info));
        }
        self.set_each(user, with, effects, |row| row.quiet = quiet)
    }

    /// Keeps what is typed and not sent.
    ///
    /// # Errors
    /// 50002 for more than 2048 bytes, 50004, 51008.
    pub fn set_draft(
        &self,
        user: &UserKey,
        with: &Peer,
        text: &str,
        now_ms: u64,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        if text.len() > DRAFT_BYTES_MAX || text.contains('\0') {
            let info = format!("a draft has at most {DRAFT_BYTES_MAX} bytes, none of them zero");
            return Err(Failure::new(codes::CONVERSATION_BAD, info));
        }
        self.set_each(user, std::slice::from_ref(with), effects, |row| {
            text.clone_into(&mut row.draft);
            row.draft_ms = if text.is_empty() { 0 } else { now_ms };
        })
    }

    /// Takes conversations off the list until they have a message beyond the given seq, with all settings.
    ///
    /// # Errors
    /// 50004.
    pub fn delete_conversations(
        &self,
        user: &UserKey,
        heads: &[(Peer, u64)],
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        let with: Vec<_> = heads.iter().map(|(peer, _)| peer.clone()).collect();
        self.set(user, &with, effects, |tx, settings| {
            for (peer, head) in heads {
                let row = ConversationRow { hidden_seq: *head, ..ConversationRow::default() };
                tx.put_conversation(user, peer, &row)?;
                for group in settings.members.remove(peer).unwrap_or_default() {
                    tx.set_conversation_group_member(user, &group, peer, false)?;
                }
            }
            Ok(())
        })
    }

    /// Makes a conversation group with these in it.
    ///
    /// # Errors
    /// 50002 (no name, or there is one of it), 50004, 51008, 51010, 51011.
    pub fn create_conversation_group(
        &self,
        user: &UserKey,
        name: &str,
        with: &[Peer],
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        check_group_name(name)?;
        let max = self.config(user.app()).conversation_groups_max;
        self.set(user, with, effects, |tx, settings| {
            if !tx.add_conversation_group(user, name)? {
                return Err(Failure::new(codes::CONVERSATION_BAD, "there is a group of that name").into());
            }
            if settings.groups.len() >= max as usize {
                let info = format!("at most {max} conversation groups");
                return Err(Failure::new(codes::CONVERSATION_GROUPS_FULL, info).into());
            }
            for peer in with {
                tx.set_conversation_group_member(user, name, peer, true)?;
                settings.members.entry(peer.clone()).or_default();
            }
            self.check_limits(user.app(), settings)
        })
    }

    /// Takes a conversation group away. Its conversations stay.
    ///
    /// # Errors
    /// 50004, 51009.
    pub fn delete_conversation_group(
        &self,
        user: &UserKey,
        name: &str,
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        self.set(user, &[], effects, |tx, _| match tx.delete_conversation_group(user, name)? {
            true => Ok(()),
            false => Err(no_group()),
        })
    }

    /// Gives a conversation group another name.
    ///
    /// # Errors
    /// 50002 (there is one of that name), 50004, 51009, 51011.
    pub fn rename_conversation_group(
        &self,
        user: &UserKey,
        (name, new_name): (&str, &str),
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        check_group_name(new_name)?;
        self.set(user, &[], effects, |tx, settings| {
            if !tx.delete_conversation_group(user, name)? {
                return Err(no_group());
            }
            if !tx.add_conversation_group(user, new_name)? {
                return Err(Failure::new(codes::CONVERSATION_BAD, "there is a group of the new name").into());
            }
            for (peer, groups) in &settings.members {
                if groups.iter().any(|group| group == name) {
                    tx.set_conversation_group_member(user, new_name, peer, true)?;
                }
            }
            Ok(())
        })
    }

    /// Puts conversations into a group, or takes them out.
    ///
    /// # Errors
    /// 50004, 51008, 51009.
    pub fn set_conversation_group_members(
        &self,
        user: &UserKey,
        name: &str,
        (add, remove): (&[Peer], &[Peer]),
        effects: &mut Effects,
    ) -> Result<(), Failure> {
        let with: Vec<_> = add.iter().chain(remove).cloned().collect();
        self.set(user, &with, effects, |tx, settings| {
            if !settings.groups.iter().any(|group| group == name) {
                return Err(no_group());
            }
            for peer in remove {
                tx.set_conversation_group_member(user, name, peer, false)?;
                let left = settings.members.get_mut(peer).is_none_or(|groups| {
                    groups.retain(|group| group != name);
                    groups.is_empty()
                });
                if left {
                    settings.members.remove(peer);
                }
            }
            for peer in add {
                tx.set_conversation_group_member(user, name, peer, true)?;
                settings.members.entry(peer.clone()).or_default();
            }
            self.check_limits(user.app(), settings)
        })
    }
}

fn settings(tx: &mut dyn PeopleTx, user: &UserKey) -> Result<Settings, crate::directory::DirectoryError> {
    let mut members: BTreeMap<Peer, Vec<String>> = BTreeMap::new();
    for (group, peer) in tx.conversation_group_members(user)? {
        members.entry(peer).or_default().push(group);
    }
    Ok(Settings {
        sequence: tx.conversation_seq(user)?,
        rows: tx.conversations(user)?.into_iter().collect(),
        groups: tx.conversation_groups(user)?,
        members,
    })
}

fn check_group_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.contains('\0') {
        return Err(Failure::new(codes::CONVERSATION_BAD, "a conversation group needs a name"));
    }
    if name.len() > GROUP_NAME_BYTES_MAX {
        let info = format!("the name has {} bytes: at most {GROUP_NAME_BYTES_MAX}", name.len());
        return Err(Failure::new(codes::CONVERSATION_GROUP_NAME, info));
    }
    Ok(())
}

fn no_group() -> Stop {
    Failure::new(codes::CONVERSATION_GROUP_MISSING, "there is no conversation group of that name").into()
}
