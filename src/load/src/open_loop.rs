//! The part that `echo` and `chat` share: offer messages when they are due whatever the server does, watch the server
//! over the measured window, then wait until nothing is missing any more.

use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::Error;
use crate::clock::Clock;
use crate::options::Options;
use crate::pacer::Pacer;
use crate::process::Process;
use crate::progress::{Progress, REFRESH};
use crate::schedule::{Schedule, saturating_ns};
use crate::stop::Stop;

/// Time for the pacer's thread to start before the first message is due.
const LEAD: Duration = Duration::from_millis(20);

/// Where messages go.
pub(crate) trait Target {
    /// A message of client `sender` was due at `due_ns`. It must go out, now or as soon as the client takes it.
    fn offer(&self, sender: usize, due_ns: u64);

    /// Messages, from now on, that are due before this are not measured, and none that is due after `until_ns`.
    fn measure(&self, from_ns: u64, until_ns: u64);

    /// Operations done so far: acknowledgements or replies.
    fn done(&self) -> u64;

    /// Whether nothing is missing.
    fn is_settled(&self) -> bool;

    /// Notified when [`Self::is_settled`] has become true.
    fn settled(&self) -> &Notify;

    /// A few words for the progress bar.
    fn status(&self) -> String;
}

/// What the measured window saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) length: Duration,
    /// Messages that were due in it.
    pub(crate) offered: u64,
    /// Operations that were done in it.
    pub(crate) done: u64,
    /// CPU time of the server; `None` if unknown.
    pub(crate) cpu: Option<Duration>,
    /// Ended early by the user.
    pub(crate) interrupted: bool,
}

/// The surroundings of an open loop.
#[derive(Debug)]
pub(crate) struct OpenLoop<'a> {
    pub(crate) options: &'a Options,
    pub(crate) clock: Clock,
    pub(crate) process: Option<Process>,
    pub(crate) progress: &'a Progress,
}

impl OpenLoop<'_> {
    /// Offers the whole schedule to `target`, or as much as is due until the user stops it.
    ///
    /// # Errors
    /// There is no thread for the pacer.
    pub(crate) async fn offer_all(&self, target: &impl Target, stop: &mut Stop) -> Result<Window, Error> {
        let options = self.options;
        let length = options.warmup + options.duration;
        let senders = options.senders();
        let schedule = Schedule::new(options.pattern, options.total_rate(), length, senders, options.seed);
        self.progress.begin("messages", schedule.total());

        let start = Instant::now() + LEAD;
        let start_ns = self.clock.ns(start);
        let window_ns = start_ns + saturating_ns(options.warmup);
        target.measure(window_ns, start_ns.saturating_add(saturating_ns(length)));
        let mut pacer = Pacer::start(schedule, start).map_err(Error::Start)?;
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let window_start = sleep_until(self.clock.instant(window_ns).into());
        tokio::pin!(window_start);

        let (mut batch, mut scheduled, mut offered) = (Vec::new(), 0u64, 0u64);
        let mut at_start = None;
        let interrupted = loop {
            tokio::select! {
                biased;
                () = stop.asked(1) => break true,
                () = &mut window_start, if at_start.is_none() => at_start = Some(self.look(target)),
                more = pacer.take(&mut batch) => {
                    if !more {
                        break false;
                    }
                    for due in batch.drain(..) {
                        let due_ns = start_ns + due.at_ns;
                        // The runtime looks at its timers only now and then while it is busy.
                        if due_ns >= window_ns && at_start.is_none() {
                            at_start = Some(self.look(target));
                        }
                        scheduled += 1;
                        offered += u64::from(due_ns >= window_ns);
                        target.offer(due.sender, due_ns);
                    }
                }
                _ = refresh.tick() => self.progress.set(scheduled, target.status()),
            }
        };
        let end = self.look(target);
        let Some(begin) = at_start else {
            return Ok(Window { length: Duration::ZERO, offered, done: 0, cpu: None, interrupted });
        };
        let cpu = begin.cpu.zip(end.cpu).map(|(begin, end)| end.since(&begin));
        Ok(Window { length: end.at - begin.at, offered, done: end.done - begin.done, cpu, interrupted })
    }

    /// Waits until nothing is missing, the time for it is over, or the user does not want to wait.
    pub(crate) async fn drain(&self, target: &impl Target, stop: &mut Stop) {
        let deadline = sleep_until((Instant::now() + self.options.drain_timeout).into());
        tokio::pin!(deadline);
        let mut refresh = interval(REFRESH);
        loop {
            let settled = target.settled().notified();
            tokio::pin!(settled);
            settled.as_mut().enable(); // before the look, so that no change falls in between
            if target.is_settled() {
                return;
            }
            tokio::select! {
                () = settled => {}
                () = &mut deadline => return,
                () = stop.asked(2) => return,
                _ = refresh.tick() => self.progress.set(target.done(), target.status()),
            }
        }
    }

    fn look(&self, target: &impl Target) -> Look {
        Look { at: Instant::now(), done: target.done(), cpu: self.process.and_then(|process| process.cpu()) }
    }
}

