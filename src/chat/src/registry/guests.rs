//! Sessions of guests: how many there are, and from where.

use std::collections::HashMap;
use std::net::IpAddr;

use nearport_trunk::SessionId;

use crate::Config;

/// Who came without an account. Nobody else costs anything here.
#[derive(Debug, Default)]
pub(super) struct Guests {
    sessions: HashMap<SessionId, IpAddr>,
    networks: HashMap<IpAddr, usize>,
}

impl Guests {
    /// Whether one more from `network` is let in.
    pub(super) fn has_room(&self, network: IpAddr, config: &Config) -> bool {
        let from_there = self.networks.get(&network).copied().unwrap_or_default();
        self.sessions.len() < config.guests_max && from_there < config.guests_per_network
    }

    pub(super) fn enter(&mut self, id: SessionId, network: IpAddr) {
        self.sessions.insert(id, network);
        *self.networks.entry(network).or_default() += 1;
    }

    /// The session has ended, if it was a guest's.
    pub(super) fn leave(&mut self, id: SessionId) {
        let Some(network) = self.sessions.remove(&id) else { return };
        if let Some(count) = self.networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_who_leaves_makes_room() {
        let config = Config { guests_max: 3, guests_per_network: 2, ..Config::default() };
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut guests = Guests::default();
        for (id, network) in [(1, ip(1)), (2, ip(1))] {
            assert!(guests.has_room(network, &config));
            guests.enter(SessionId(id), network);
        }
        assert!(!guests.has_room(ip(1), &config) && guests.has_room(ip(2), &config));
        guests.enter(SessionId(3), ip(2));
        assert!(!guests.has_room(ip(3), &config));
        guests.leave(SessionId(9));
        guests.leave(SessionId(1));
        guests.leave(SessionId(1));
        assert!(guests.has_room(ip(1), &config));
        guests.leave(SessionId(2));
        guests.leave(SessionId(3));
        assert!(guests.networks.is_empty() && guests.sessions.is_empty());
        assert!(!guests.has_room(ip(1), &Config::default()), "none unless they are asked for");
    }
}
