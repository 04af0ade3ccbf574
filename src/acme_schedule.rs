//! When to order, and when to try again. No clock and no dice in here.

use std::time::{Duration, SystemTime};

/// First wait after a failure. Directories count failed validations: five in an hour is a common limit for one name,
/// and waits of 1, 3, 9 and 27 minutes stay below it.
const FIRST_WAIT: Duration = Duration::from_mins(1);
const WAIT_FACTOR: u32 = 3;
/// Often enough for a certificate that lives for six days and has two of them left.
const LONGEST_WAIT: Duration = Duration::from_hours(6);
/// A directory may ask for more patience than that, within reason.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// When a certificate is due for renewal: after two thirds of its life, and up to a twentieth of it later, so that nodes
/// which were set up together do not come together. `dice` is 0 to 1, always the same for one certificate.
pub(crate) fn renewal(not_before: SystemTime, not_after: SystemTime, dice: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life * 2 / 3 + (life / 20).mul_f64(dice.clamp(0.0, 1.0))
}

/// How long to wait after that many failures in a row (at least one). `retry_after` is what the directory asks for.
/// `dice` is 0 to 1, different each time: nodes that failed together must not come back together.
pub(crate) fn wait(failures: u32, retry_after: Option<Duration>, dice: f64) -> Duration {
    let steps = failures.saturating_sub(1).min(12);
    let wait = FIRST_WAIT.saturating_mul(WAIT_FACTOR.saturating_pow(steps)).min(LONGEST_WAIT);
    let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    wait.max(asked) + wait.mul_f64(dice.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn renewal_is_at_two_thirds_and_a_little_later() {
        let start = SystemTime::now();
        assert_eq!(renewal(start, start + 90 * DAY, 0.0), start + 60 * DAY);
        assert_eq!(renewal(start, start + 90 * DAY, 1.0), start + 60 * DAY + 90 * DAY / 20);
        assert_eq!(renewal(start, start + 6 * DAY, 0.0), start + 4 * DAY);
        assert_eq!(renewal(start, start - DAY, 0.5), start, "no life at all");
    }

    #[test]
    fn waits_grow_to_a_cap_and_heed_the_directory() {
        let minutes = |failures| wait(failures, None, 0.0).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5, 6, 7, u32::MAX].map(minutes), [1, 3, 9, 27, 81, 243, 360, 360]);
        assert_eq!(wait(1, None, 1.0), MINUTE * 5 / 4);
        assert_eq!(wait(1, Some(10 * MINUTE), 0.0), 10 * MINUTE);
        assert_eq!(wait(3, Some(MINUTE), 0.0), 9 * MINUTE, "no sooner than without");
        assert_eq!(wait(1, Some(1000 * DAY), 0.0), DAY);
    }

    proptest::proptest! {
        #[test]
        fn a_wait_is_never_short_and_never_endless(failures: u32, asked: Option<u32>, dice: f64) {
            let asked = asked.map(|s| Duration::from_secs(s.into()));
            let wait = wait(failures, asked, if dice.is_nan() { 0.0 } else { dice });
            proptest::prop_assert!((MINUTE..=LONGEST_RETRY_AFTER + LONGEST_WAIT / 4).contains(&wait));
        }
    }
}
