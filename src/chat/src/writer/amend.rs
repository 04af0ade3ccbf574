//! What happens to a message after it was sent: recall, edit, and the marks of users on it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bytes::Bytes;
use nearport_wire::body::{self, Amended, Event, Message, event};
use nearport_wire::code;

use super::request::{Amend, Change, ChangeWhat, edited};
use super::{Prepared, REQUEST_ITEMS_MAX, What, Writer};
use crate::actor::Actor;
use crate::callback::Origin;
use crate::group::{Group, Rank, SharedGroup};
use crate::kept::{Audience, Kept, seal};
use crate::key::{ConvKey, ConvKind, GroupKey, UserKey};
use crate::ledger::{CursorMove, CursorName, Edit, Entry, Hide, Receipt};
use crate::posts::{AdminChange, AdminWhat};
use crate::reply::{Failure, With, no_groups, unreadable};

/// Who asks for a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) user: &'a UserKey,
    pub(super) device: &'a str,
    pub(super) origin: Origin,
}

/// Who changes a message, as it is said.
#[derive(Debug, Clone, Copy)]
struct By<'a> {
    /// To clients.
    shown: &'a str,
    /// To back ends.
    operator: &'a str,
    origin: Origin,
    /// Whether they hear of it.
    told: bool,
}

/// A recall or an edit on its way: what is to be published once it has a number.
#[derive(Debug)]
pub(super) struct Changing {
    pub(super) seq: u64,
    /// Time of the message.
    pub(super) time_ms: u64,
    /// Time of the change.
    pub(super) changed_ms: u64,
    /// What clients get.
    pub(super) message: Bytes,
    /// Nobody is told of it.
    pub(super) silent: bool,
}

/// Codes of the two kinds of conversation for the same refusals.
struct Codes {
    not_found: u32,
    too_late: u32,
    recalled: u32,
    off: u32,
}

const PAIR: Codes = Codes {
    not_found: code::NO_MESSAGE,
    too_late: code::RECALL_TOO_LATE,
    recalled: code::RECALLED,
    off: code::RECALL_TOO_LATE,
};

const GROUP: Codes = Codes {
    not_found: code::group::RECALL_NOT_FOUND,
    too_late: code::group::RECALL_TOO_LATE,
    recalled: code::group::RECALL_IMPOSSIBLE,
    off: code::group::RECALL_OFF,
};

impl Writer {
    pub(super) fn amend(
        &self,
        asker: Asker<'_>,
        amend: Amend,
        group: Option<SharedGroup>,
        now_ms: u64,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let Asker { user, device, .. } = asker;
        let items = match &amend {
            Amend::Hide { seqs, .. } | Amend::Receipts { seqs, .. } => seqs.len(),
            Amend::Shown(groups) => groups.len(),
            Amend::Change(_) | Amend::Clear { .. } => 1,
        };
        if prepared.requested() + prepared.to_come + items > REQUEST_ITEMS_MAX {
            return Err(Failure::later(code::TOO_MANY_REQUESTS, "too much at once", 100));
        }
        let group = group.as_ref().map(|group| group.read().unwrap_or_else(PoisonError::into_inner));
        match amend {
            Amend::Change(change) => self.change(asker, change, group.as_deref(), now_ms, prepared),
            Amend::Hide { with, seqs } => self.hide(user, &with, seqs, group.as_deref(), prepared),
            Amend::Clear { with, seq } => self.clear(user, &with, seq, prepared),
            Amend::Receipts { with, seqs } => self.receipts(user, &with, seqs, group.as_deref(), prepared),
            Amend::Shown(groups) => self.shown(user, device, groups, prepared),
        }
    }

