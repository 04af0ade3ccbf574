//! How often an App may call: per command, and in all.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Commands of Apps that are counted at once: those of a hundred Apps that call everything in one second. Beyond it the second is
/// counted anew for all.
const COUNTED_MAX: usize = 10_000;

/// Calls in the running second. A second is a fixed window: across a border twice the number passes, as with the product whose
/// contract this is.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    second: u64,
    /// By App; command 0 stands for all.
    calls: HashMap<(u32, usize), u32>,
}

/// Which limit a call is over, and whether it is the first one in its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Command { first: bool },
    App { first: bool },
}

impl Rates {
    /// Counts a call of `command` (its place in the table) and says whether it is within its limits, of which 0 is none.
    pub(crate) fn count(
        &self,
        app: u32,
        command: usize,
        limits: (u32, u32),
        now_ms: u64,
    ) -> Result<(), Over> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now_ms / 1000;
        if counted.second != second || counted.calls.len() >= COUNTED_MAX {
            *counted = Counted { second, calls: HashMap::new() };
        }
        let mut over = |key, limit: u32| {
            let calls = counted.calls.entry(key).or_insert(0);
            *calls = calls.saturating_add(1);
            (limit > 0 && *calls > limit).then(|| *calls - 1 == limit)
        };
        let (of_command, of_app) = (over((app, command + 1), limits.0), over((app, 0), limits.1));
        match (of_command, of_app) {
            (_, Some(first)) => Err(Over::App { first }),
            (Some(first), None) => Err(Over::Command { first }),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_app_and_command_in_each_second() {
        let rates = Rates::default();
        for _ in 0..2 {
            assert_eq!(rates.count(1, 0, (2, 3), 1_000), Ok(()));
        }
        assert_eq!(rates.count(1, 0, (2, 5), 1_999), Err(Over::Command { first: true }));
        assert_eq!(rates.count(1, 0, (2, 5), 1_999), Err(Over::Command { first: false }));
        assert_eq!(rates.count(1, 1, (2, 4), 1_999), Err(Over::App { first: true }));
        assert_eq!(rates.count(2, 0, (2, 3), 1_999), Ok(()), "another app");
        assert_eq!(rates.count(1, 0, (2, 3), 2_000), Ok(()), "the next second");
        assert!((0..100).all(|_| rates.count(3, 0, (0, 0), 2_000) == Ok(())), "no limits");
    }
}
