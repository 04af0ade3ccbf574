//! Whether a path loses so much that small messages are worth sending twice. Pure.
//!
//! Packets count less the older they are: after [`HALF_LIFE`] further ones, half. A path with 2 % of loss is found
//! within its first hundred packets, a single loss is forgotten after two hundred good ones.

use crate::link::Packets;

/// Packets after which one counts half.
const HALF_LIFE: f64 = 128.0;

/// Share of lost packets from which a path is lossy, and below which it is not any more.
const LOSSY_FROM: f64 = 0.01;
const GOOD_BELOW: f64 = 0.005;

/// What is known of one path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loss {
    last: Packets,
    sent: f64,
    lost: f64,
    lossy: bool,
}

impl Loss {
    /// A path that was lossy, or not, at the last visit.
    pub(crate) fn new(lossy: bool) -> Self {
        Self { lossy, ..Self::default() }
    }

    pub(crate) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Takes the connection's totals. Losses show a round trip late; it evens out.
    pub(crate) fn sample(&mut self, now: Packets) {
        #[expect(clippy::cast_precision_loss, reason = "packets between two samples")]
        let since = |now: u64, last: u64| now.saturating_sub(last) as f64;
        let (sent, lost) = (since(now.sent, self.last.sent), since(now.lost, self.last.lost));
        self.last = now;
        let fade = 0.5f64.powf(sent / HALF_LIFE);
        self.sent = self.sent * fade + sent;
        self.lost = self.lost * fade + lost;
        let share = if self.sent > 0.0 { self.lost / self.sent } else { 0.0 };
        self.lossy = match self.lossy {
            // What the last visit said holds until this one says something.
            true => share >= GOOD_BELOW || self.sent < HALF_LIFE / 2.0,
            false => share >= LOSSY_FROM && self.lost >= 0.9,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples every ten packets; returns after how many the path was first lossy, and the share of samples in which it was.
    fn run(loss: &mut Loss, packets: u64, lost: impl Fn(u64) -> bool) -> (Option<u64>, f64) {
        let (mut total, mut first, mut lossy, mut samples) = (Packets::default(), None, 0.0, 0.0);
        for packet in 1..=packets {
            total.sent += 1;
            total.lost += u64::from(lost(packet));
            if packet.is_multiple_of(10) {
                loss.sample(total);
                samples += 1.0;
                if loss.is_lossy() {
                    first.get_or_insert(packet);
                    lossy += 1.0;
                }
            }
        }
        (first, lossy / samples)
    }

    #[test]
    fn a_bad_path_is_found_soon_and_a_good_one_is_left_alone() {
        assert_eq!(run(&mut Loss::default(), 10_000, |_| false), (None, 0.0));
        let (first, share) = run(&mut Loss::default(), 10_000, |packet| packet.is_multiple_of(50));
        assert!(first.unwrap() <= 100 && share > 0.95, "2 %: {first:?} {share}");
        let (_, share) = run(&mut Loss::default(), 10_000, |packet| packet % 1000 == 500);
        assert!(share < 0.35, "0.1 %: {share}");
        let (first, share) = run(&mut Loss::default(), 10_000, |packet| packet % 100 < 10);
        assert!(first.unwrap() <= 20 && share > 0.95, "bursts: {first:?} {share}");
    }

    #[test]
    fn the_last_visit_counts_until_this_one_says_something() {
        let mut loss = Loss::new(true);
        assert!(loss.is_lossy());
        loss.sample(Packets { sent: 20, ..Packets::default() });
        assert!(loss.is_lossy());
        loss.sample(Packets { sent: 90, ..Packets::default() });
        assert!(!loss.is_lossy());
    }

    #[test]
    fn totals_that_start_again_do_no_harm() {
        let mut loss = Loss::default();
        loss.sample(Packets { sent: 1000, ..Packets::default() });
        loss.sample(Packets { sent: 3, ..Packets::default() });
        assert!(!loss.is_lossy() && loss.sent.is_finite());
    }
}
