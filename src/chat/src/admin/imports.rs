//! History of other systems, many messages at a time: what an import stores, and what it finds when it looks again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_lc_rs::digest;
use nearport_wire::body::{Content, Message, Priority, element};
use nearport_wire::code;
use nearport_wire::code::group as group_code;
use prost::Message as _;

use super::messages::imported_pair;
use super::{Admin, Pending, busy};
use crate::kept::{Audience, Kept, seal};
use crate::key::{AppId, ConvKey, GroupKey, UserKey};
use crate::ledger::{Append, Entry, IdemKey, PageLimit, Range};
use crate::posts::orders::{GroupOrder, IMPORTS_MAX, Importing, Outcome};
use crate::reply::{Failure, With, unreadable};

/// How far the clock of another system may be in front of this one's.
const CLOCKS_APART_MS: u64 = 60_000;

/// Bytes of a page that is read again.
const PAGE_BYTES: usize = 4 << 20;

/// A message of another system.
#[derive(Debug, Clone, PartialEq)]
pub struct Historic {
    /// Where it was said.
    pub to: HistoricTo,
    /// Name of an account.
    pub from: String,
    /// Unix seconds.
    pub time_s: u64,
    /// `MsgSeq` of a message of a pair; 0: it has none.
    pub seq: u32,
    /// The other system's own. `None`: it follows from what is said, so that two messages of a second stay two.
    pub random: Option<u32>,
    /// What it says, checked.
    pub content: Content,
    /// Which go first.
    pub priority: Priority,
}

/// Where a message was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoricTo {
    /// Between the sender and this account.
    User(String),
    /// In this group.
    Group(String),
}

/// A message that stands where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brought {
    /// Its place; 0: that of one that came along with it.
    pub seq: u64,
    /// It stood there before, or came twice.
    pub repeated: bool,
}

/// Messages on their way into history.
#[derive(Debug)]
pub struct Bringing {
    /// What was refused at once, by place.
    refused: Vec<Option<Failure>>,
    stored: Vec<Pending<Result<Vec<Outcome>, Failure>>>,
}

/// A message that was looked for.
#[derive(Debug, Clone)]
pub struct LookedFor {
    /// Its conversation.
    pub conv: ConvKey,
    /// Digest of its time and of what is to be kept of it.
    pub digest: [u8; 32],
    /// What stands there; `None`: nothing with its key.
    pub found: Option<Found>,
}

/// A message that stands in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Its place.
    pub seq: u64,
    /// Digest of its time and of what is kept of it.
    pub digest: [u8; 32],
    /// It was edited or recalled since.
    pub changed: bool,
    /// It is the other side's, which was there first.
    pub mirrored: bool,
}

/// A message as it is to be kept.
struct Made {
    importing: Importing,
    group: Option<GroupKey>,
}

/// What of a group decides.
#[derive(Debug, Clone, Copy)]
struct Known {
    import: bool,
    created_s: u64,
}

impl Bringing {
    /// Waits until what can be stored is on disk; one outcome for each message, in order.
    ///
    /// # Errors
    /// The store takes no writes. Some of them may stand there all the same; brought again they are found.
    pub fn wait(self) -> Result<Vec<Result<Brought, Failure>>, Failure> {
        let mut outcomes = Vec::new();
        for stored in self.stored {
            outcomes.extend(stored.wait().ok_or_else(busy)??);
        }
        let mut outcomes = outcomes.into_iter();
        let outcome = |refused: Option<Failure>| match refused {
            Some(failure) => Err(failure),
            None => match outcomes.next().ok_or_else(busy)? {
                Outcome::Stands(place) => Ok(Brought { seq: place.seq, repeated: place.duplicate }),
                Outcome::Older => Err(Failure::new(
                    group_code::BAD_PARAMETER,
                    "older than the newest message of its conversation: messages come oldest first",
                )),
            },
        };
        Ok(self.refused.into_iter().map(outcome).collect())
    }
}