    fn change(
        &self,
        asker: Asker<'_>,
        change: Change,
        group: Option<&Group>,
        now_ms: u64,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let Change { with, seq, what } = change;
        let user = asker.user;
        let codes = if group.is_some() { &GROUP } else { &PAIR };
        let conv = with.conv(user);
        let not_found = || Failure::new(codes.not_found, "there is no such message of yours");
        let (entry, kept) = self.message(&conv, seq, prepared)?.ok_or_else(not_found)?;
        let floor = floor(group, &with, user);
        if !kept.is_for(user) || seq <= floor || with == With::Notices {
            return Err(not_found());
        }
        let recall = matches!(what, ChangeWhat::Recall { .. });
        let settings = self.shared.settings(user.app());
        let (window_s, off) = match recall {
            true => (settings.config.recall_window_s, "messages are not recalled in this app"),
            false => (settings.config.edit_window_s, "messages are not edited in this app"),
        };
        if let Some(group) = group.filter(|_| recall && !kept.is_from(user)) {
            above(group, user, &kept)?;
        }
        // Who may not take it back for another reason is not told of the window.
        let own = kept.is_from(user);
        if !own && (group.is_none() || !recall) {
            let denied = Failure::new(code::group::NO_PERMISSION, "only the sender edits a message");
            return Err(if group.is_some() { denied } else { not_found() });
        }
        if kept.head.recalled.is_some() {
            return Err(Failure::new(codes.recalled, "the message was recalled before"));
        }
        if window_s == 0 {
            return Err(Failure::new(codes.off, off));
        }
        if now_ms > entry.time_ms.saturating_add(u64::from(window_s) * 1000) {
            return Err(Failure::new(codes.too_late, format!("it is more than {window_s} s old")));
        }
        let by = By { shown: user.name(), operator: user.name(), origin: asker.origin, told: true };
        let changing = self.put_change(conv, &entry, &kept, by, what, prepared)?;
        Ok(What::Change(changing))
    }

    /// What an administrator changes: any message, at any time.
    pub(super) fn admin_change(&self, change: AdminChange, prepared: &mut Prepared) {
        let AdminChange { conv, seq, what, by, done } = change;
        let codes = if conv.is_group() { &GROUP } else { &PAIR };
        let silent = matches!(what, AdminWhat::RecallSilently);
        let what = match what {
            AdminWhat::Recall { reason } => ChangeWhat::Recall { reason },
            AdminWhat::RecallSilently => ChangeWhat::Recall { reason: String::new() },
            AdminWhat::Edit { elements, cloud_custom_data } => {
                ChangeWhat::Edit { elements, cloud_custom_data }
            }
        };
        let changing = self.message(&conv, seq, prepared).and_then(|found| {
            let (entry, kept) =
                found.ok_or_else(|| Failure::new(codes.not_found, "there is no such message"))?;
            if kept.head.recalled.is_some() {
                return Err(Failure::new(codes.recalled, "the message was recalled before"));
            }
            // Clients are not told who it was.
            let by = By { shown: "", operator: &by.admin, origin: by.origin(), told: !silent };
            self.put_change(conv, &entry, &kept, by, what, prepared)
        });
        match changing {
            Ok(changing) => prepared.changes.push((Changing { silent, ..changing }, done)),
            Err(failure) => done(Err(failure.code)),
        }
    }

    /// Puts the edit into the batch.
    fn put_change(
        &self,
        conv: ConvKey,
        entry: &Entry,
        kept: &Kept,
        by: By<'_>,
        what: ChangeWhat,
        prepared: &mut Prepared,
    ) -> Result<Changing, Failure> {
        let damaged = |error| {
            tracing::error!(%error, "a stored message cannot be read");
            Failure::new(code::INTERNAL, "the message cannot be read")
        };
        let old = kept.decode().map_err(damaged)?;
        if server_made(&old) {
            return Err(Failure::new(code::group::RECALL_IMPOSSIBLE, "what the system says is not changed"));
        }
        if by.told && matches!(what, ChangeWhat::Recall { .. }) {
            let place = (entry.seq, entry.time_ms);
            self.tell_recalled(&conv, place, &old, (by.operator, by.origin), prepared);
        }
        let (by, changed_ms) = (by.shown.to_owned(), self.last_time_ms);
        let uncounted = matches!(what, ChangeWhat::Recall { .. });
        let message = match what {
            ChangeWhat::Recall { reason } => Message {
                content: None,
                recalled: Some(body::Recalled { by, time_ms: changed_ms, reason }),
                changed: None,
                ..old
            },
            ChangeWhat::Edit { elements, cloud_custom_data } => Message {
                content: Some(edited(old.content.unwrap_or_default(), elements, cloud_custom_data)?),
                changed: Some(body::Changed { by, time_ms: changed_ms }),
                ..old
            },
        };
        let sealed = seal(&message, kept.audience);
        let logs = logs(&conv, kept);
        let changing = Changing {
            seq: entry.seq,
            time_ms: entry.time_ms,
            changed_ms,
            message: Kept::open(&sealed).message,
            silent: false,
        };
        prepared.changed.insert((conv.clone(), entry.seq), sealed.clone());
        prepared.batch.edits.push(Edit { conv, seq: entry.seq, body: sealed, logs, uncounted });
        Ok(changing)
    }

