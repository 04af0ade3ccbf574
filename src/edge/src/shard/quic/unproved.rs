//! What may be sent to an address before it is proved: three times what came from there (RFC 9000 §8.1).
//!
//! quinn-proto keeps this limit too, but begins a whole datagram while one byte of it is left, so that up to 1,199 bytes more
//! than allowed go to whoever's address was forged. Here a datagram begins only if the largest fits; what is left over then
//! stays unused.

use quinn_proto::ConnectionId;

/// The largest datagram: QUIC's smallest maximum, which ours do not exceed before the path is known.
const DATAGRAM_BYTES_MAX: u64 = 1200;

/// Bytes out for a byte in.
const FACTOR: u64 = 3;

/// What a datagram shows of itself before it is handed to the endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    bytes: u64,
    /// The destination id in a long header. Short ones come after the handshake.
    destination: Option<ConnectionId>,
}

impl Arrival {
    /// Looks at a datagram.
    pub(crate) fn of(datagram: &[u8]) -> Self {
        let long = datagram.first().is_some_and(|first| first & 0x80 != 0);
        let destination = || {
            let length = usize::from(*datagram.get(5)?);
            datagram.get(6..6 + length).filter(|id| id.len() <= 20).map(ConnectionId::new)
        };
        Self { bytes: datagram.len() as u64, destination: if long { destination() } else { None } }
    }
}

/// The account of an address that nobody has proved.
#[derive(Debug)]
pub(crate) struct Unproved {
    /// The id that the client made up for its first packet.
    made_up: Option<ConnectionId>,
    received: u64,
    sent: u64,
}

impl Unproved {
    /// A connection begins with this datagram.
    pub(crate) fn new(first: Arrival) -> Self {
        Self { made_up: first.destination, received: first.bytes, sent: 0 }
    }

    /// A datagram came for the connection from its address. Returns whether that proves the address: whoever knows an id of
    /// ours, of which 16 octets cannot be guessed, has read what we sent there.
    pub(crate) fn arrived(&mut self, arrival: Arrival) -> bool {
        self.received += arrival.bytes;
        arrival.destination != self.made_up
    }

    /// Whether another datagram may begin.
    pub(crate) fn may_send(&self) -> bool {
        self.sent + DATAGRAM_BYTES_MAX <= FACTOR * self.received
    }

    /// A datagram goes out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn long(id: &[u8], bytes: usize) -> Arrival {
        let mut datagram = [&[0xc0, 0, 0, 0, 1, u8::try_from(id.len()).unwrap()], id].concat();
        datagram.resize(bytes, 0);
        Arrival::of(&datagram)
    }

    #[test]
    fn an_id_of_ours_proves_the_address_and_the_clients_own_does_not() {
        let mut address = Unproved::new(long(&[7; 17], 1200));
        assert!(!address.arrived(long(&[7; 17], 1200)));
        assert!(address.arrived(long(&[8; 17], 60)), "an answer to what we sent");
        let mut address = Unproved::new(long(&[7; 8], 1200));
        assert!(address.arrived(Arrival::of(&[0x40; 40])), "a short header has no other ids");
    }

    proptest! {
        #[test]
        fn never_more_than_three_times_what_came(
            steps in proptest::collection::vec((any::<bool>(), 1usize..=1200), 0..60),
        ) {
            let mut address = Unproved::new(long(&[7; 8], 1200));
            let (mut came, mut went) = (1200, 0);
            for (comes, bytes) in steps {
                if comes {
                    let bytes = bytes.max(20);
                    address.arrived(long(&[7; 8], bytes));
                    came += bytes;
                } else if address.may_send() {
                    address.sent(bytes);
                    went += bytes;
                } else {
                    prop_assert!(went + 1200 > 3 * came, "held back without need");
                }
                prop_assert!(went <= 3 * came);
            }
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
            Arrival::of(&noise);
        }
    }
}