impl Admin {
    /// Begins to store messages at their own times, each conversation's oldest first: nobody is told, and of a pair nothing is unread. One that
    /// stands already, by its own key or as the other side's, stays as it is. Blocks for looks at accounts and groups.
    ///
    /// # Errors
    /// Nothing is stored: accounts or groups cannot be looked up, or too much is waiting.
    pub fn bring_history(&self, app: AppId, messages: Vec<Historic>) -> Result<Bringing, Failure> {
        let made: Vec<_> = messages.into_iter().map(|message| make(app, message)).collect();
        let groups: BTreeSet<_> = made.iter().flatten().filter_map(|made| made.group.clone()).collect();
        let groups = groups.into_iter().map(|key| {
            let known = self.of_group(&key, |group| Known {
                import: group.kind().import,
                created_s: group.info().created_ms / 1000,
            });
            match known {
                Err(failure) if failure.retry_after_ms > 0 => Err(failure),
                known => Ok((key, known)),
            }
        });
        let groups = groups.collect::<Result<HashMap<_, _>, _>>()?;
        let mut users: Vec<_> = made.iter().flatten().flat_map(Made::users).collect();
        users.sort_unstable();
        users.dedup();
        let exist: HashMap<_, _> = users.iter().cloned().zip(self.exist(&users)?).collect();
        let now_ms = self.now_ms();
        let (mut refused, mut good) = (Vec::with_capacity(made.len()), Vec::new());
        for made in made {
            let checked = made.and_then(|made| {
                made.check(&groups, &exist, now_ms)?;
                Ok(made.importing)
            });
            match checked {
                Ok(importing) => {
                    refused.push(None);
                    good.push(importing);
                }
                Err(failure) => refused.push(Some(failure)),
            }
        }
        let (mut orders, mut stored) = (Vec::new(), Vec::new());
        let mut good = good.into_iter().peekable();
        while good.peek().is_some() {
            let messages = good.by_ref().take(IMPORTS_MAX).collect();
            let (pending, done) = Pending::new();
            let done = Box::new(move |outcome: Result<Vec<Outcome>, &crate::ledger::LedgerError>| {
                done.tell(outcome.map_err(|error| {
                    tracing::error!(%error, "history cannot be stored");
                    Failure::later(code::INTERNAL, "the store takes no writes, try again later", 1000)
                }));
            });
            orders.push(GroupOrder::Imports { messages, done });
            stored.push(pending);
        }
        if !self.shared.posts.order(orders) {
            return Err(busy());
        }
        Ok(Bringing { refused, stored })
    }

