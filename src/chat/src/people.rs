//! People: profiles, relations, and who may write to whom.
//!
//! [`People`] holds the rules; rows are in the directory. A call is carried out in one transaction, in which the users
//! concerned are locked in the order of their keys, so both sides of a friendship and the sequences of both change
//! together or not at all. Users call for themselves, an admin for anybody ([`Actor`]); both go through the same functions.
//!
//! What changed is given back as [`Effects`]: events for the devices of those whom it concerns. They are hints; the
//! sequences of [`RelationHead`] tell who missed one.
//!
//! [`RelationHead`]: crate::directory::people::RelationHead

mod applications;
mod blocks;
pub(crate) mod codes;
mod config;
pub mod conversations;

mod erase;
mod follows;
mod friend_groups;
mod friends;
mod heads;
mod presence;

pub(crate) mod profiles;
pub(crate) mod reads;
mod tags;
mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nearport_wire::body;

pub use applications::{Answer, ReceivedPage};
pub use blocks::BlockPage;
pub use config::{AllowType, Config, CustomField, FieldOf, Holds};
pub use follows::{FollowCounts, FollowPage};
pub use friend_groups::FriendGroups;
pub use friends::{AddFriend, AddFriends, ImportFriend, UpdateFriend};
pub(crate) use presence::Watching;
pub use profiles::Profile;
pub use reads::{Checked, FriendInfo, FriendPage, Known};
pub use verdict::Verdict;

use crate::Failure;
use crate::account::Accounts;
use crate::actor::Actor;
use crate::apps::{AppSettings, Apps};
use crate::callback::{Callbacks, Command, Event, Origin};
use crate::directory::events::PendingEvent;
use crate::directory::people::{PeopleTx, PeopleWork, PhoneRow, RelationHead};
use crate::directory::{Directory, DirectoryError};
use crate::key::{AppId, UserKey};
use crate::numbers::Count;
use tags::Tags;
use verdict::Verdicts;

/// Most items in one call.
pub const ITEMS_MAX: usize = 1000;

/// When a client whose change met another one tries again.
const CONFLICT_RETRY_MS: u32 = 100;

/// When a client whose change could not be stored tries again.
const STORE_RETRY_MS: u32 = 1000;

/// Bytes of a page of friends or conversations after which it ends. With one more of them (12 KiB at most) it stays below
/// what a client reads.
pub(crate) const PAGE_BYTES_MAX: usize = 200 * 1024;

/// What became of one item of a call that succeeded as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// A user, or a friend group.
    pub id: String,
    /// 0, or a code of the contract.
    pub code: u32,
    /// For people; empty for 0.
    pub info: String,
}

impl Item {
    fn done(id: &str) -> Self {
        Self { id: id.to_owned(), code: 0, info: String::new() }
    }

    fn failed(id: &str, failure: &Failure) -> Self {
        Self { id: id.to_owned(), code: failure.code, info: failure.info.clone().into_owned() }
    }

    fn of(id: &str, outcome: Result<(), Failure>) -> Self {
        match outcome {
            Ok(()) => Self::done(id),
            Err(failure) => Self::failed(id, &failure),
        }
    }
}

/// Items of a call with the caller's counters after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// In the order of the call.
    pub items: Vec<Item>,
    /// Of the user for whom the call was made.
    pub head: RelationHead,
}

/// Events that follow from a change, each for all devices of some users.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) events: Vec<(Vec<UserKey>, body::PeopleEvent)>,
    /// For the back end of the App, of what is in memory alone.
    pub(crate) told: Vec<Told>,
    /// For the back end of the App, written with what they tell of.
    pub(crate) pending: Vec<PendingEvent>,
    /// What counts for the day of the App.
    pub(crate) counted: Vec<(AppId, Count, u64)>,
    /// `None`: back ends are told nothing.
    teller: Option<Teller>,
}

/// Who tells back ends, and of whose request.
#[derive(Debug)]
struct Teller {
    callbacks: Arc<Callbacks>,
    origin: Origin,
    now_ms: u64,
}

/// What the back end of the App hears.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) command: Command,
    /// Whose profile or relations.
    pub(crate) user: UserKey,
    /// Without `CallbackCommand` and `EventTime`.
    pub(crate) fields: serde_json::Value,
    /// Where the client behind it is; `None`: it is the one that asked.
    pub(crate) origin: Option<Origin>,
}

impl Told {
    /// Relations between two users each have come to be, or have ended; `None` if there are none.
    pub(crate) fn pairs(command: Command, pairs: &[(UserKey, UserKey)]) -> Option<Self> {
        let (user, _) = pairs.first()?;
        let pair = |(from, to): &(UserKey, UserKey)| serde_json::json!({ "From_Account": from.name(), "To_Account": to.name() });
        let fields = serde_json::json!({ "PairList": pairs.iter().map(pair).collect::<Vec<_>>() });
        Some(Self { command, user: user.clone(), fields, origin: None })
    }
}

