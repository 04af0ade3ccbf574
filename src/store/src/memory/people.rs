//! Profiles, relations, phones and the conversation list.

use std::collections::{BTreeMap, BTreeSet};

use nearport_chat::directory::DirectoryError;
use nearport_chat::directory::conversations::{ConversationRow, ConversationTx, Peer};
use nearport_chat::directory::extensions::{ExtensionHead, ExtensionRow, ExtensionTx};
use nearport_chat::directory::imports::ImportTx;
use nearport_chat::directory::people::{
    ApplicationRow, FieldValue, Follows, FriendRow, PeopleStore, PeopleTx, PeopleWork, PhoneRow, RelationHead,
};
use nearport_chat::key::{AppId, ConvKey, UserKey};

use super::MemoryDirectory;

/// A user and a name of something of hers: a field, a friend, a friend group.
type Of = (UserKey, String);
/// The same with a second name.
type Of2 = (UserKey, String, String);

#[derive(Debug, Default, Clone)]
pub(super) struct Tables {
    profiles: BTreeMap<Of, FieldValue>,
    heads: BTreeMap<UserKey, RelationHead>,
    friends: BTreeMap<Of, FriendRow>,
    friend_fields: BTreeMap<Of2, FieldValue>,
    groups: BTreeSet<Of>,
    /// User, group, friend.
    members: BTreeSet<Of2>,
    blocks: BTreeMap<Of, u64>,
    /// By receiver and sender.
    applications: BTreeMap<Of, ApplicationRow>,
    /// By who follows and who is followed.
    follows: BTreeMap<Of, u64>,
    phones: BTreeMap<(UserKey, u32), PhoneRow>,
    conversation_seqs: BTreeMap<UserKey, u64>,
    conversations: BTreeMap<(UserKey, Peer), ConversationRow>,
    conversation_groups: BTreeSet<Of>,
    conversation_members: BTreeSet<(UserKey, String, Peer)>,
    /// Counters of messages with extensions, and when they were made.
    extension_heads: BTreeMap<(ConvKey, u64), (ExtensionHead, u64)>,
    extensions: BTreeMap<(ConvKey, u64, String), ExtensionRow>,
    imports: BTreeMap<(AppId, [u8; 32]), String>,
    pub(super) events: super::events::Tables,
    pub(super) history: super::history::Tables,
    pub(super) push: super::push::Tables,
}

impl PeopleStore for MemoryDirectory {
    fn read_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        // On a copy: what a reader writes is lost, as it would be refused elsewhere.
        let mut copy = self.tables().people.clone();
        work(&mut copy)
    }

    fn write_people(&self, work: &mut PeopleWork<'_>) -> Result<(), DirectoryError> {
        let mut tables = self.tables();
        let before = tables.people.clone();
        let done = work(&mut tables.people);
        if done.is_err() {
            tables.people = before;
        }
        done
    }
}

fn of(user: &UserKey, name: &str) -> Of {
    (user.clone(), name.to_owned())
}

fn of2(user: &UserKey, name: &str, other: &str) -> Of2 {
    (user.clone(), name.to_owned(), other.to_owned())
}

/// Entries of one user, in order.
fn range<'a, T>(map: &'a BTreeMap<Of, T>, user: &'a UserKey) -> impl Iterator<Item = (&'a String, &'a T)> {
    map.range(of(user, "")..)
        .take_while(move |((of, _), _)| of == user)
        .map(|((_, name), value)| (name, value))
}

/// Entries of others that name a user, with whose they are.
fn reverse<'a, T: Clone>(
    map: &'a BTreeMap<Of, T>,
    user: &'a UserKey,
) -> impl Iterator<Item = (String, T)> + use<'a, T> {
    map.iter()
        .filter(move |((of, name), _)| of.app() == user.app() && name == user.name())
        .map(|((of, _), value)| (of.name().to_owned(), value.clone()))
}

fn page<T>(entries: impl Iterator<Item = T>, start: u32, limit: u32) -> Vec<T> {
    entries.skip(start as usize).take(limit as usize).collect()
}

