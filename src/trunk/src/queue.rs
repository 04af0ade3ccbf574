//! A bounded queue between threads that moves batches: one lock per batch on either side, not per message.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bounds of a queue. A push that would pass either is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Most items.
    pub items: usize,
    /// Most bytes, as the pushers count them.
    pub bytes: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    senders: usize,
    closed: bool,
    waiting: bool,
    nudged: bool,
}

impl<T> State<T> {
    /// Nothing more can arrive.
    fn ended(&self) -> bool {
        self.closed || self.senders == 0
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    bound: Bound,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // The state is valid after every statement, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pushing end; clone it for every producer.
pub struct Sender<T>(Arc<Shared<T>>);

/// The draining end.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A queue within `bound`.
#[must_use]
pub fn bounded<T>(bound: Bound) -> (Sender<T>, Receiver<T>) {
    let state =
        State { items: VecDeque::new(), bytes: 0, senders: 1, closed: false, waiting: false, nudged: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), filled: Condvar::new(), bound });
    (Sender(shared.clone()), Receiver(shared))
}

impl<T> Sender<T> {
    /// Pushes items of known cost, in order, up to the first one that does not fit. What did not fit stays in
    /// `items`; after [`Self::close`], or once the receiver is gone, nothing fits.
    pub fn push_batch(&self, items: &mut VecDeque<(T, usize)>) {
        let wake = {
            let mut state = self.0.lock();
            while let Some((_, cost)) = items.front() {
                if state.closed
                    || state.items.len() >= self.0.bound.items
                    || state.bytes + cost > self.0.bound.bytes
                {
                    break;
                }
                state.bytes += cost;
                state.items.extend(items.pop_front());
            }
            !state.items.is_empty() && std::mem::take(&mut state.waiting)
        };
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Refuses every later push, by whatever sender. The receiver gets what is left and then [`Waited::Closed`].
    pub fn close(&self) {
        self.0.lock().closed = true;
        self.0.filled.notify_all();
    }

    /// Ends the receiver's present or next [`Receiver::wait`] or wait for readiness, although nothing was pushed.
    pub fn nudge(&self) {
        let wake = {
            let mut state = self.0.lock();
            state.nudged = true;
            std::mem::take(&mut state.waiting)
        };
        // A wake-up costs a system call, also where nobody sleeps.
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Items waiting now, for metrics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().items.len()
    }

    /// Whether nothing is waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        if state.senders == 0 {
            drop(state);
            self.0.filled.notify_all();
        }
    }
}

/// Why [`Receiver::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// Items were moved.
    Items,
    /// Nothing came within the time.
    Timeout,
    /// The queue is closed or every sender is gone, and nothing is left.
    Closed,
}

impl<T> Receiver<T> {
    /// Moves up to `max` items to the end of `out` without waiting.
    pub fn drain(&self, out: &mut Vec<T>, max: usize) -> usize {
        take(&mut self.0.lock(), out, max)
    }

    /// Waits until something is there, or a nudge, and leaves it there.
    pub(crate) fn wait_ready(&self, timeout: Duration) -> Waited {
        let mut state = self.ready(timeout);
        match std::mem::take(&mut state.nudged) || !state.items.is_empty() {
            true => Waited::Items,
            false if state.ended() => Waited::Closed,
            false => Waited::Timeout,
        }
    }

    /// Waits until something is there, then moves up to `max` items to the end of `out`.
    pub fn wait(&self, out: &mut Vec<T>, max: usize, timeout: Duration) -> Waited {
        let mut state = self.ready(timeout);
        state.nudged = false;
        match take(&mut state, out, max) {
            0 if state.ended() => Waited::Closed,
            0 => Waited::Timeout,
            _ => Waited::Items,
        }
    }

