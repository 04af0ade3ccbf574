//! What the cores send down, collected per link.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use nearport_trunk::Down;
use nearport_trunk::local::{DownQueue, LinkId};

/// Collected bytes after which [`Downs::push`] flushes by itself: a batch of page requests would otherwise hold
/// its answers twice over.
const COLLECTED_BYTES_MAX: usize = 1 << 20;

/// The ways down of all links, in the order in which they were opened. Cheap to clone; clones share the list.
///
/// It grows by one entry per shard that ever opened a link.
#[derive(Debug, Clone, Default)]
pub struct Links(Arc<Mutex<Vec<DownQueue>>>);

impl Links {
    /// Adds a link and gives it its id.
    #[must_use]
    pub fn add(&self, down: DownQueue) -> LinkId {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.push(down);
        LinkId(links.len() - 1)
    }
}

/// Messages on their way down, per link and in order. One push to a link's queue per flush: one lock, one wake-up.
pub struct Downs {
    links: Links,
    collected: Vec<(DownQueue, Vec<Down>)>,
    bytes: usize,
}

impl Downs {
    /// Collects for `links`, those opened later included.
    #[must_use]
    pub fn new(links: Links) -> Self {
        Self { links, collected: Vec::new(), bytes: 0 }
    }

    /// Adds a message for `link`. Order is kept per link. A link that does not exist gets nothing.
    pub fn push(&mut self, link: LinkId, down: Down) {
        if link.0 >= self.collected.len() {
            let links = self.links.0.lock().unwrap_or_else(PoisonError::into_inner);
            let new = links.iter().skip(self.collected.len());
            self.collected.extend(new.map(|queue| (queue.clone(), Vec::new())));
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