impl PeopleTx for Tables {
    fn profile(&mut self, user: &UserKey) -> Result<Vec<(String, FieldValue)>, DirectoryError> {
        Ok(range(&self.profiles, user).map(|(tag, value)| (tag.clone(), value.clone())).collect())
    }

    fn set_profile(&mut self, user: &UserKey, tag: &str, value: &FieldValue) -> Result<(), DirectoryError> {
        self.profiles.insert(of(user, tag), value.clone());
        Ok(())
    }

    fn relation_head(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError> {
        Ok(self.heads.get(user).copied().unwrap_or_default())
    }

    fn lock_relations(&mut self, user: &UserKey) -> Result<RelationHead, DirectoryError> {
        self.relation_head(user)
    }

    fn set_relation_head(&mut self, user: &UserKey, head: &RelationHead) -> Result<(), DirectoryError> {
        self.heads.insert(user.clone(), *head);
        Ok(())
    }

    fn friend(&mut self, user: &UserKey, friend: &str) -> Result<Option<FriendRow>, DirectoryError> {
        Ok(self.friends.get(&of(user, friend)).cloned())
    }

    fn put_friend(&mut self, user: &UserKey, friend: &str, row: &FriendRow) -> Result<(), DirectoryError> {
        self.friends.insert(of(user, friend), row.clone());
        Ok(())
    }

    fn delete_friend(&mut self, user: &UserKey, friend: &str) -> Result<bool, DirectoryError> {
        self.friend_fields.retain(|(of, name, _), _| of != user || name != friend);
        self.members.retain(|(of, _, name)| of != user || name != friend);
        Ok(self.friends.remove(&of(user, friend)).is_some())
    }

    fn friends(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, FriendRow)>, DirectoryError> {
        let friends = range(&self.friends, user).map(|(name, row)| (name.clone(), row.clone()));
        Ok(page(friends, start, limit))
    }

    fn friend_fields(
        &mut self,
        user: &UserKey,
        friend: &str,
    ) -> Result<Vec<(String, FieldValue)>, DirectoryError> {
        let fields = self.friend_fields.iter().filter(|((of, name, _), _)| of == user && name == friend);
        Ok(fields.map(|((_, _, tag), value)| (tag.clone(), value.clone())).collect())
    }

    fn set_friend_field(
        &mut self,
        user: &UserKey,
        friend: &str,
        tag: &str,
        value: &FieldValue,
    ) -> Result<(), DirectoryError> {
        self.friend_fields.insert(of2(user, friend, tag), value.clone());
        Ok(())
    }

    fn friend_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError> {
        Ok(self.groups.iter().filter(|(of, _)| of == user).map(|(_, name)| name.clone()).collect())
    }

    fn add_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        Ok(self.groups.insert(of(user, name)))
    }

