//! The link inside one process: bounded queues, no copy of a body.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, counter, describe_counter};
use nearport_wire::Lane;

use crate::queue::Sender;
use crate::{Down, Link, Received, Up, Waker};

/// Which shard's link, as the backend counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub usize);

/// Publishes of the live lane stop here, per shard: seconds of a hot room. What is older is no news.
pub const DOWN_LIVE_BYTES_MAX: usize = 8 << 20;

/// Publishes stop here, per shard. 100,000 deliveries of a 300-byte message to distinct users.
pub const DOWN_BYTES_MAX: usize = 40 << 20;

#[derive(Default)]
struct DownState {
    items: VecDeque<Down>,
    bytes: usize,
    lost: bool,
    dropped_total: u64,
    /// Nobody takes anything from it.
    closed: bool,
}

/// The way down of one shard.
///
/// At [`DOWN_BYTES_MAX`] a publish is dropped and the link is marked lost: the shard tells all its sessions to
/// sync, so the loss delays and never loses. A publish of the live lane is dropped from [`DOWN_LIVE_BYTES_MAX`] on and counted, and
/// nobody is told to sync, for nobody could get it: rooms count what was said. Everything else is answers, bounded by the requests in flight; they
/// get half as much room again, and beyond that are dropped too: the client's request times out and is repeated.
#[derive(Clone)]
pub struct DownQueue {
    state: Arc<Mutex<DownState>>,
    waker: Waker,
    live_dropped: Counter,
}

impl DownQueue {
    /// An empty queue that wakes its shard through `waker`.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        describe_counter!(
            "nearport_trunk_live_dropped_total",
            "Publishes of live rooms dropped because a shard had too much waiting."
        );
        Self { state: Arc::default(), waker, live_dropped: counter!("nearport_trunk_live_dropped_total") }
    }

    /// A queue that drops everything, in the place of one whose shard has gone.
    #[must_use]
    pub fn closed() -> Self {
        let queue = Self::new(Waker::noop());
        queue.lock().closed = true;
        queue
    }

    /// Pushes a batch in order and leaves it empty; one lock and at most one wake-up.
    pub fn push_batch(&self, batch: &mut Vec<Down>) {
        let wake = {
            let mut state = self.lock();
            if state.closed {
                return batch.clear();
            }
            let was_empty = state.items.is_empty() && !state.lost;
            for down in batch.drain(..) {
                let cost = down.cost();
                let bound = match down {
                    Down::Publish { lane: Lane::Live, .. } | Down::Share { lane: Lane::Live, .. } => {
                        if state.bytes + cost > DOWN_LIVE_BYTES_MAX {
                            self.live_dropped.increment(1);
                            state.dropped_total += 1;
                            continue;
                        }
                        DOWN_BYTES_MAX
                    }
                    Down::Publish { .. } | Down::Share { .. } => DOWN_BYTES_MAX,
                    _ => DOWN_BYTES_MAX / 2 * 3,
                };
                if state.bytes + cost > bound {
                    state.lost = true;
                    state.dropped_total += 1;
                } else {
                    state.bytes += cost;
                    state.items.push_back(down);
                }
            }
            was_empty && (!state.items.is_empty() || state.lost)
        };
        if wake {
            self.waker.wake();
        }
    }

    /// Publishes were lost before they came here: as if the queue had been full.
    pub fn mark_lost(&self) {
        self.lock().lost = true;
        self.waker.wake();
    }

    /// Moves up to `max` messages to the end of `downs`.
    pub fn recv(&self, downs: &mut Vec<Down>, max: usize) -> Received {
        let mut state = self.lock();
        let count = max.min(state.items.len());
        let mut bytes = 0;
        downs.extend(state.items.drain(..count).inspect(|down| bytes += down.cost()));
        state.bytes -= bytes;
        Received { more: !state.items.is_empty(), lost: std::mem::take(&mut state.lost), ended: false }
    }

    /// Messages dropped since the start, for metrics.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.lock().dropped_total
    }

    fn lock(&self) -> MutexGuard<'_, DownState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DownQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownQueue")
    }
}