    /// A message as it stands after what the batch has so far.
    fn message(
        &self,
        conv: &ConvKey,
        seq: u64,
        prepared: &Prepared,
    ) -> Result<Option<(Entry, Kept)>, Failure> {
        let entry = self.shared.ledger.entry(conv, seq).map_err(|error| unreadable(&error))?;
        let changed = match prepared.changed.is_empty() {
            true => None,
            false => prepared.changed.get(&(conv.clone(), seq)),
        };
        Ok(entry.map(|entry| {
            let kept = Kept::open(changed.unwrap_or(&entry.body));
            (entry, kept)
        }))
    }

    pub(super) fn hide(
        &self,
        user: &UserKey,
        with: &With,
        seqs: Vec<u64>,
        group: Option<&Group>,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let conv = with.conv(user);
        let floor = floor(group, with, user);
        let head = self.shared.ledger.head(&conv).map_err(|error| unreadable(&error))?;
        let (seqs, invalid): (Vec<_>, Vec<_>) =
            seqs.into_iter().partition(|seq| (floor + 1..=head).contains(seq));
        if group.is_some() && seqs.is_empty() {
            return Err(Failure::new(code::group::NOTHING_TO_DELETE, "there are no such messages"));
        }
        let hide = |seq: &u64| Hide { user: user.clone(), conv: conv.clone(), seq: *seq };
        prepared.batch.hides.extend(seqs.iter().map(hide));
        let hidden = body::Hidden { with: Some(with.target()), seqs };
        Ok(marked(Amended { invalid, ..Amended::default() }, user, event::Event::Hidden(hidden)))
    }

    pub(super) fn clear(
        &self,
        user: &UserKey,
        with: &With,
        seq: u64,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let conv = with.conv(user);
        let head = self.shared.ledger.head(&conv).map_err(|error| unreadable(&error))?;
        let seq = if seq == 0 { head } else { seq.min(head) };
        if seq > 0 {
            let name = CursorName::Cleared(conv);
            prepared.batch.cursors.push(CursorMove { user: user.clone(), name, position: seq, append: None });
        }
        let cleared = body::Cleared { with: Some(with.target()), seq };
        Ok(marked(Amended { seq, ..Amended::default() }, user, event::Event::Cleared(cleared)))
    }

    pub(super) fn receipts(
        &self,
        user: &UserKey,
        with: &With,
        seqs: Vec<u64>,
        group: Option<&Group>,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        if group.is_some_and(|group| !group.kind().receipts) {
            let info = "messages of this type of group have no receipts";
            return Err(Failure::new(code::group::NO_PERMISSION, info));
        }
        let conv = with.conv(user);
        let floor = floor(group, with, user);
        let (mut invalid, mut senders) = (Vec::new(), BTreeMap::<UserKey, Vec<u64>>::new());
        for seq in seqs {
            let found = self.message(&conv, seq, prepared)?.map(|(_, kept)| kept);
            let needs = |kept: &Kept| {
                seq > floor && kept.head.need_receipt && kept.is_for(user) && !kept.is_from(user)
            };
            let sender = found
                .filter(needs)
                .and_then(|kept| UserKey::new(user.app(), std::str::from_utf8(&kept.head.from).ok()?).ok());
            let Some(sender) = sender else {
                invalid.push(seq);
                continue;
            };
            prepared.batch.receipts.push(Receipt { conv: conv.clone(), seq, user: user.clone() });
            senders.entry(sender).or_default().push(seq);
        }
        let with = match with {
            With::User(_) => With::User(user.clone()),
            with => with.clone(),
        };
        let events = senders.into_iter().map(|(sender, seqs)| {
            let receipted = body::Receipted { with: Some(with.target()), user: user.name().to_owned(), seqs };
            (sender, Event { event: Some(event::Event::Receipted(receipted)) })
        });
        let amended = Amended { invalid, ..Amended::default() };
        Ok(What::Amended { amended, events: events.collect() })
    }