/// How the friendships of a change came to be: its user has asked for them, or has answered who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Befriending {
    pub(crate) answered: bool,
    pub(crate) force: bool,
    /// The administrator who did it in the user's name, or empty.
    pub(crate) admin: String,
}

impl Befriending {
    pub(crate) fn of(actor: &Actor<'_>, answered: bool, force: bool) -> Self {
        let admin = if actor.is_admin() { actor.name() } else { "" }.to_owned();
        Self { answered, force, admin }
    }

    /// Says it in what is told of them.
    pub(crate) fn describe(&self, user: &UserKey, told: &mut Told) {
        if let Some(pairs) = told.fields["PairList"].as_array_mut() {
            for pair in pairs {
                let ends = [&pair["From_Account"], &pair["To_Account"]];
                let initiator = ends.into_iter().find(|end| (**end == user.name()) != self.answered);
                pair["Initiator_Account"] = initiator.cloned().unwrap_or_default();
            }
        }
        told.fields["ClientCmd"] = if self.answered { "friend_response" } else { "friend_add" }.into();
        told.fields["Admin_Account"] = self.admin.as_str().into();
        told.fields["ForceFlag"] = u8::from(self.force).into();
    }
}

impl Effects {
    /// Of a request of `origin`, which back ends are to hear of.
    pub(crate) fn told_by(callbacks: &Arc<Callbacks>, origin: Origin, now_ms: u64) -> Self {
        let teller = Some(Teller { callbacks: callbacks.clone(), origin, now_ms });
        Self { teller, ..Self::default() }
    }

    /// Writes what back ends want to hear of `told` with what it tells of. Give the outcome to [`Self::pending`] after the transaction.
    pub(crate) fn keep(
        &self,
        tx: &mut dyn PeopleTx,
        told: &[Told],
    ) -> Result<Vec<PendingEvent>, DirectoryError> {
        let Some(Teller { callbacks, origin, now_ms }) = &self.teller else { return Ok(Vec::new()) };
        let wanted = told.iter().filter(|told| callbacks.wants(told.user.app(), told.command));
        let event = |told: &Told| {
            let origin = told.origin.unwrap_or(*origin);
            let event = Event::new(told.command, told.user.as_bytes(), origin, &told.fields);
            event.pending(told.user.app(), *now_ms)
        };
        let pending: Vec<_> = wanted.map(event).collect();
        if !pending.is_empty() {
            tx.add_events(&pending)?;
        }
        Ok(pending)
    }

    pub(crate) fn push(&mut self, user: UserKey, event: body::people_event::Event) {
        self.push_all(vec![user], event);
    }

    /// The same event for many: it is encoded once.
    pub(crate) fn push_all(&mut self, users: Vec<UserKey>, event: body::people_event::Event) {
        self.events.push((users, body::PeopleEvent { event: Some(event) }));
    }

    /// The counters of these users have changed.
    fn relations(&mut self, heads: &BTreeMap<UserKey, RelationHead>) {
        for (user, head) in heads {
            self.push(user.clone(), body::people_event::Event::Relation(sequences(head)));
        }
    }
}

pub(crate) fn sequences(head: &RelationHead) -> body::RelationSequences {
    body::RelationSequences {
        standard: head.standard_seq,
        custom: head.custom_seq,
        blocks: head.blocks_seq,
        groups: head.groups_seq,
        applications: head.applications_seq,
    }
}

/// Why a transaction was given up.
#[derive(Debug)]
enum Stop {
    /// By a rule.
    Failure(Failure),
    /// By the engine.
    Directory(DirectoryError),
}

impl From<DirectoryError> for Stop {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Limits and switches of one App at one moment.
#[derive(Debug, Clone)]
pub struct Limits(Arc<AppSettings>);

impl std::ops::Deref for Limits {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0.config.people
    }
}

/// Rules of profiles and relations over the directory. See the module documentation.
pub struct People {
    directory: Arc<dyn Directory>,
    accounts: Arc<Accounts>,
    apps: Arc<Apps>,
    verdicts: Verdicts,
}

impl People {
    pub(crate) fn new(
        directory: Arc<dyn Directory>,
        accounts: Arc<Accounts>,
        apps: Arc<Apps>,
        cached: usize,
    ) -> Self {
        Self { directory, accounts, apps, verdicts: Verdicts::new(cached) }
    }

    /// Limits and switches of an App as they are now.
    #[must_use]
    pub fn config(&self, app: AppId) -> Limits {
        Limits(self.apps.settings(app))
    }

    fn tags(&self, app: AppId) -> Tags {
        Tags { limits: self.config(app), app }
    }