/// A worker's queue, and what is on its way there with its cost.
type Worker = (Sender<(LinkId, Up)>, VecDeque<((LinkId, Up), usize)>);

/// A link to a backend with several workers, each with a queue of its own.
///
/// `route` says which worker a message is for; messages of one session to one worker keep their order.
pub struct LocalLink {
    id: LinkId,
    workers: Vec<Worker>,
    route: fn(&Up) -> usize,
    down: DownQueue,
    gone: Option<Gone>,
}

/// Whom to tell that a link has been dropped.
type Gone = Box<dyn FnOnce(LinkId) + Send>;

impl LocalLink {
    /// A link that sends to `workers` by `route` and receives from `down`.
    #[must_use]
    pub fn new(
        id: LinkId,
        workers: Vec<Sender<(LinkId, Up)>>,
        route: fn(&Up) -> usize,
        down: DownQueue,
    ) -> Self {
        let workers = workers.into_iter().map(|worker| (worker, VecDeque::new())).collect();
        Self { id, workers, route, down, gone: None }
    }

    /// Tells `gone` when the link is dropped, after everything that it has sent.
    #[must_use]
    pub fn telling(mut self, gone: impl FnOnce(LinkId) + Send + 'static) -> Self {
        self.gone = Some(Box::new(gone));
        self
    }
}

impl Link for LocalLink {
    fn send(&mut self, ups: &mut Vec<Up>) {
        for up in ups.drain(..) {
            let cost = up.cost();
            self.workers[(self.route)(&up)].1.push_back(((self.id, up), cost));
        }
        for (worker, batch) in &mut self.workers {
            if !batch.is_empty() {
                worker.push_batch(batch);
                ups.extend(batch.drain(..).map(|((_, up), _)| up));
            }
        }
    }

    fn recv(&mut self, downs: &mut Vec<Down>, max: usize) -> Received {
        self.down.recv(downs, max)
    }
}

impl Drop for LocalLink {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            gone(self.id);
        }
    }
}

impl fmt::Debug for LocalLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLink").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SessionId, Topic};
    use bytes::Bytes;
    use nearport_wire::{Kind, Lane};

    fn publish(bytes: usize) -> Down {
        let body = Bytes::from(vec![0; bytes]);
        Down::Publish {
            topic: Topic::from(&b"t"[..]),
            lane: Lane::Chat,
            kind: Kind::PUSH,
            id: 1,
            body,
            except: None,
        }
    }

    #[test]
    fn a_full_queue_drops_publishes_says_so_and_still_takes_answers() {
        let queue = DownQueue::new(Waker::noop());
        queue.push_batch(&mut vec![publish(DOWN_BYTES_MAX - 200), publish(200)]);
        let reply = Down::Reply {
            session: SessionId(1),
            lane: Lane::Chat,
            kind: Kind::REPLY,
            id: 2,
            body: Bytes::new(),
        };
        queue.push_batch(&mut vec![reply]);
        let mut downs = Vec::new();
        assert_eq!(queue.recv(&mut downs, 10), Received { lost: true, ..Received::default() });
        assert!(matches!(downs[..], [Down::Publish { .. }, Down::Reply { id: 2, .. }]));
        assert_eq!(queue.recv(&mut downs, 10), Received::default(), "said once");
        assert_eq!(queue.dropped_total(), 1);
    }

    #[test]
    fn live_publishes_go_first_and_nobody_is_told_to_sync_for_them() {
        let queue = DownQueue::new(Waker::noop());
        let Down::Publish { topic, kind, id, body, except, .. } = publish(1024) else { unreachable!() };
        let live = Down::Publish { topic, lane: Lane::Live, kind, id, body, except };
        queue.push_batch(&mut vec![publish(DOWN_LIVE_BYTES_MAX - 1500), live.clone(), live, publish(1)]);
        let mut downs = Vec::new();
        assert_eq!(queue.recv(&mut downs, 10), Received::default());
        assert_eq!((downs.len(), queue.dropped_total()), (3, 1));
    }
}
