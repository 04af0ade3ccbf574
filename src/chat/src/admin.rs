//! What the back end of an App calls: groups, people and messages by the rights of an administrator.
//!
//! [`Admin`] is the handle. It checks nobody: who calls it has verified that the back end may speak for the App. Directory changes
//! run on the desk's thread, between the requests of clients and in one transaction with them; messages go to the writer. Reads run on
//! the caller's thread and block it for a look into a store.
//!
//! Calls that wait for a thread give a [`Pending`]: a future that any runtime may poll. Dropping one leaves the call running.

mod accounts;
mod apps;
mod callbacks;
mod contacts;
mod files;
mod groups;
mod history_files;
mod imports;
mod messages;
mod numbers;
pub(crate) mod pending;
mod people;
mod push;
mod seen;
mod sign_in;

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_wire::code;

pub use accounts::NewAccount;
pub use apps::checked;
pub use contacts::ContactMark;
pub use groups::{
    GroupHistory, GroupList, GroupMessage, ImportMember, ImportMessage, InSlot, Joined, JoinedPage,
    JoinedQuery, ListFrom, ListedMember, MemberPage, MemberQuery, ReadCounts, RoomMember, Slot,
};
pub use history_files::HistoryFile;
pub use imports::{Bringing, Brought, Found, Historic, HistoricTo, LookedFor};
pub use messages::{
    Callbacks, ClearWith, ExtensionChange, Extensions, Import, Named, Outgoing, Roamed, Roaming,
};
pub use numbers::{AppDay, AppNumbers};
pub use pending::Pending;
pub use people::For;
pub use push::{AttrsOf, Chosen, NamesOf, Push};
pub use sign_in::{NotAdmin, SignIn};

pub use crate::directory::extensions::ExtensionRow;
pub use crate::msg_key::{BadMsgKey, MsgKey};

use crate::Clock;
use crate::callback::Origin;
use crate::downs::Downs;
use crate::key::AppId;
use crate::lately::Lately;
use crate::posts::GroupSaid;
use crate::reply::Failure;
use crate::shared::Shared;
use crate::tasks::Task;
use crate::throttle::Throttle;

/// By whose rights a back end calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The App.
    pub app: AppId,
    /// One of its administrators: tips and notices name it.
    pub admin: Arc<str>,
    /// Where it calls from; callbacks say it.
    pub peer: Option<IpAddr>,
}

impl Asker {
    pub(crate) fn origin(&self) -> Origin {
        Origin::rest(self.peer)
    }
}

/// The calls. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    shared: Shared,
    clock: Clock,
    door: Arc<Mutex<Door>>,
    seen: Arc<seen::Seen>,
    extension_rates: Arc<messages::ExtensionRates>,
    /// What must not end before the last call has.
    _holding: Option<Arc<dyn Any + Send + Sync>>,
}

/// Who may come in.
struct Door {
    throttle: Throttle,
    /// What was said in all live rooms of late, by its id.
    broadcasts: Lately<[u8; 16], GroupSaid>,
}

impl Admin {
    pub(crate) fn new(shared: Shared, clock: Clock) -> Self {
        let config = &shared.config;
        let throttle = Throttle::new(config.login_failures_max, config.login_failures_tracked);
        let door = Arc::new(Mutex::new(Door { throttle, broadcasts: Lately::default() }));
        Self { door, seen: Arc::default(), extension_rates: Arc::default(), shared, clock, _holding: None }
    }

    /// The same handle, which keeps `held` for as long as it or a call of it lives.
    #[must_use]
    pub fn holding(self, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _holding: Some(held), ..self }
    }

    /// Milliseconds since the Unix epoch, on the backend's clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the desk's thread: what changes the directory. It must wait for nothing but the stores.
    pub(crate) fn on_desk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, u64, &mut Downs) -> Result<T, Failure> + Send + 'static,
    ) -> Pending<Result<T, Failure>> {
        let (pending, done) = Pending::new();
        let work = move |shared: &Shared, now_ms: u64, out: &mut Downs| done.tell(work(shared, now_ms, out));
        match self.shared.tasks.push(vec![Task::Do(Box::new(work))]) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(busy())),
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

/// Too much is waiting, or the backend ends.
fn busy() -> Failure {
    Failure::later(code::TOO_MANY_REQUESTS, "too much is waiting, try again", 1000)
}
