//! IPv4 packets as far as a router between two namespaces has to understand them: what they carry, ports, checksums, and the
//! ICMP message that says that one was too long (RFC 791, RFC 792, RFC 1191, RFC 1624).

use nearport_impair::Protocol;

/// Where a packet's fields are. Made only from packets that hold all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// What it carries.
    pub(crate) protocol: Protocol,
    /// Length of the IP header.
    header: usize,
    /// Source and destination port; `None` for protocols without, and for later fragments.
    pub(crate) ports: Option<(u16, u16)>,
}

/// Which of a packet's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Source,
    Destination,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// `None` for anything but a whole IPv4 packet: IPv6 is not used here, and its router solicitations go nowhere.
pub(crate) fn layout(packet: &[u8]) -> Option<Layout> {
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4
        || header < 20
        || packet.len() < header
        || usize::from(be16(packet, 2)?) != packet.len()
    {
        return None;
    }
    let (protocol, least) = match packet[9] {
        TCP => (Protocol::Tcp, 20),
        UDP => (Protocol::Udp, 8),
        _ => (Protocol::Other, 0),
    };
    let first_fragment = be16(packet, 6)? & 0x1fff == 0;
    let has_ports = protocol != Protocol::Other && first_fragment && packet.len() >= header + least;
    let ports = if has_ports { Some((be16(packet, header)?, be16(packet, header + 2)?)) } else { None };
    Some(Layout { protocol, header, ports })
}

/// Changes a port of a packet that has ports, and the checksum that covers it.
pub(crate) fn set_port(packet: &mut [u8], layout: Layout, which: Port, port: u16) {
    let at = layout.header + if which == Port::Source { 0 } else { 2 };
    let sum_at = layout.header + if layout.protocol == Protocol::Udp { 6 } else { 16 };
    let (Some(old), Some(sum)) = (be16(packet, at), be16(packet, sum_at)) else { return };
    packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
    // A UDP checksum of zero says that there is none; a sum that comes out as zero is written as its other form.
    if layout.protocol == Protocol::Udp && sum == 0 {
        return;
    }
    let mut new = update(sum, old, port);
    if layout.protocol == Protocol::Udp && new == 0 {
        new = 0xffff;
    }
    packet[sum_at..sum_at + 2].copy_from_slice(&new.to_be_bytes());
}

/// A router's answer to a packet that is too long and must not be cut: destination unreachable, fragmentation needed.
/// `None` if nothing may be answered: the packet may be cut, or is itself an ICMP message.
pub(crate) fn fragmentation_needed(packet: &[u8], layout: Layout, mtu: usize) -> Option<Vec<u8>> {
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    const ICMP: u8 = 1;
    const ROUTER: [u8; 4] = [10, 77, 0, 254];
    if be16(packet, 6)? & DO_NOT_FRAGMENT == 0 || packet[9] == ICMP {
        return None;
    }
    let quoted = &packet[..packet.len().min(layout.header + 8)];
    let total = u16::try_from(20 + 8 + quoted.len()).ok()?;
    let mut answer = vec![0; usize::from(total)];
    answer[0] = 0x45;
    answer[2..4].copy_from_slice(&total.to_be_bytes());
    answer[8] = 64; // time to live
    answer[9] = ICMP;
    answer[12..16].copy_from_slice(&ROUTER);
    answer[16..20].copy_from_slice(&packet[12..16]);
    let sum = checksum(&answer[..20]);
    answer[10..12].copy_from_slice(&sum.to_be_bytes());
    (answer[20], answer[21]) = (3, 4);
    answer[26..28].copy_from_slice(&u16::try_from(mtu).ok()?.to_be_bytes());
    answer[28..].copy_from_slice(quoted);
    let sum = checksum(&answer[20..]);
    answer[22..24].copy_from_slice(&sum.to_be_bytes());
    Some(answer)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// RFC 1624, equation 3: the checksum of data in which one word has changed.
fn update(sum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!sum) + u32::from(!old) + u32::from(new))
}

/// The internet checksum (RFC 1071) of whole words and perhaps one octet.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    !fold(words.sum())
}

fn fold(mut sum: u32) -> u16 {
    while let Ok(high @ 1..) = u16::try_from(sum >> 16) {
        sum = (sum & 0xffff) + u32::from(high);
    }
    u16::try_from(sum).expect("folded until it fits")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet with right checksums.
    pub(crate) fn made(protocol: u8, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let transport = if protocol == TCP { 20 } else { 8 };
        let total = u16::try_from(20 + transport + payload.len()).unwrap();
        let mut packet = vec![0; usize::from(total)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[6] = 0x40;
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[10, 77, 0, 2, 10, 77, 0, 1]);
        packet[20..22].copy_from_slice(&ports.0.to_be_bytes());
        packet[22..24].copy_from_slice(&ports.1.to_be_bytes());
        packet[20 + transport..].copy_from_slice(payload);
        let sum = transport_sum(&packet);
        let at = if protocol == TCP { 36 } else { 26 };
        packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// Over pseudo header and segment, the checksum field included: 0 for a right one.
    fn transport_sum(packet: &[u8]) -> u16 {
        let mut covered = packet[12..20].to_vec();
        covered.extend([0, packet[9]]);
        covered.extend(u16::try_from(packet.len() - 20).unwrap().to_be_bytes());
        covered.extend(&packet[20..]);
        checksum(&covered)
    }

    #[test]
    fn a_router_says_that_a_packet_was_too_long() {
        let packet = made(TCP, (4000, 443), &[7; 1400]);
        let answer = fragmentation_needed(&packet, layout(&packet).unwrap(), 1280).unwrap();
        assert_eq!((checksum(&answer[..20]), checksum(&answer[20..])), (0, 0), "both sums are right");
        assert_eq!(answer[16..20], [10, 77, 0, 2], "to its sender");
        assert_eq!((&answer[20..22], &answer[26..28]), (&[3, 4][..], &1280u16.to_be_bytes()[..]));
        assert_eq!(answer[28..], packet[..28], "with its header and eight octets more");
        assert_eq!(layout(&answer).map(|layout| layout.protocol), Some(Protocol::Other));
        assert_eq!(fragmentation_needed(&answer, layout(&answer).unwrap(), 20), None, "not about itself");
        let mut may_be_cut = packet;
        may_be_cut[6] = 0;
        assert_eq!(fragmentation_needed(&may_be_cut, layout(&may_be_cut).unwrap(), 1280), None);
    }

    proptest! {
        #[test]
        fn a_changed_port_keeps_the_checksum_right(
            tcp: bool, ports: (u16, u16), port: u16, source: bool, payload in prop::collection::vec(any::<u8>(), 0..40)
        ) {
            let mut packet = made(if tcp { TCP } else { UDP }, ports, &payload);
            prop_assert_eq!(transport_sum(&packet), 0);
            let before = layout(&packet).unwrap();
            prop_assert_eq!(before.ports, Some(ports));
            let (which, want) = match source {
                true => (Port::Source, (port, ports.1)),
                false => (Port::Destination, (ports.0, port)),
            };
            set_port(&mut packet, before, which, port);
            prop_assert_eq!(layout(&packet).unwrap().ports, Some(want));
            prop_assert!(transport_sum(&packet) == 0);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(found) = layout(&bytes) {
                let _ = fragmentation_needed(&bytes, found, 1280);
                if found.ports.is_some() {
                    set_port(&mut bytes.clone(), found, Port::Source, 9);
                }
            }
        }
    }
}