    /// Looks for messages that were brought; in order, and without those that no store could take or whose conversations are
    /// not `wanted`. Blocks for reads of the ledger.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn look_for_history(
        &self,
        app: AppId,
        messages: Vec<Historic>,
        wanted: impl Fn(&ConvKey) -> bool,
    ) -> Result<Vec<LookedFor>, Failure> {
        let made = messages.into_iter().filter_map(|message| make(app, message).ok());
        let made: Vec<_> = made.filter(|made| wanted(&made.importing.append.conv)).collect();
        let ledger = &self.shared.ledger;
        let mut keys: Vec<_> = made.iter().map(|made| made.importing.append.idem.clone()).collect();
        keys.extend(made.iter().filter_map(|made| made.importing.mirrored.clone()));
        let known = ledger.duplicates(&keys).map_err(|error| unreadable(&error))?;
        let (own, mirrored) = known.split_at(made.len());
        let mut mirrored = mirrored.iter();
        let mut places: BTreeMap<ConvKey, Vec<u64>> = BTreeMap::new();
        let mut seqs = Vec::with_capacity(made.len());
        for (made, own) in made.iter().zip(own) {
            let other = made.importing.mirrored.as_ref().and_then(|_| mirrored.next()?.as_ref());
            let place =
                own.as_ref().map(|own| (own.seq, false)).or_else(|| other.map(|other| (other.seq, true)));
            if let Some((seq, _)) = place {
                places.entry(made.importing.append.conv.clone()).or_default().push(seq);
            }
            seqs.push(place);
        }
        let mut entries = HashMap::new();
        for (conv, mut seqs) in places {
            seqs.sort_unstable();
            seqs.dedup();
            for entry in self.entries(&conv, &seqs)? {
                entries.insert((conv.clone(), entry.seq), entry);
            }
        }
        let looked = made.into_iter().zip(seqs).map(|(made, place)| {
            let Append { conv, time_ms, body, .. } = made.importing.append;
            let found = place.and_then(|(seq, mirrored)| {
                let entry = entries.get(&(conv.clone(), seq))?;
                let digest = digest_of(entry.time_ms, &entry.body);
                Some(Found { seq, digest, changed: entry.edit > 0, mirrored })
            });
            LookedFor { digest: digest_of(time_ms, &body), conv, found }
        });
        Ok(looked.collect())
    }

    /// These messages of a conversation, ascending. Those that stand close together are read together.
    fn entries(&self, conv: &ConvKey, seqs: &[u64]) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::with_capacity(seqs.len());
        let mut left = seqs;
        while let Some(first) = left.first() {
            // Whatever lies in between is read along: not more than is looked for.
            let near = left.partition_point(|seq| seq - first < 2 * left.len() as u64);
            let (some, rest) = left.split_at(near);
            let last = some[some.len() - 1];
            let mut after = first - 1;
            while after < last {
                let count = usize::try_from(last - after).unwrap_or(usize::MAX);
                let limit = PageLimit { entries: count, bytes: PAGE_BYTES };
                let page = self.shared.ledger.read(conv, Range::After(after), limit);
                let page = page.map_err(|error| unreadable(&error))?;
                let Some(end) = page.last().map(|entry| entry.seq) else { break };
                after = end;
                entries.extend(page.into_iter().filter(|entry| some.binary_search(&entry.seq).is_ok()));
            }
            left = rest;
        }
        Ok(entries)
    }

    /// Messages of a conversation between two places, both included, that stand there although another place has their key: none,
    /// if the store keeps its promise. Blocks for reads of all that lies in between.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn doubled(&self, conv: &ConvKey, first: u64, last: u64) -> Result<u64, Failure> {
        let app = AppId(conv.as_bytes().first_chunk().map_or(0, |app| u32::from_be_bytes(*app)));
        let (mut after, mut doubled) = (first.saturating_sub(1), 0);
        while after < last {
            let count = usize::try_from(last - after).unwrap_or(usize::MAX).min(IMPORTS_MAX);
            let limit = PageLimit { entries: count, bytes: PAGE_BYTES };
            let page = self.shared.ledger.read(conv, Range::After(after), limit);
            let page = page.map_err(|error| unreadable(&error))?;
            let Some(end) = page.last().map(|entry| entry.seq) else { break };
            after = end;
            let keyed: Vec<_> =
                page.iter().filter_map(|entry| Some((entry.seq, key_of(app, entry)?))).collect();
            let keys: Vec<_> = keyed.iter().map(|(_, key)| key.clone()).collect();
            let places = self.shared.ledger.duplicates(&keys).map_err(|error| unreadable(&error))?;
            let elsewhere = |((seq, _), place): &(&(u64, IdemKey), &Option<crate::ledger::Appended>)| {
                place.as_ref().is_some_and(|place| place.seq != *seq)
            };
            doubled += keyed.iter().zip(&places).filter(elsewhere).count() as u64;
        }
        Ok(doubled)
    }

    /// Whether a message of this time comes from the future, by more than clocks differ.
    #[must_use]
    pub fn is_future(&self, time_s: u64) -> bool {
        is_future(time_s, self.now_ms())
    }
}

fn is_future(time_s: u64, now_ms: u64) -> bool {
    time_s.saturating_mul(1000) > now_ms + CLOCKS_APART_MS
}

fn key_of(app: AppId, entry: &Entry) -> Option<IdemKey> {
    let message = Kept::open(&entry.body).decode().ok()?;
    let sender = UserKey::new(app, &message.from).ok()?;
    Some(IdemKey { sender, client_msg_id: message.client_msg_id[..].try_into().ok()? })
}