    fn delete_friend_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        self.members.retain(|(of, group, _)| of != user || group != name);
        Ok(self.groups.remove(&of(user, name)))
    }

    fn friend_group_members(&mut self, user: &UserKey, name: &str) -> Result<Vec<String>, DirectoryError> {
        let members = self.members.iter().filter(|(of, group, _)| of == user && group == name);
        Ok(members.map(|(_, _, friend)| friend.clone()).collect())
    }

    fn groups_of_friend(&mut self, user: &UserKey, friend: &str) -> Result<Vec<String>, DirectoryError> {
        let groups = self.members.iter().filter(|(of, _, name)| of == user && name == friend);
        Ok(groups.map(|(_, group, _)| group.clone()).collect())
    }

    fn set_group_member(
        &mut self,
        user: &UserKey,
        name: &str,
        friend: &str,
        member: bool,
    ) -> Result<bool, DirectoryError> {
        let key = of2(user, name, friend);
        Ok(if member { self.members.insert(key) } else { self.members.remove(&key) })
    }

    fn block(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError> {
        Ok(self.blocks.get(&of(user, other)).copied())
    }

    fn add_block(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError> {
        let key = of(user, other);
        if self.blocks.contains_key(&key) {
            return Ok(false);
        }
        self.blocks.insert(key, added_s);
        Ok(true)
    }

    fn delete_block(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError> {
        Ok(self.blocks.remove(&of(user, other)).is_some())
    }

    fn blocks(
        &mut self,
        user: &UserKey,
        start: u32,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError> {
        let blocks = range(&self.blocks, user).map(|(name, added_s)| (name.clone(), *added_s));
        Ok(page(blocks, start, limit))
    }

    fn application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
    ) -> Result<Option<ApplicationRow>, DirectoryError> {
        Ok(self.applications.get(&of(receiver, sender)).cloned())
    }

    fn put_application(
        &mut self,
        receiver: &UserKey,
        sender: &str,
        row: &ApplicationRow,
    ) -> Result<(), DirectoryError> {
        self.applications.insert(of(receiver, sender), row.clone());
        Ok(())
    }

    fn delete_application(&mut self, receiver: &UserKey, sender: &str) -> Result<bool, DirectoryError> {
        Ok(self.applications.remove(&of(receiver, sender)).is_some())
    }

    fn applications(
        &mut self,
        receiver: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError> {
        let all = range(&self.applications, receiver).filter(|(_, row)| row.id < before);
        let mut all: Vec<_> = all.map(|(sender, row)| (sender.clone(), row.clone())).collect();
        all.sort_by_key(|(_, row)| std::cmp::Reverse(row.id));
        all.truncate(limit as usize);
        Ok(all)
    }

    fn sent_applications(
        &mut self,
        sender: &UserKey,
        before: u64,
        limit: u32,
    ) -> Result<Vec<(String, ApplicationRow)>, DirectoryError> {
        let sent = |(receiver, name): &&Of, row: &ApplicationRow| {
            receiver.app() == sender.app() && name == sender.name() && row.sent_id < before
        };
        let all = self.applications.iter().filter(|(key, row)| sent(key, row));
        let mut all: Vec<_> =
            all.map(|((receiver, _), row)| (receiver.name().to_owned(), row.clone())).collect();
        all.sort_by_key(|(_, row)| std::cmp::Reverse(row.sent_id));
        all.truncate(limit as usize);
        Ok(all)
    }

    fn count_applications(&mut self, receiver: &UserKey, read: u64) -> Result<(u32, u32), DirectoryError> {
        let (mut all, mut unread) = (0, 0);
        for (_, row) in range(&self.applications, receiver) {
            all += 1;
            unread += u32::from(row.id > read);
        }
        Ok((all, unread))
    }

    fn follow(&mut self, user: &UserKey, other: &str) -> Result<Option<u64>, DirectoryError> {
        Ok(self.follows.get(&of(user, other)).copied())
    }

    fn add_follow(&mut self, user: &UserKey, other: &str, added_s: u64) -> Result<bool, DirectoryError> {
        let new = !self.follows.contains_key(&of(user, other));
        self.follows.entry(of(user, other)).or_insert(added_s);
        Ok(new)
    }

    fn delete_follow(&mut self, user: &UserKey, other: &str) -> Result<bool, DirectoryError> {
        Ok(self.follows.remove(&of(user, other)).is_some())
    }

    fn follows(
        &mut self,
        user: &UserKey,
        which: Follows,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, DirectoryError> {
        let followers = reverse(&self.follows, user);
        let following = range(&self.follows, user).map(|(name, added_s)| (name.clone(), *added_s));
        let mut all: BTreeMap<String, u64> = match which {
            Follows::Followers => followers.collect(),
            Follows::Following => following.collect(),
            Follows::Mutual => {
                let followers: BTreeMap<_, _> = followers.collect();
                following.filter(|(name, _)| followers.contains_key(name)).collect()
            }
        };
        all.retain(|name, _| name.as_str() > after);
        Ok(page(all.into_iter(), 0, limit))
    }

    fn count_follows(&mut self, user: &UserKey, which: Follows) -> Result<u64, DirectoryError> {
        Ok(self.follows(user, which, "", u32::MAX)?.len() as u64)
    }

    fn related(&mut self, user: &UserKey, limit: u32) -> Result<Vec<String>, DirectoryError> {
        let mut all: BTreeSet<String> = BTreeSet::new();
        all.extend(range(&self.friends, user).map(|(name, _)| name.clone()));
        all.extend(reverse(&self.friends, user).map(|(name, _)| name));
        all.extend(range(&self.blocks, user).map(|(name, _)| name.clone()));
        all.extend(reverse(&self.blocks, user).map(|(name, _)| name));
        all.extend(range(&self.applications, user).map(|(name, _)| name.clone()));
        all.extend(reverse(&self.applications, user).map(|(name, _)| name));
        all.extend(range(&self.follows, user).map(|(name, _)| name.clone()));
        all.extend(reverse(&self.follows, user).map(|(name, _)| name));
        Ok(page(all.into_iter(), 0, limit))
    }

    fn erase(&mut self, user: &UserKey) -> Result<(), DirectoryError> {
        self.profiles.retain(|(of, _), _| of != user);
        self.groups.retain(|(of, _)| of != user);
        self.members.retain(|(of, ..)| of != user);
        self.phones.retain(|(of, _), _| of != user);
        self.conversations.retain(|(of, _), _| of != user);
        self.conversation_groups.retain(|(of, _)| of != user);
        self.conversation_members.retain(|(of, ..)| of != user);
        self.push.erase(user);
        Ok(())
    }

    fn phones(&mut self, user: &UserKey) -> Result<Vec<PhoneRow>, DirectoryError> {
        Ok(self.phones.range((user.clone(), 0)..=(user.clone(), u32::MAX)).map(|(_, row)| *row).collect())
    }

    fn put_phone(&mut self, user: &UserKey, row: &PhoneRow) -> Result<(), DirectoryError> {
        let known = self.phones.entry((user.clone(), row.platform)).or_insert(*row);
        if known.seen_s <= row.seen_s {
            *known = *row;
        }
        Ok(())
    }

    fn delete_phone(&mut self, user: &UserKey, platform: u32) -> Result<(), DirectoryError> {
        self.phones.remove(&(user.clone(), platform));
        Ok(())
    }
}

impl ConversationTx for Tables {
    fn conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError> {
        Ok(self.conversation_seqs.get(user).copied().unwrap_or_default())
    }

    fn next_conversation_seq(&mut self, user: &UserKey) -> Result<u64, DirectoryError> {
        let seq = self.conversation_seqs.entry(user.clone()).or_default();
        *seq += 1;
        Ok(*seq)
    }

    fn conversation(&mut self, user: &UserKey, with: &Peer) -> Result<ConversationRow, DirectoryError> {
        Ok(self.conversations.get(&(user.clone(), with.clone())).cloned().unwrap_or_default())
    }

    fn conversations(&mut self, user: &UserKey) -> Result<Vec<(Peer, ConversationRow)>, DirectoryError> {
        let all = self.conversations.iter().filter(|((of, _), _)| of == user);
        Ok(all.map(|((_, peer), row)| (peer.clone(), row.clone())).collect())
    }

    fn put_conversation(
        &mut self,
        user: &UserKey,
        with: &Peer,
        row: &ConversationRow,
    ) -> Result<(), DirectoryError> {
        let key = (user.clone(), with.clone());
        if *row == ConversationRow::default() {
            self.conversations.remove(&key);
        } else {
            self.conversations.insert(key, row.clone());
        }
        Ok(())
    }

    fn conversation_groups(&mut self, user: &UserKey) -> Result<Vec<String>, DirectoryError> {
        let groups = self.conversation_groups.iter().filter(|(of, _)| of == user);
        Ok(groups.map(|(_, name)| name.clone()).collect())
    }

    fn add_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        Ok(self.conversation_groups.insert(of(user, name)))
    }

    fn delete_conversation_group(&mut self, user: &UserKey, name: &str) -> Result<bool, DirectoryError> {
        self.conversation_members.retain(|(of, group, _)| of != user || group != name);
        Ok(self.conversation_groups.remove(&of(user, name)))
    }

    fn conversation_group_members(&mut self, user: &UserKey) -> Result<Vec<(String, Peer)>, DirectoryError> {
        let members = self.conversation_members.iter().filter(|(of, ..)| of == user);
        Ok(members.map(|(_, group, peer)| (group.clone(), peer.clone())).collect())
    }

    fn set_conversation_group_member(
        &mut self,
        user: &UserKey,
        name: &str,
        with: &Peer,
        member: bool,
    ) -> Result<bool, DirectoryError> {
        let key = (user.clone(), name.to_owned(), with.clone());
        Ok(match member {
            true => self.conversation_members.insert(key),
            false => self.conversation_members.remove(&key),
        })
    }
}

impl ImportTx for Tables {
    fn import_mark(&mut self, app: AppId, job: &[u8; 32]) -> Result<Option<String>, DirectoryError> {
        Ok(self.imports.get(&(app, *job)).cloned())
    }

    fn put_import_mark(&mut self, app: AppId, job: &[u8; 32], mark: &str) -> Result<(), DirectoryError> {
        self.imports.insert((app, *job), mark.to_owned());
        Ok(())
    }
}

impl ExtensionTx for Tables {
    fn extension_head(&mut self, conv: &ConvKey, message: u64) -> Result<ExtensionHead, DirectoryError> {
        Ok(self.extension_heads.get(&(conv.clone(), message)).map(|(head, _)| *head).unwrap_or_default())
    }

    fn lock_extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        now_ms: u64,
    ) -> Result<ExtensionHead, DirectoryError> {
        let made = (ExtensionHead::default(), now_ms);
        Ok(self.extension_heads.entry((conv.clone(), message)).or_insert(made).0)
    }

    fn set_extension_head(
        &mut self,
        conv: &ConvKey,
        message: u64,
        head: ExtensionHead,
    ) -> Result<(), DirectoryError> {
        if let Some((now, _)) = self.extension_heads.get_mut(&(conv.clone(), message)) {
            *now = head;
        }
        Ok(())
    }

    fn extensions(
        &mut self,
        conv: &ConvKey,
        message: u64,
        after: u64,
        limit: u32,
    ) -> Result<Vec<ExtensionRow>, DirectoryError> {
        let of = |(key, row): (&(ConvKey, u64, String), &ExtensionRow)| {
            (key.0 == *conv && key.1 == message && row.seq > after).then(|| row.clone())
        };
        let mut rows: Vec<_> = self.extensions.iter().filter_map(of).collect();
        rows.sort_by_key(|row| row.seq);
        rows.truncate(limit as usize);
        Ok(rows)
    }

    fn put_extension(
        &mut self,
        conv: &ConvKey,
        message: u64,
        row: &ExtensionRow,
    ) -> Result<(), DirectoryError> {
        self.extensions.insert((conv.clone(), message, row.key.clone()), row.clone());
        Ok(())
    }

    fn clear_extensions(&mut self, conv: &ConvKey, message: u64) -> Result<(), DirectoryError> {
        self.extensions.retain(|(of, at, _), _| of != conv || *at != message);
        Ok(())
    }

    fn trim_extensions(&mut self, before_ms: u64, limit: u32) -> Result<(), DirectoryError> {
        let mut old: Vec<_> =
            self.extension_heads.iter().filter(|(_, (_, made))| *made < before_ms).collect();
        old.sort_by_key(|(_, (_, made))| *made);
        let old: Vec<_> = old.into_iter().take(limit as usize).map(|(key, _)| key.clone()).collect();
        for (conv, message) in old {
            self.clear_extensions(&conv, message)?;
            self.extension_heads.remove(&(conv, message));
        }
        Ok(())
    }
}
