//! What the cores send down, collected per link.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearport_trunk::local::{DownQueue, LinkId};
use nearport_trunk::{Down, Sharing};

/// Collected bytes after which [`Downs::push`] flushes by itself: a batch of page requests would otherwise hold
/// its answers twice over.
const COLLECTED_BYTES_MAX: usize = 1 << 20;

/// Places that stay empty after their link has gone: what is still under way for it then reaches nobody.
const PLACES_EMPTY: usize = 64;

/// The ways down of all links, each at the place that is its id. Cheap to clone; clones share the list.
///
/// A link that has gone leaves its place to a later one: edges come and go for as long as the process lives.
#[derive(Debug, Clone, Default)]
pub struct Links(Arc<Places>);

#[derive(Debug, Default)]
struct Places {
    state: Mutex<State>,
    /// Counts the changes.
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queues: Vec<DownQueue>,
    /// Beside each: whose edge hands on what is for several of its shards.
    sharing: Vec<Option<Sharing>>,
    empty: VecDeque<LinkId>,
}

impl Links {
    /// Adds a link and gives it its id.
    #[must_use]
    pub fn add(&self, down: DownQueue) -> LinkId {
        self.place(down, None)
    }

    /// Adds a link whose edge hands on what is for several of its shards.
    #[must_use]
    pub fn add_sharing(&self, down: DownQueue, sharing: Sharing) -> LinkId {
        self.place(down, Some(sharing))
    }

    /// What is known of the edge of a link.
    #[must_use]
    pub fn sharing(&self, id: LinkId) -> Option<Sharing> {
        self.lock().sharing.get(id.0).copied().flatten()
    }

    fn place(&self, down: DownQueue, sharing: Option<Sharing>) -> LinkId {
        let mut state = self.lock();
        let id = match state.empty.len() > PLACES_EMPTY {
            true => state.empty.pop_front(),
            false => None,
        };
        let id = match id {
            Some(id) => {
                state.queues[id.0] = down;
                state.sharing[id.0] = sharing;
                id
            }
            None => {
                state.queues.push(down);
                state.sharing.push(sharing);
                LinkId(state.queues.len() - 1)
            }
        };
        self.0.version.fetch_add(1, Ordering::Release);
        id
    }

    /// The link has gone; the backend has been told that its sessions have, too.
    pub fn remove(&self, id: LinkId) {
        let mut state = self.lock();
        // Takes what is still sent and drops it.
        state.queues[id.0] = DownQueue::closed();
        state.sharing[id.0] = None;
        state.empty.push_back(id);
        self.0.version.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages on their way down, per link and in order. One push to a link's queue per flush: one lock, one wake-up.
pub struct Downs {
    links: Links,
    /// What of them is known here.
    version: u64,
    collected: Vec<(DownQueue, Vec<Down>)>,
    bytes: usize,
}

impl Downs {
    /// Collects for `links`, those opened later included.
    #[must_use]
    pub fn new(links: Links) -> Self {
        Self { links, version: 0, collected: Vec::new(), bytes: 0 }
    }

    /// Adds a message for `link`. Order is kept per link. A link that does not exist gets nothing.
    pub fn push(&mut self, link: LinkId, down: Down) {
        if self.links.0.version.load(Ordering::Acquire) != self.version {
            self.flush();
            let state = self.links.lock();
            // Read under the lock: a change after this is seen the next time.
            self.version = self.links.0.version.load(Ordering::Acquire);
            self.collected.clear();
            self.collected.extend(state.queues.iter().map(|queue| (queue.clone(), Vec::new())));
        }
        let Some((_, batch)) = self.collected.get_mut(link.0) else { return };
        self.bytes += down.cost();
        batch.push(down);
        if self.bytes > COLLECTED_BYTES_MAX {
            self.flush();
        }
    }

    /// Hands everything to the links' queues.
    pub fn flush(&mut self) {
        self.bytes = 0;
        for (queue, batch) in &mut self.collected {
            if !batch.is_empty() {
                queue.push_batch(batch);
            }
        }
    }
}

impl fmt::Debug for Downs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Downs").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