    fn ready(&self, timeout: Duration) -> MutexGuard<'_, State<T>> {
        let idle = |state: &mut State<T>| state.items.is_empty() && !state.ended() && !state.nudged;
        let mut state = self.0.lock();
        if idle(&mut state) {
            state.waiting = true;
            let waited = self.0.filled.wait_timeout_while(state, timeout, idle);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waiting = false;
        }
        state
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Nobody drains any more: a push must fail at once instead of filling the queue first.
        let mut state = self.0.lock();
        state.closed = true;
        state.bytes = 0;
        let left = std::mem::take(&mut state.items);
        drop(state);
        drop(left);
    }
}

fn take<T>(state: &mut State<T>, out: &mut Vec<T>, max: usize) -> usize {
    let count = max.min(state.items.len());
    let mut bytes = 0;
    out.extend(state.items.drain(..count).map(|(item, cost)| {
        bytes += cost;
        item
    }));
    state.bytes -= bytes;
    count
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("bound", &self.0.bound).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("bound", &self.0.bound).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_bound_refuses_and_nothing_is_lost_or_reordered() {
        let (sender, receiver) = bounded(Bound { items: 3, bytes: 100 });
        let mut batch: VecDeque<_> = [(1, 60), (2, 50), (3, 1)].into();
        sender.push_batch(&mut batch);
        assert_eq!(
            batch,
            [(2, 50), (3, 1)],
            "the second passes the byte bound, the third must not overtake it"
        );
        let mut got = Vec::new();
        receiver.drain(&mut got, 10);
        sender.push_batch(&mut batch);
        batch.extend([(4, 1), (5, 1)]);
        sender.push_batch(&mut batch);
        assert_eq!(batch, [(5, 1)], "three items are the bound");
        receiver.drain(&mut got, 10);
        assert_eq!(got, [1, 2, 3, 4]);
    }

    #[test]
    fn a_closed_queue_gives_what_is_left_and_refuses_the_rest() {
        let (sender, receiver) = bounded(Bound { items: 3, bytes: 100 });
        sender.push_batch(&mut [(1, 1)].into());
        sender.close();
        let mut late: VecDeque<_> = [(2, 1)].into();
        sender.clone().push_batch(&mut late);
        assert_eq!(late, [(2, 1)]);
        let mut got = Vec::new();
        assert_eq!(receiver.wait(&mut got, 10, Duration::from_secs(60)), Waited::Items);
        assert_eq!(receiver.wait(&mut got, 10, Duration::from_secs(60)), Waited::Closed);
        assert_eq!(got, [1]);
    }

    #[test]
    fn a_nudge_ends_one_wait() {
        let (sender, receiver) = bounded::<u32>(Bound { items: 3, bytes: 100 });
        sender.nudge();
        let mut got = Vec::new();
        assert_eq!(receiver.wait(&mut got, 10, Duration::from_secs(60)), Waited::Timeout, "at once");
        assert_eq!(receiver.wait(&mut got, 10, Duration::ZERO), Waited::Timeout);
        sender.push_batch(&mut [(1, 1)].into());
        assert_eq!(receiver.wait(&mut got, 10, Duration::from_secs(60)), Waited::Items);
    }

    #[test]
    fn without_a_receiver_nothing_is_taken() {
        let (sender, receiver) = bounded(Bound { items: 3, bytes: 100 });
        sender.push_batch(&mut [(1, 1)].into());
        drop(receiver);
        let mut late: VecDeque<_> = [(2, 1)].into();
        sender.push_batch(&mut late);
        assert_eq!((late.len(), sender.len()), (1, 0));
    }

    #[test]
    fn a_waiting_receiver_sees_every_item_and_then_the_end() {
        let (sender, receiver) = bounded(Bound { items: 8, bytes: 1000 });
        let producer = std::thread::spawn(move || {
            for item in 0..1000 {
                let mut batch: VecDeque<_> = [(item, 1)].into();
                while !batch.is_empty() {
                    sender.push_batch(&mut batch);
                    std::thread::yield_now();
                }
            }
        });
        let mut got = Vec::new();
        while receiver.wait(&mut got, 5, Duration::from_secs(60)) == Waited::Items {}
        producer.join().unwrap();
        assert_eq!(got, (0..1000).collect::<Vec<_>>());
    }
}
