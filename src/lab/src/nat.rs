//! A NAT at the clients' end that forgets: what a home router does when its mapping has timed out, or a mobile network when
//! it moves a device.
//!
//! While it knows a client's port it translates it to one of its own. When it forgets, the next packet of the same port
//! gets another one, so the server sees another address; packets to the old one are dropped. A TCP connection does not
//! survive that, as in life: the server answers the unknown address with a reset.

use std::collections::HashMap;

use nearport_impair::Protocol;

use crate::packet::{Layout, Port, set_port};

/// Ports that it gives out.
const FIRST: u16 = 20_000;
const LAST: u16 = 59_999;

/// Mappings at a time; a packet that needs one more is dropped.
const MAPPINGS_MAX: usize = 20_000;

type Client = (Protocol, u16);

#[derive(Debug, Default)]
pub(crate) struct Nat {
    /// Which round of mappings this is; 0 translates nothing yet.
    round: u64,
    out: HashMap<Client, u16>,
    back: HashMap<Client, u16>,
    given: u16,
}

impl Nat {
    /// Translates a packet of a client. `false`: there is no room for its mapping.
    pub(crate) fn outbound(&mut self, packet: &mut [u8], layout: Layout, round: u64) -> bool {
        let Some((source, _)) = layout.ports else { return true };
        if round != self.round {
            self.round = round;
            self.out.clear();
            self.back.clear();
        }
        let client = (layout.protocol, source);
        let port = match self.out.get(&client) {
            Some(port) => *port,
            None if self.out.len() >= MAPPINGS_MAX => return false,
            None => self.map(client),
        };
        set_port(packet, layout, Port::Source, port);
        true
    }

    /// A port that no mapping uses and that was not used for as long as possible.
    fn map(&mut self, client: Client) -> u16 {
        loop {
            let port = FIRST + self.given % (LAST - FIRST + 1);
            self.given = (self.given + 1) % (LAST - FIRST + 1);
            if !self.back.contains_key(&(client.0, port)) {
                self.out.insert(client, port);
                self.back.insert((client.0, port), client.1);
                return port;
            }
        }
    }

    /// The port of the client that has one of the ports that were given out.
    pub(crate) fn client(&self, protocol: Protocol, port: u16) -> Option<u16> {
        self.back.get(&(protocol, port)).copied()
    }

    /// Translates a packet of the server. `false`: nobody has that address any more.
    pub(crate) fn inbound(&self, packet: &mut [u8], layout: Layout) -> bool {
        let Some((_, destination)) = layout.ports else { return true };
        let client = self.client(layout.protocol, destination);
        if let Some(port) = client {
            set_port(packet, layout, Port::Destination, port);
        }
        client.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{layout, tests::made};

    const UDP: u8 = 17;

    fn out(nat: &mut Nat, port: u16, round: u64) -> Option<u16> {
        let mut packet = made(UDP, (port, 4433), b"hello");
        let found = layout(&packet).unwrap();
        nat.outbound(&mut packet, found, round).then(|| layout(&packet).unwrap().ports.unwrap().0)
    }

    fn back(nat: &Nat, port: u16) -> Option<u16> {
        let mut packet = made(UDP, (4433, port), b"hello");
        let found = layout(&packet).unwrap();
        nat.inbound(&mut packet, found).then(|| layout(&packet).unwrap().ports.unwrap().1)
    }

    #[test]
    fn what_it_forgets_gets_another_address_and_the_old_one_is_dead() {
        let mut nat = Nat::default();
        let first = out(&mut nat, 5000, 0).unwrap();
        assert_eq!(out(&mut nat, 5000, 0), Some(first));
        assert_ne!(out(&mut nat, 5001, 0), Some(first));
        assert_eq!(back(&nat, first), Some(5000));
        let second = out(&mut nat, 5000, 1).unwrap();
        assert_ne!(second, first);
        assert_eq!((back(&nat, first), back(&nat, second)), (None, Some(5000)));
    }

    #[test]
    fn it_has_room_for_so_many_and_its_ports_come_round() {
        let mut nat = Nat::default();
        for port in 0..20_000 {
            assert!(out(&mut nat, port, 0).is_some());
        }
        assert_eq!(out(&mut nat, 30_000, 0), None);
        for round in 1..60_000 {
            assert!((FIRST..=LAST).contains(&out(&mut nat, 1, round).unwrap()));
        }
    }
}