struct Look {
    at: Instant,
    done: u64,
    cpu: Option<crate::process::CpuReading>,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::options::Scenario;

    /// Does every operation at once, and is settled when told so.
    #[derive(Default)]
    struct Instantly {
        offers: Mutex<Vec<(usize, u64)>>,
        window: Mutex<(u64, u64)>,
        missing: Mutex<bool>,
        settled: Notify,
    }

    impl Target for Instantly {
        fn offer(&self, sender: usize, due_ns: u64) {
            self.offers.lock().unwrap().push((sender, due_ns));
        }

        fn measure(&self, from_ns: u64, until_ns: u64) {
            *self.window.lock().unwrap() = (from_ns, until_ns);
        }

        fn done(&self) -> u64 {
            self.offers.lock().unwrap().len() as u64
        }

        fn is_settled(&self) -> bool {
            !*self.missing.lock().unwrap()
        }

        fn settled(&self) -> &Notify {
            &self.settled
        }

        fn status(&self) -> String {
            String::new()
        }
    }

    fn options() -> Options {
        let (warmup, duration) = (Duration::from_millis(20), Duration::from_millis(40));
        Options { rate: 5_000, connections: 4, warmup, duration, ..Options::new(Scenario::Chat) }
    }

    #[tokio::test]
    async fn the_window_begins_after_the_warm_up_and_nothing_is_left_out() {
        let (target, options, progress) = (Instantly::default(), options(), Progress::hidden());
        let process = Some(Process::open(std::process::id()).unwrap());
        let open_loop = OpenLoop { options: &options, clock: Clock::start(), process, progress: &progress };
        let (_hand, mut stop) = Stop::by_hand();
        let window = open_loop.offer_all(&target, &mut stop).await.unwrap();
        assert!(!window.interrupted);
        let offers = target.offers.lock().unwrap().clone();
        assert_eq!(offers.len(), 300, "rate x (warm-up + duration)");
        let (from, until) = *target.window.lock().unwrap();
        assert_eq!(until - from, 40_000_000);
        assert_eq!(
            window.offered,
            offers.iter().filter(|(_, due)| (from..until).contains(due)).count() as u64
        );
        assert!(window.offered < 300 && window.done <= 300);
        assert!(window.cpu.is_some());
        assert!(offers.iter().all(|(sender, _)| *sender < 4));
    }

    #[tokio::test]
    async fn the_first_wish_to_stop_ends_the_sending_and_the_second_the_waiting() {
        let mut options = options();
        options.duration = Duration::from_hours(1);
        options.drain_timeout = Duration::from_hours(1);
        let (target, progress) = (Instantly::default(), Progress::hidden());
        *target.missing.lock().unwrap() = true;
        let open_loop =
            OpenLoop { options: &options, clock: Clock::start(), process: None, progress: &progress };
        let (hand, mut stop) = Stop::by_hand();
        hand.send_replace(1);
        let window = open_loop.offer_all(&target, &mut stop).await.unwrap();
        assert!(window.interrupted);
        assert!(window.cpu.is_none());
        hand.send_replace(2);
        open_loop.drain(&target, &mut stop).await;
    }

    #[tokio::test]
    async fn draining_ends_with_the_last_missing_message() {
        let mut options = options();
        options.drain_timeout = Duration::from_hours(1);
        let (target, progress) = (Instantly::default(), Progress::hidden());
        *target.missing.lock().unwrap() = true;
        let open_loop =
            OpenLoop { options: &options, clock: Clock::start(), process: None, progress: &progress };
        let (_hand, mut stop) = Stop::by_hand();
        let last_message = async {
            tokio::task::yield_now().await;
            *target.missing.lock().unwrap() = false;
            target.settled.notify_waiters();
        };
        tokio::join!(open_loop.drain(&target, &mut stop), last_message);
    }
}
