//! The links of one edge process with each other: what the core has for several of its shards crosses the trunk once.
//!
//! A message for several shards ([`Down::Share`]) comes by one link, and that link's reader puts it into the queues of the others too.
//! Links are not ordered among each other, so what is shared may overtake a join that came by another link, and is then missed: it is for
//! what may be missed, live rooms, whose frames count what was said.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Down;
use crate::local::DownQueue;

/// Shards of a process at most.
const SHARDS_MAX: usize = 32;

/// The ways down of all shards that are linked.
#[derive(Debug, Default)]
pub(crate) struct Siblings(Mutex<[Option<DownQueue>; SHARDS_MAX]>);

/// The place of one link among its siblings.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) siblings: std::sync::Arc<Siblings>,
    pub(crate) shard: u8,
    /// Of the trunk, as both sides have agreed.
    pub(crate) version: u16,
}

impl Siblings {
    /// The shard has a link with this queue from here on; one that it had before has ended.
    pub(crate) fn sit(&self, shard: u8, queue: DownQueue) {
        if let Some(place) = self.lock().get_mut(usize::from(shard)) {
            *place = Some(queue);
        }
    }

    /// Hands on what came by the link of shard `own`, for all of `shared` but itself. Each item says for which shards it is, a bit for each.
    /// A queue that is full drops it, as it would what came by its own link.
    pub(crate) fn share(&self, own: u8, shared: &[(u32, Down)]) {
        for shard in 0..SHARDS_MAX {
            let is_for = |mask: u32| mask >> shard & 1 == 1 && shard != usize::from(own);
            let mut batch: Vec<_> =
                shared.iter().filter(|(mask, _)| is_for(*mask)).map(|(_, down)| down.clone()).collect();
            if batch.is_empty() {
                continue;
            }
            // Not held while the shard is woken.
            let queue = self.lock()[shard].clone();
            if let Some(queue) = queue {
                queue.push_batch(&mut batch);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Option<DownQueue>; SHARDS_MAX]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