    fn shown(
        &self,
        user: &UserKey,
        device: &str,
        groups: Vec<(GroupKey, u64)>,
        prepared: &mut Prepared,
    ) -> Result<What, Failure> {
        let keys: Vec<_> = groups.iter().map(|(key, _)| key.clone()).collect();
        let found = self.shared.groups.find_homes(&keys).map_err(|error| no_groups(&error))?;
        let convs: Vec<_> = keys.iter().map(GroupKey::conv).collect();
        let heads = self.shared.ledger.heads(&convs).map_err(|error| unreadable(&error))?;
        for (((_, seq), conv), (group, heads)) in groups.into_iter().zip(convs).zip(found.iter().zip(heads)) {
            // Of a group that the user has left meanwhile nothing is kept.
            let is_member = |group: &SharedGroup| {
                group.read().unwrap_or_else(PoisonError::into_inner).member(user).is_some()
            };
            // Of one that has no message yet it is kept that the device has been there: what comes is news for it.
            if !group.as_ref().is_some_and(is_member) {
                continue;
            }
            if seq > heads.seq {
                self.shared.metrics.cursors_clamped.increment(1);
            }
            let name = CursorName::Shown(device.into(), conv);
            let position = seq.min(heads.seq);
            prepared.batch.cursors.push(CursorMove { user: user.clone(), name, position, append: None });
        }
        Ok(What::Amended { amended: Amended::default(), events: Vec::new() })
    }
}

/// A mark of a user that the user's other devices hear of.
fn marked(amended: Amended, user: &UserKey, event: event::Event) -> What {
    What::Amended { amended, events: vec![(user.clone(), Event { event: Some(event) })] }
}

/// Messages of a conversation up to this seq are not for `user`.
fn floor(group: Option<&Group>, with: &With, user: &UserKey) -> u64 {
    let (Some(group), With::Group(at)) = (group, with) else { return 0 };
    group.history_after(at, user).unwrap_or_default()
}

/// Whether the system made it: a tip, a notice.
fn server_made(message: &Message) -> bool {
    use body::element::Element as Kind;
    let elements = message.content.iter().flat_map(|content| &content.elements);
    elements.into_iter().any(|element| matches!(element.element, Some(Kind::Tip(_) | Kind::Notice(_))))
}

/// Refuses to take back another member's message to all who do not stand above them.
fn above(group: &Group, user: &UserKey, kept: &Kept) -> Result<(), Failure> {
    let rank = group.rank(Actor::User(user), false);
    let sender =
        std::str::from_utf8(&kept.head.from).ok().and_then(|name| UserKey::new(user.app(), name).ok());
    let sender = sender.map_or(Rank::Anyone, |sender| group.rank(Actor::User(&sender), false));
    if rank >= Rank::Admin && rank > sender {
        Ok(())
    } else {
        Err(Failure::new(
            code::group::NO_PERMISSION,
            "only the sender, and who stands above them, recalls it",
        ))
    }
}

/// The logs whose devices are to hear of a change: those that had the message.
fn logs(conv: &ConvKey, kept: &Kept) -> Vec<UserKey> {
    match conv.kind() {
        // What is pushed stands as it is: nobody can name it.
        ConvKind::Group(_) | ConvKind::Pushes(_) => Vec::new(),
        ConvKind::Notices(user) => vec![user],
        ConvKind::Pair(small, large) => {
            let mut both = vec![small];
            if large != both[0] {
                both.push(large);
            }
            both.retain(|user| kept.audience == Audience::All || kept.is_for(user));
            both
        }
    }
}
