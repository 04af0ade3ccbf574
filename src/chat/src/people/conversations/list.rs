//! The list of a user's conversations, from what the ledger knows and what the user has set.

use std::collections::BTreeMap;

use nearport_wire::body;

use super::to_target;
use crate::directory::conversations::{ConversationRow, Peer};

/// All that a user has set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Grows with every change.
    pub sequence: u64,
    /// Conversations with settings of their own.
    pub rows: BTreeMap<Peer, ConversationRow>,
    /// Names of the conversation groups, in order.
    pub groups: Vec<String>,
    /// In which groups a conversation is.
    pub members: BTreeMap<Peer, Vec<String>>,
}

/// A conversation as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The other side.
    pub peer: Peer,
    /// Newest seq.
    pub head: u64,
    /// How far the user has read.
    pub read: u64,
    /// Only what lies above is still there.
    pub floor: u64,
    /// Newest seq of what shows here: not what the user does not get, nor what was sent so as not to show here.
    pub shown: u64,
    /// When that was sent, milliseconds.
    pub time_ms: u64,
    /// What was not read is counted: not so for group types whose messages are gone when nobody is there.
    pub counts: bool,
    /// Messages that were not read and count.
    pub unread: u64,
    /// Some of them that mean the user by "@", newest first.
    pub mentions: Vec<body::Mention>,
    /// Do not disturb, where it is not a setting of this list: groups.
    pub quiet: bool,
}

/// Which part of the list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Order key of the last one that the asker has; empty: from the top.
    pub after: String,
    /// Most conversations.
    pub limit: usize,
    /// Only of this conversation group; empty: all.
    pub group: String,
    /// Only with one of these marks; 0: all.
    pub marks: u64,
}

/// A page of the list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// With their order keys, largest first.
    pub conversations: Vec<(String, Known)>,
    /// There is nothing behind it.
    pub complete: bool,
    /// What was not read in all conversations that are not muted.
    pub unread: u64,
}

impl Settings {
    fn quiet(&self, known: &Known) -> bool {
        known.quiet || self.rows.get(&known.peer).is_some_and(|row| row.quiet)
    }

    /// Sorts the list: pinned ones first, then by the time of the last message, and by name where that is equal. It changes with every
    /// message, so a page begins at a key that may have moved meanwhile: what moved up is seen by its event.
    #[must_use]
    pub fn order_key(&self, known: &Known) -> String {
        let pinned = self.rows.get(&known.peer).is_some_and(|row| row.pinned_ms > 0);
        let (kind, name) = (known.peer.kind(), known.peer.name());
        format!("{}{:015}{kind}{name}", u8::from(pinned), known.time_ms)
    }

    /// Whether it is on the list: it has a message, and a newer one than when it was deleted.
    fn shows(&self, known: &Known) -> bool {
        known.shown > self.rows.get(&known.peer).map_or(0, |row| row.hidden_seq)
    }

    /// The list as it is, by order key, largest first: `max` conversations at most.
    #[must_use]
    pub fn list(&self, known: Vec<Known>, max: usize) -> Vec<(String, Known)> {
        let mut all: Vec<(String, Known)> = known
            .into_iter()
            .filter(|known| self.shows(known))
            .map(|known| (self.order_key(&known), known))
            .collect();
        all.sort_by(|(a, _), (b, _)| b.cmp(a));
        all.truncate(max);
        all
    }

    /// What is wanted of the list, and what was not read of all of it.
    #[must_use]
    pub fn page(&self, mut all: Vec<(String, Known)>, wanted: &Wanted) -> Page {
        let unread = all.iter().filter(|(_, known)| !self.quiet(known)).map(|(_, known)| known.unread).sum();
        let fits = |(key, known): &(String, Known)| {
            let in_group = wanted.group.is_empty()
                || self.members.get(&known.peer).is_some_and(|groups| groups.contains(&wanted.group));
            let marks = self.rows.get(&known.peer).map_or(0, |row| row.marks);
            let marked = wanted.marks == 0 || wanted.marks & marks != 0;
            let behind = wanted.after.is_empty() || *key < wanted.after;
            in_group && marked && behind
        };
        all.retain(fits);
        let complete = all.len() <= wanted.limit;
        all.truncate(wanted.limit);
        Page { conversations: all, complete, unread }
    }

    /// One of the list, as the wire has it, without its last message.
    pub(crate) fn to_wire(&self, key: String, known: &Known) -> body::Conversation {
        let row = self.rows.get(&known.peer).cloned().unwrap_or_default();
        let quiet = self.quiet(known);
        body::Conversation {
            with: Some(to_target(&known.peer)),
            order_key: key,
            head: known.head,
            read: known.read,
            unread: known.unread,
            time_ms: known.time_ms,
            last: None,
            pinned_ms: row.pinned_ms,
            marks: row.marks,
            mute: if quiet { body::Disturb::Quiet } else { body::Disturb::Notify } as i32,
            draft: row.draft,
            draft_ms: row.draft_ms,
            groups: self.members.get(&known.peer).cloned().unwrap_or_default(),
            mentions: known.mentions.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str, time_ms: u64, head: u64, read: u64) -> Known {
        let peer = Peer::User(name.to_owned());
        let unread = head.saturating_sub(read);
        let mentions = Vec::new();
        Known {
            peer,
            head,
            read,
            floor: 0,
            shown: head,
            time_ms,
            counts: true,
            unread,
            mentions,
            quiet: false,
        }
    }

    #[test]
    fn the_list_is_sorted_cut_and_counted() {
        let mut settings = Settings::default();
        let mut set = |name: &str, row| settings.rows.insert(Peer::User(name.to_owned()), row);
        set("pinned", ConversationRow { pinned_ms: 5, ..ConversationRow::default() });
        set("gone", ConversationRow { hidden_seq: 4, ..ConversationRow::default() });
        set("back", ConversationRow { hidden_seq: 4, marks: 2, ..ConversationRow::default() });
        set("quiet", ConversationRow { quiet: true, ..ConversationRow::default() });
        settings.members.insert(Peer::User("back".to_owned()), vec!["work".to_owned()]);
        let all = vec![
            known("old", 1_000, 3, 3),
            known("pinned", 999, 7, 2),
            known("gone", 9_000, 4, 0),
            known("back", 5_000, 5, 0),
            known("quiet", 6_000, 9, 0),
            known("none", 0, 0, 0),
        ];
        let names = |page: &Page| {
            page.conversations.iter().map(|(_, known)| known.peer.name().to_owned()).collect::<Vec<_>>()
        };
        let wanted = Wanted { limit: 3, ..Wanted::default() };
        let page = settings.page(settings.list(all.clone(), 100), &wanted);
        assert_eq!(names(&page), ["pinned", "quiet", "back"]);
        assert_eq!((page.complete, page.unread), (false, 10), "what is muted does not count");
        let after = page.conversations[2].0.clone();
        let page = settings.page(settings.list(all.clone(), 100), &Wanted { after, ..wanted.clone() });
        assert_eq!((names(&page), page.complete), (vec!["old".to_owned()], true));
        for wanted in
            [Wanted { marks: 3, ..wanted.clone() }, Wanted { group: "work".to_owned(), ..wanted.clone() }]
        {
            assert_eq!(names(&settings.page(settings.list(all.clone(), 100), &wanted)), ["back"]);
        }
        let short = settings.page(settings.list(all, 2), &wanted);
        assert_eq!(names(&short), ["pinned", "quiet"], "no longer than it may be");
    }
}
