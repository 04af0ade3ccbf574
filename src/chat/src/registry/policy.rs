//! Which sessions of one user stand beside each other.

use std::sync::Arc;

use nearport_trunk::SessionId;
use nearport_wire::body::Platform;

use super::Live;
use crate::Config;
use crate::config::MultiDevice;

/// Which of a user's sessions end when one of `device` comes, oldest first.
pub(super) fn leaving(
    known: &[Live],
    device: &Arc<str>,
    platform: Platform,
    config: &Config,
) -> Vec<SessionId> {
    let (policy, instances) = (config.multi_device, config.instances(platform));
    let mut leaves = Vec::new();
    let mut beside = Vec::new();
    for live in known {
        let same_slot = policy.slot(live.platform) == policy.slot(platform);
        if live.device == *device || (same_slot && live.platform != platform) {
            leaves.push(live.id);
        } else if live.platform == platform {
            beside.push(live.id);
        }
    }
    if instances > 0 && beside.len() >= instances {
        let surplus = beside.len() + 1 - instances;
        leaves.extend(&beside[..surplus]);
    }
    let stay = known.len() - leaves.len();
    if stay >= config.user_sessions_max {
        let surplus = stay + 1 - config.user_sessions_max;
        let oldest = known.iter().map(|live| live.id).filter(|id| !leaves.contains(id));
        let oldest: Vec<_> = oldest.take(surplus).collect();
        leaves.extend(oldest);
    }
    leaves
}

impl MultiDevice {
    /// Platforms with the same number are not online together, unless they are the same platform.
    fn slot(self, platform: Platform) -> i32 {
        match (self, platform) {
            (Self::All, platform) => platform as i32,
            (Self::Single, _) => 0,
            (Self::Two | Self::Three, Platform::Web) => 1,
            (Self::Two, _) => 0,
            (Self::Three, Platform::Android | Platform::Iphone | Platform::Ipad) => 2,
            (Self::Three, _) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::session;
    use super::super::{Registry, Session};
    use super::*;

    /// The policies of the contract, and that the default is none: who stays, when each platform logs in one after the
    /// other, the last one twice.
    #[test]
    fn each_policy_lets_those_stay_that_it_says() {
        use Platform::{Android, Ipad, Iphone, Linux, Mac, Web, Windows};
        let order = [Android, Iphone, Ipad, Windows, Mac, Linux, Web, Web];
        let stay = |policy, native, web| {
            let config = Config {
                multi_device: policy,
                native_instances: native,
                web_instances: web,
                user_sessions_max: 32,
                ..Config::default()
            };
            let mut registry = Registry::default();
            for (id, platform) in (1..).zip(order) {
                let session = Session { platform, ..session("alice", &format!("d{id}"), 0) };
                registry.add(SessionId(id), session, &config).unwrap();
                registry.accept(SessionId(id), 0);
            }
            let user = session("alice", "", 0).user;
            (registry.platforms(&user), registry.len())
        };
        assert_eq!(stay(MultiDevice::Single, 0, 0), (vec![Web], 1));
        assert_eq!(stay(MultiDevice::Two, 0, 0), (vec![Linux, Web], 2));
        assert_eq!(stay(MultiDevice::Three, 0, 0), (vec![Ipad, Linux, Web], 3));
        assert_eq!(stay(MultiDevice::Three, 0, 2), (vec![Ipad, Linux, Web], 4));
        assert_eq!(stay(MultiDevice::All, 0, 0), (order[..7].to_vec(), 8), "one of each device");
        assert_eq!(stay(MultiDevice::All, 1, 1), (order[..7].to_vec(), 7), "one of each platform");
    }

    #[test]
    fn instances_of_a_platform_leave_the_oldest_first_and_are_told_apart_by_device() {
        let config = Config { native_instances: 2, ..Config::default() };
        let mut registry = Registry::default();
        let mut add = |id, device: &str, platform| {
            let session = Session { platform, ..session("alice", device, 0) };
            let removed = registry.add(SessionId(id), session, &config).unwrap();
            removed.iter().map(|removed| removed.id.0).collect::<Vec<_>>()
        };
        assert_eq!(add(1, "a", Platform::Android), Vec::<u64>::new());
        assert_eq!(add(2, "b", Platform::Android), Vec::<u64>::new());
        assert_eq!(add(3, "w", Platform::Windows), Vec::<u64>::new());
        assert_eq!(add(4, "c", Platform::Android), [1]);
        assert_eq!(add(5, "b", Platform::Android), [2], "the same device, and there is room then");
    }
}