/// Of the second and of what is kept: the milliseconds are the store's.
fn digest_of(time_ms: u64, body: &[u8]) -> [u8; 32] {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(&(time_ms / 1000).to_be_bytes());
    digest.update(body);
    digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Made {
    fn users(&self) -> impl Iterator<Item = UserKey> {
        let Importing { append, mirrored } = &self.importing;
        let peer = mirrored.as_ref().map(|mirrored| mirrored.sender.clone());
        std::iter::once(append.idem.sender.clone()).chain(peer)
    }

    fn check(
        &self,
        groups: &HashMap<GroupKey, Result<Known, Failure>>,
        exist: &HashMap<UserKey, bool>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let Importing { append, mirrored } = &self.importing;
        let exists = |user: &UserKey| exist.get(user) == Some(&true);
        let bad = |info: &'static str| Err(Failure::new(group_code::BAD_PARAMETER, info));
        let time_s = append.time_ms / 1000;
        let Some(group) = &self.group else {
            let bad = |info: &'static str| Err(Failure::new(code::BAD_PEER, info));
            return match mirrored {
                _ if is_future(time_s, now_ms) => bad("MsgTimeStamp is in the future"),
                _ if !exists(&append.idem.sender) => bad("From_Account is not registered"),
                Some(peer) if !exists(&peer.sender) => bad("To_Account is not registered"),
                _ => Ok(()),
            };
        };
        match groups.get(group) {
            Some(Ok(known)) if !known.import => Err(Failure::new(
                group_code::NO_PERMISSION,
                "messages of this type of group are not imported",
            )),
            Some(Ok(known)) if time_s < known.created_s => bad("SendTime is before the group was made"),
            Some(Ok(_)) if time_s > now_ms / 1000 => bad("SendTime is in the future"),
            Some(Ok(_)) if !exists(&append.idem.sender) => bad("From_Account is not registered"),
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(busy()),
        }
    }
}

/// As it is to be kept, with the second that it has.
fn make(app: AppId, message: Historic) -> Result<Made, Failure> {
    let Historic { to, from, time_s, seq, random, content, priority } = message;
    let random = random.unwrap_or_else(|| {
        let digest = digest::digest(&digest::SHA256, &content.encode_to_vec());
        digest.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    });
    let named = |name: &str, what: &'static str, code: u32| {
        UserKey::new(app, name).map_err(|error| Failure::new(code, format!("{what}: {error}")))
    };
    match to {
        HistoricTo::User(to) => {
            let from = named(&from, "From_Account", code::BAD_PEER)?;
            let to = named(&to, "To_Account", code::BAD_PEER)?;
            let key = super::MsgKey { seq: seq.into(), random, time_s };
            let (append, mirrored) = imported_pair(&super::Outgoing::imported(from, key, content), &to);
            Ok(Made { importing: Importing { append, mirrored: Some(mirrored) }, group: None })
        }
        HistoricTo::Group(id) => {
            let key = super::groups::group_key(app, &id)?;
            let from = named(&from, "From_Account", group_code::BAD_PARAMETER)?;
            if !is_importable(&content) {
                let info = "messages of groups are imported with text, faces, places and custom elements";
                return Err(Failure::new(group_code::BAD_PARAMETER, info));
            }
            let append = in_group(&key, from, time_s, random, content, priority);
            Ok(Made { importing: Importing { append, mirrored: None }, group: Some(key) })
        }
    }
}

fn in_group(
    key: &GroupKey,
    from: UserKey,
    time_s: u64,
    random: u32,
    content: Content,
    priority: Priority,
) -> Append {
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(b"import");
    digest.update(key.as_bytes());
    digest.update(&time_s.to_be_bytes());
    let mut client_msg_id = [0; 16];
    client_msg_id[..4].copy_from_slice(&random.to_be_bytes());
    client_msg_id[4..].copy_from_slice(&digest.finish().as_ref()[..12]);
    let body = Message {
        from: from.name().to_owned(),
        to: Some(With::Group(key.clone()).target()),
        client_msg_id: client_msg_id.to_vec().into(),
        content: Some(content),
        priority: priority.into(),
        ..Message::default()
    };
    Append {
        conv: key.conv(),
        idem: IdemKey { sender: from, client_msg_id },
        logs: Vec::new(),
        time_ms: time_s.saturating_mul(1000),
        body: seal(&body, Audience::All),
        uncounted: false,
    }
}

/// Text, faces, places and custom elements come over, of the public contract.
fn is_importable(content: &Content) -> bool {
    use element::Element;
    content.elements.iter().all(|element| {
        matches!(
            element.element,
            Some(Element::Text(_) | Element::Face(_) | Element::Location(_) | Element::Custom(_))
        )
    })
}
