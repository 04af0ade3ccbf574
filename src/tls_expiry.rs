//! How near the end of a certificate is, and how often that is said.

use std::time::{Duration, SystemTime};

use crate::tls_pem::Certificate;

const DAY: Duration = Duration::from_hours(24);

/// How much hurry there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Renewal should have happened by now.
    Soon,
    /// There are days left.
    Now,
    /// Clients refuse it.
    Ended,
}

/// `None`: nothing to do. Two weeks and three days before the end of a certificate that lives for two months or more;
/// of a shorter life the last quarter and the last twelfth, so that certificates of some days are not always urgent.
pub(crate) fn urgency(certificate: &Certificate, now: SystemTime) -> Option<Urgency> {
    let life = certificate.not_after.duration_since(certificate.not_before).unwrap_or_default();
    let left = certificate.left(now);
    if left.is_zero() {
        Some(Urgency::Ended)
    } else if left < (3 * DAY).min(life / 12) {
        Some(Urgency::Now)
    } else if left < (14 * DAY).min(life / 4) {
        Some(Urgency::Soon)
    } else {
        None
    }
}

/// Says it once a day, and at once when it becomes worse.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reminder(Option<(Urgency, SystemTime)>);

impl Reminder {
    /// Whether it is time to say it.
    pub(crate) fn due(&mut self, urgency: Option<Urgency>, now: SystemTime) -> Option<Urgency> {
        let Some(urgency) = urgency else {
            self.0 = None;
            return None;
        };
        // A clock that was set back makes the last time lie ahead, which counts as long ago.
        let recent = |at: SystemTime| now.duration_since(at).is_ok_and(|since| since < DAY);
        if self.0.is_some_and(|(before, at)| before >= urgency && recent(at)) {
            return None;
        }
        self.0 = Some((urgency, now));
        Some(urgency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls_testing::{Made, days};

    #[test]
    fn the_hurry_grows_towards_the_end() {
        let start = SystemTime::now();
        let hours = Duration::from_hours;
        // Life, then the time left at which each step begins.
        for (life, soon, last) in
            [(days(90), days(14), days(3)), (days(365), days(14), days(3)), (days(6), hours(36), hours(12))]
        {
            let certificate = Made::with_life(&["a.test"], start, life).certificate();
            let end = certificate.not_after;
            let at = |left: Duration| urgency(&certificate, end - left);
            let minute = Duration::from_mins(1);
            assert_eq!(at(life), None);
            assert_eq!((at(soon + minute), at(soon - minute)), (None, Some(Urgency::Soon)), "{life:?}");
            assert_eq!(
                (at(last + minute), at(last - minute)),
                (Some(Urgency::Soon), Some(Urgency::Now)),
                "{life:?}"
            );
            assert_eq!((at(minute), at(Duration::ZERO)), (Some(Urgency::Now), Some(Urgency::Ended)));
            assert_eq!(urgency(&certificate, end + days(1)), Some(Urgency::Ended));
        }
    }

    #[test]
    fn it_is_said_once_a_day_and_when_it_becomes_worse() {
        let mut reminder = Reminder::default();
        let start = SystemTime::now();
        let mut said = |urgency, hours| reminder.due(urgency, start + Duration::from_hours(hours)).is_some();
        assert!(!said(None, 0));
        assert!(said(Some(Urgency::Soon), 1));
        assert!(!said(Some(Urgency::Soon), 24));
        assert!(said(Some(Urgency::Soon), 25));
        assert!(said(Some(Urgency::Now), 26), "worse");
        assert!(!said(Some(Urgency::Now), 27));
        assert!(!said(None, 28), "renewed");
        assert!(said(Some(Urgency::Soon), 29));
        assert!(said(Some(Urgency::Soon), 0), "the clock was set back");
    }
}
