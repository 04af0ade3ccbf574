//! What the cores share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_trunk::Down;
use nearport_wire::close::CloseCode;

use crate::account::Accounts;
use crate::admin::Admin;
use crate::apps::{AppSettings, Apps};
use crate::audit::log::AuditLog;
use crate::callback::{Callbacks, Command};
use crate::desk::group::told::member_state;
use crate::directory::{Directory, DirectoryError};
use crate::downs::{Downs, Links};
use crate::group::{Groups, Rules};
use crate::key::{AppId, GroupKey, UserKey};
use crate::ledger::Ledger;
use crate::media::{MediaSigner, Signer};
use crate::metrics::Metrics;
use crate::numbers::Numbers;
use crate::people::{People, Watching};
use crate::posts::{Posts, SharedPosts};
use crate::pushes::Pushes;
use crate::registry::{Registry, Removed};
use crate::room::Rooms;
use crate::tasks::Tasks;
use crate::{Clock, Config, Error};

/// What [`Front`](crate::front::Front), [`Desk`](crate::desk::Desk) and [`Writer`](crate::writer::Writer) share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) links: Links,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) config: Arc<Config>,
    pub(crate) posts: SharedPosts,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) people: Arc<People>,
    pub(crate) watching: Arc<Watching>,
    pub(crate) media: Signer,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) pushes: Arc<Pushes>,
    pub(crate) numbers: Arc<Numbers>,
    registry: Arc<Mutex<Registry>>,
}

impl Shared {
    /// A backend without sessions.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(
        ledger: Arc<dyn Ledger>,
        directory: Arc<dyn Directory>,
        config: Config,
    ) -> Result<Self, Error> {
        config.check()?;
        let rules =
            Rules::new(config.groups.clone()).map_err(|(key, why)| Error::Config(format!("{key}: {why}")))?;
        let groups = Groups::new(directory.clone(), ledger.clone(), rules);
        let metrics = Arc::new(Metrics::new());
        let accounts = Accounts::new(directory.clone(), config.accounts_cached, metrics.clone());
        let accounts = Arc::new(accounts);
        let apps = Arc::new(Apps::new(directory.clone(), &config, metrics.clone()));
        let audit = Arc::new(AuditLog::new(directory.clone(), config.audit.clone()));
        let people = People::new(directory.clone(), accounts.clone(), apps.clone(), config.people.cached);
        let links = Links::default();
        let numbers = Arc::new(Numbers::new(directory.clone()));
        Ok(Self {
            ledger,
            directory,
            accounts,
            apps,
            audit,
            rooms: Arc::new(Rooms::new(links.clone())),
            links,
            metrics,
            config: Arc::new(config),
            posts: Arc::default(),
            tasks: Arc::default(),
            groups: Arc::new(groups),
            people: Arc::new(people),
            watching: Arc::default(),
            media: Arc::default(),
            callbacks: Arc::new(Callbacks::counted_by(numbers.clone())),
            pushes: Arc::default(),
            numbers,
            registry: Arc::default(),
        })
    }

    /// The links that answers go to. A simulator adds its own.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What holds for an App now.
    #[must_use]
    pub fn settings(&self, app: AppId) -> Arc<AppSettings> {
        self.apps.settings(app)
    }

    /// The Apps.
    #[must_use]
    pub fn apps(&self) -> &Apps {
        &self.apps
    }

    /// Profiles and relations.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// What back ends hear of, and decide.
    #[must_use]
    pub fn callbacks(&self) -> &Arc<Callbacks> {
        &self.callbacks
    }

    /// Messages of other users to a user that are unread, over all pairs. Blocks for some looks into the stores; `None`: they cannot
    /// be read, or it is no name.
    #[must_use]
    pub fn unread_of_pairs(&self, app: AppId, name: &str, now_ms: u64) -> Option<u64> {
        let user = UserKey::new(app, name).ok()?;
        crate::desk::people::conversations::unread_of_pairs(self, &user, now_ms).ok()
    }

    /// The type of a group, and whether it is a live room; nothing if it cannot be found.
    pub(crate) fn kind_of(&self, group: &GroupKey) -> (String, bool) {
        let found = self.groups.find_home(group).ok().flatten();
        found.map_or_else(Default::default, |group| {
            let group = group.read().unwrap_or_else(PoisonError::into_inner);
            (group.kind().name.to_owned(), !group.kind().stored_members)
        })
    }

    /// All Apps, as they were read last: within a second.
    #[must_use]
    pub fn app_ids(&self) -> Vec<AppId> {
        self.apps.ids()
    }

    /// Messages for the writer from elsewhere.
    #[must_use]
    pub fn posts(&self) -> &Posts {
        &self.posts
    }

    /// What the back end of an App calls. Whoever runs the cores without threads of their own takes turns of desk and writer.
    #[must_use]
    pub fn admin(&self, clock: Clock) -> Admin {
        Admin::new(self.clone(), clock)
    }

    /// Media calls are answered by `signer` from now on. The first one stays.
    pub fn serve_media(&self, signer: Arc<dyn MediaSigner>) {
        let _ = self.media.set(signer);
    }

    /// Adds what was counted to the numbers of days: the thread does so every ten seconds. Blocks.
    ///
    /// # Errors
    /// [`DirectoryError`] of the engine; then it is added later.
    pub fn write_numbers(&self, now_ms: u64) -> Result<(), DirectoryError> {
        let new_day = self.numbers.is_new_day(now_ms);
        let (online, here) = {
            let mut registry = self.registry();
            (registry.take_online(), if new_day { registry.here() } else { Vec::new() })
        };
        self.numbers.here(&here, now_ms);
        self.numbers.write(&online, now_ms)
    }

    /// Looks after live rooms: what is due in them, and sessions that have ended. Call it every 250 ms.
    pub fn turn_rooms(&self, now_ms: u64, out: &mut Downs) {
        let departed = self.registry().take_departed();
        for (room, users) in self.rooms.turn(departed, now_ms, out) {
            if self.callbacks.wants(room.app(), Command::MemberStateChange) {
                let event = member_state(&room, false, &users);
                self.callbacks.tell(room.app(), &event, now_ms);
            }
        }
    }

    /// Locks the registry. Held for look-ups and pushes to link queues only, never across a read or a commit.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the client of a session that was taken out of the registry. Call it with the registry still locked,
    /// and flush before unlocking: else the `Accept` of another thread may pass this message.
    pub(crate) fn kick(&self, removed: &Removed, reason: &str, out: &mut Downs) {
        self.metrics.kicks.increment(1);
        let (session, code, reason) = (removed.id, CloseCode::KICKED, reason.to_owned());
        let down = if removed.accepted {
            Down::Kick { session, code, reason }
        } else {
            self.metrics.login(Some(code));
            Down::Reject { session, code, reason, retry_after_ms: 0 }
        };
        out.push(removed.link, down);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("ledger", &self.ledger)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
