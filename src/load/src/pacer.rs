//! Lets a schedule happen: a thread that waits for each due time and passes the message on.
//!
//! tokio's timer has a resolution of one millisecond, which would add half of it to every latency; a waiting thread
//! wakes within the kernel's timer slack (50 µs). When the thread or its reader is late, the message is passed on at
//! once with the time at which it was due: delay is measured, never hidden by sending less.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::schedule::{Due, Schedule};

/// Messages that may be due and not yet taken. When it is full the thread waits; due times do not change.
const QUEUE: usize = 4096;

/// A running schedule. Ends, and its thread with it, when dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    dues: mpsc::Receiver<Due>,
    /// Never used: its end tells the thread to stop.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Starts `schedule` at `start`.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(schedule: Schedule, start: Instant) -> io::Result<Self> {
        let (sender, dues) = mpsc::channel(QUEUE);
        let (stop, stopped) = sync_channel(0);
        let thread = thread::Builder::new()
            .name("load-pacer".to_owned())
            .spawn(move || pace(schedule, start, &sender, &stopped))?;
        Ok(Self { dues, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits for messages that are due and appends them to `batch`. `false`: the schedule is over, to the end of its
    /// last interval. Cancel safe: what is not returned stays queued.
    pub(crate) async fn take(&mut self, batch: &mut Vec<Due>) -> bool {
        self.dues.recv_many(batch, QUEUE).await > 0
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.dues.close();
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, which has printed its message.
            let _ = thread.join();
        }
    }
}

fn pace(schedule: Schedule, start: Instant, dues: &mpsc::Sender<Due>, stop: &Receiver<()>) {
    let end = start + schedule.length();
    for due in schedule {
        if !wait_until(start + Duration::from_nanos(due.at_ns), stop) || dues.blocking_send(due).is_err() {
            return;
        }
    }
    wait_until(end, stop);
}

/// `false` if told to stop.
fn wait_until(due: Instant, stop: &Receiver<()>) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return true;
        }
        if stop.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Pattern;

    #[tokio::test]
    async fn everything_due_comes_in_order_and_not_before_its_time() {
        let start = Instant::now();
        let schedule = || Schedule::new(Pattern::Poisson, 20_000, Duration::from_millis(50), 3, 1);
        let mut pacer = Pacer::start(schedule(), start).unwrap();
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        while pacer.take(&mut batch).await {
            let now = start.elapsed();
            assert!(batch.iter().all(|due| Duration::from_nanos(due.at_ns) <= now));
            all.append(&mut batch);
        }
        assert!(start.elapsed() >= Duration::from_millis(50), "it ends with its last interval");
        assert!(all.into_iter().eq(schedule()));
    }

    #[tokio::test]
    async fn dropping_it_ends_a_thread_that_waits_for_years() {
        let schedule = || Schedule::new(Pattern::Fixed, 1, Duration::from_hours(10_000), 1, 1);
        let mut begun = Pacer::start(schedule(), Instant::now()).unwrap();
        assert!(begun.take(&mut Vec::new()).await);
        drop(begun); // joins the thread: a test that hangs here is the failure
        drop(Pacer::start(schedule(), Instant::now() + Duration::from_hours(10_000)).unwrap());
    }
}