    /// One durable transaction. `area` turns what the engine says into a failure.
    fn write<T>(
        &self,
        area: Area,
        mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, Stop>,
    ) -> Result<T, Failure> {
        run(area, &mut work, &mut |work| self.directory.write_people(work))
    }

    /// The same, which only reads.
    fn read<T>(
        &self,
        area: Area,
        mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, Stop>,
    ) -> Result<T, Failure> {
        run(area, &mut work, &mut |work| self.directory.read_people(work))
    }

    /// Users by name, and what is wrong with those that are no accounts. One look-up for all.
    fn users(
        &self,
        app: AppId,
        names: &[&str],
        area: Area,
    ) -> Result<Vec<Result<UserKey, Failure>>, Failure> {
        let mut users: Vec<_> = names
            .iter()
            .map(|name| {
                UserKey::new(app, name).map_err(|error| Failure::new(area.no_account(), error.to_string()))
            })
            .collect();
        let good: Vec<UserKey> = users.iter().flatten().cloned().collect();
        let found = self.accounts.find(&good).map_err(|error| area.failure(&error))?;
        let mut known = found.accounts.iter();
        for user in &mut users {
            if user.is_ok() && known.next().is_none_or(Option::is_none) {
                *user = Err(Failure::new(area.no_account(), "there is no such account"));
            }
        }
        Ok(users)
    }

    /// Which of `names` are accounts.
    pub(crate) fn accounts_of(&self, app: AppId, names: &[&str]) -> Result<Vec<Option<UserKey>>, Failure> {
        let users = self.users(app, names, Area::Profiles)?;
        Ok(users.into_iter().map(Result::ok).collect())
    }

    /// Leases of phones, for each of `users`.
    pub(crate) fn phones(&self, users: &[UserKey]) -> Result<Vec<Vec<PhoneRow>>, Failure> {
        self.read(Area::Profiles, |tx| {
            Ok(users.iter().map(|user| tx.phones(user)).collect::<Result<_, _>>()?)
        })
    }

    /// Refuses a call for somebody who has no account.
    fn registered(&self, user: &UserKey, area: Area) -> Result<(), Failure> {
        self.users(user.app(), &[user.name()], area)?.remove(0).map(|_| ())
    }
}

/// Runs a transaction whose work may give up.
fn run<T>(
    area: Area,
    work: &mut dyn FnMut(&mut dyn PeopleTx) -> Result<T, Stop>,
    begin: &mut dyn FnMut(&mut PeopleWork<'_>) -> Result<(), DirectoryError>,
) -> Result<T, Failure> {
    let mut value = None;
    let mut refused = None;
    let done = begin(&mut |tx| {
        // It may be the second time.
        (value, refused) = (None, None);
        match work(tx) {
            Ok(result) => {
                value = Some(result);
                Ok(())
            }
            Err(Stop::Directory(error)) => Err(error),
            Err(Stop::Failure(failure)) => {
                refused = Some(failure);
                Err(DirectoryError::Abandoned)
            }
        }
    });
    match (done, value, refused) {
        (Ok(()), Some(value), _) => Ok(value),
        (_, _, Some(failure)) => Err(failure),
        (Err(error), ..) => Err(area.failure(&error)),
        (Ok(()), None, None) => {
            Err(area.failure(&DirectoryError::Engine("the transaction did not run".to_owned())))
        }
    }
}

/// Whose codes a call answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    Profiles,
    Relations,
    Conversations,
}

impl Area {
    fn no_account(self) -> u32 {
        match self {
            Self::Profiles => codes::PROFILE_NO_ACCOUNT,
            Self::Relations => codes::RELATION_NO_ACCOUNT,
            Self::Conversations => codes::CONVERSATION_BAD,
        }
    }

    fn failure(self, error: &DirectoryError) -> Failure {
        if self == Self::Relations && matches!(error, DirectoryError::Locked(_)) {
            let info = "somebody else changes the same, try again";
            return Failure::later(codes::RELATION_CONFLICT, info, CONFLICT_RETRY_MS);
        }
        tracing::error!(%error, area = ?self, "the directory failed");
        let internal = match self {
            Self::Profiles => codes::PROFILE_INTERNAL,
            Self::Relations => codes::RELATION_INTERNAL,
            Self::Conversations => codes::CONVERSATION_INTERNAL,
        };
        Failure::later(internal, "the store does not answer, try again", STORE_RETRY_MS)
    }
}

/// Refuses a call with no item or with too many.
fn check_count(count: usize, max: usize, code: u32) -> Result<(), Failure> {
    match count {
        0 => Err(Failure::new(code, "nobody is named")),
        n if n > max => Err(Failure::new(code, format!("{n} items: at most {max} in one call"))),
        _ => Ok(()),
    }
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}
