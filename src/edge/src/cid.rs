//! Connection ids that route.
//!
//! ```text
//! octet 0      : 3 bits key epoch, modulo 8 | 5 bits shard hint, in the clear
//! octets 1..17 : AES-128 of (node u16 | shard u8 | key epoch as in octet 0 | generation u32 | magic u32 | nonce u32)
//! ```
//!
//! The shape is that of QUIC-LB's single-pass ids (draft-ietf-quic-load-balancers): whoever holds the key can route
//! a packet of any address to the node and shard that own the connection, an observer cannot link two ids. The hint
//! is what the kernel's filter reads; it proves nothing, so [`ShardCids::validate`] decides by the encrypted part.
//!
//! The epoch says which key of the [`KeyRing`] decrypts the rest. A connection keeps its ids over any number of
//! rotations, because its endpoint knows them; the epoch matters when nobody knows an id, see [`ShardCids::validate`].

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use crate::keys::{KeyRing, Keys};

/// Length of our connection ids.
pub const CID_LEN: usize = 17;

/// The hint has 5 bits.
pub const SHARDS_MAX: usize = 32;

const HINT_MASK: u8 = 0x1f;
pub(crate) const EPOCH_MASK: u8 = !HINT_MASK;
pub(crate) const EPOCH_SHIFT: u32 = HINT_MASK.trailing_ones();
const MAGIC: u32 = 0x6e70_2f31; // "np/1"

/// Which shard a datagram is for: the hint in its destination connection id, modulo the number of shards. A client
/// chooses the first id of a connection itself, so a new connection lands on a shard by chance, and both datagrams
/// of a large ClientHello on the same one. The kernel runs the same function, see `socket::bind_group`.
///
/// Anything too short to be QUIC goes to shard 0, which drops it.
#[must_use]
pub fn steer(datagram: &[u8], shards: usize) -> usize {
    let long_header = datagram.first().is_some_and(|first| first & 0x80 != 0);
    let at = if long_header { 6 } else { 1 };
    datagram.get(at).map_or(0, |octet| usize::from(octet & HINT_MASK) % shards)
}

/// The destination connection id of a datagram, if it has the length of ours.
#[must_use]
pub(crate) fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let long_header = datagram.first()? & 0x80 != 0;
    match long_header {
        true => datagram.get(6..6 + CID_LEN).filter(|_| usize::from(datagram[5]) == CID_LEN),
        false => datagram.get(1..1 + CID_LEN),
    }
}

/// The key of a cluster's connection ids in one epoch.
#[derive(Clone)]
pub(crate) struct CidKey {
    encrypt: Arc<EncryptingKey>,
    decrypt: Arc<DecryptingKey>,
}

impl CidKey {
    /// A key from 16 secret bytes.
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        let key = || UnboundCipherKey::new(&AES_128, secret).expect("AES-128 takes 16 bytes");
        Self {
            encrypt: Arc::new(EncryptingKey::ecb(key()).expect("one block, no mode")),
            decrypt: Arc::new(DecryptingKey::ecb(key()).expect("one block, no mode")),
        }
    }
}

impl std::fmt::Debug for CidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CidKey")
    }
}

/// Who a connection id belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which host.
    pub node: u16,
    /// Which shard on it.
    pub shard: u8,
    /// Which start of that host's edge: a later start has a larger number.
    pub generation: u32,
}

/// Makes and checks the connection ids of one shard.
#[derive(Debug, Clone)]
pub struct ShardCids {
    keys: Keys,
    /// A copy of the ring, so that a flood of foreign ids takes no lock, and which version of it.
    ring: KeyRing,
    version: u64,
    owner: Owner,
    /// Counter mixed with a start value, so that ids never repeat within a generation.
    nonce: u32,
}

impl ShardCids {
    /// The generator of `owner`. `nonce` may be anything, also the same at every start: the generation differs.
    #[must_use]
    pub fn new(keys: &Keys, owner: Owner, nonce: u32) -> Self {
        let (version, ring) = (keys.version(), keys.ring());
        Self { keys: keys.clone(), ring, version, owner, nonce }
    }

    /// Reads who owns an id; `None` if it was made with no key of this cluster, or with one that is not in use any
    /// more.
    #[must_use]
    pub fn owner_of(&self, cid: &[u8]) -> Option<Owner> {
        if self.keys.version() == self.version {
            return owner_in(&self.ring, cid);
        }
        // Between a rotation and the next id that this shard makes.
        owner_in(&self.keys.ring(), cid)
    }
}

fn owner_in(ring: &KeyRing, cid: &[u8]) -> Option<Owner> {
    let mut block: [u8; 16] = cid.get(1..CID_LEN)?.try_into().ok()?;
    let epoch = ring.of_cid(cid[0])?;
    epoch.cid().decrypt.decrypt(&mut block, DecryptionContext::None).ok()?;
    let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let owner =
        Owner { node: u16::from_be_bytes([block[0], block[1]]), shard: block[2], generation: word(4) };
    let made_here = word(8) == MAGIC && block[3] == cid[0] & EPOCH_MASK;
    (made_here && cid.len() == CID_LEN && cid[0] & HINT_MASK == owner.shard).then_some(owner)
}

impl ConnectionIdGenerator for ShardCids {
    fn generate_cid(&mut self) -> ConnectionId {
        // The version is read first: a rotation in between is then seen again by the next id.
        let version = self.keys.version();
        if version != self.version {
            (self.version, self.ring) = (version, self.keys.ring());
        }
        self.nonce = self.nonce.wrapping_add(1);
        let epoch = self.ring.current();
        let mut cid = [0; CID_LEN];
        cid[0] = epoch.cid_bits() | self.owner.shard & HINT_MASK;
        let block = &mut cid[1..];
        block[..2].copy_from_slice(&self.owner.node.to_be_bytes());
        block[2] = self.owner.shard;
        block[3] = epoch.cid_bits();
        block[4..8].copy_from_slice(&self.owner.generation.to_be_bytes());
        block[8..12].copy_from_slice(&MAGIC.to_be_bytes());
        block[12..].copy_from_slice(&self.nonce.to_be_bytes());
        epoch.cid().encrypt.encrypt(block).expect("one whole block");
        ConnectionId::new(&cid)
    }

    /// `Ok` means: ours, and if no connection has it, that connection is dead and may be reset. So only ids of this
    /// node and shard pass, of this generation or an earlier one, whose process is gone (generations only grow,
    /// and the store's lock keeps two processes from sharing one). Everything else is dropped without an answer: a
    /// reset made from the shared key for somebody else's live connection would kill it (RFC 9000 §21.11). So is an
    /// id of an epoch that is not in use any more: its client finds out by silence.
    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        match self.owner_of(cid) {
            Some(Owner { node, shard, generation })
                if (node, shard) == (self.owner.node, self.owner.shard)
                    && generation <= self.owner.generation =>
            {
                Ok(())
            }
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Secret;

    fn keys(secret: u8) -> Keys {
        Keys::derive(&[secret; 32])
    }

    fn cids(node: u16, shard: u8, generation: u32) -> ShardCids {
        ShardCids::new(&keys(7), Owner { node, shard, generation }, 0)
    }

    fn rotate(keys: &Keys, epoch: u32) {
        let secret = |epoch: u32| Secret { epoch, bytes: [u8::try_from(epoch).unwrap() + 7; 32] };
        let previous = epoch.checked_sub(1).map(secret);
        keys.replace(KeyRing::new(&secret(epoch), previous.as_ref()).unwrap()).unwrap();
    }

    #[test]
    fn an_id_steers_to_its_shard_in_both_header_forms() {
        for shard in 0..8 {
            let cid = cids(1, shard, 1).generate_cid();
            let short = [&[0x40][..], &cid].concat();
            let long = [&[0xc0, 0, 0, 0, 1, 17][..], &cid].concat();
            assert_eq!(steer(&short, 8), usize::from(shard));
            assert_eq!(steer(&long, 8), usize::from(shard));
        }
        assert_eq!(steer(&[], 8), 0);
        let cid = cids(1, 3, 1).generate_cid();
        for head in [&[0x40][..], &[0xc0, 0, 0, 0, 1, 17]] {
            let datagram = [head, &cid, b"rest"].concat();
            assert_eq!(destination(&datagram), Some(&cid[..]));
            assert_eq!(destination(&datagram[..head.len() + CID_LEN - 1]), None);
        }
        assert_eq!(destination(&[&[0xc0, 0, 0, 0, 1, 8][..], &[7; 30]].concat()), None);
        assert_eq!(destination(&[]), None);
        assert_eq!(steer(&[0xc0, 1, 2], 8), 0);
    }

    #[test]
    fn only_this_node_this_shard_and_no_later_generation_may_be_reset() {
        let mine = cids(3, 1, 10);
        for (node, shard, generation, valid) in
            [(3, 1, 10, true), (3, 1, 9, true), (3, 1, 11, false), (3, 2, 10, false), (4, 1, 10, false)]
        {
            let cid = cids(node, shard, generation).generate_cid();
            assert_eq!(mine.validate(&cid).is_ok(), valid, "{node} {shard} {generation}");
        }
        let foreign = ShardCids::new(&keys(8), Owner { node: 3, shard: 1, generation: 10 }, 0).generate_cid();
        assert!(mine.validate(&foreign).is_err());
    }

    #[test]
    fn a_forged_hint_or_a_flipped_bit_is_refused() {
        let keys = keys(7);
        let mut mine = ShardCids::new(&keys, Owner { node: 3, shard: 1, generation: 10 }, 0);
        // With one key, and with two: then a flipped bit of the epoch chooses the other one.
        for rotated in [false, true] {
            if rotated {
                rotate(&keys, 1);
            }
            let cid = mine.generate_cid();
            assert!(mine.validate(&cid).is_ok());
            for bit in 0..CID_LEN * 8 {
                let mut forged: [u8; CID_LEN] = cid[..].try_into().unwrap();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(mine.validate(&ConnectionId::new(&forged)).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn ids_are_read_for_one_rotation_and_the_hint_stays() {
        let keys = keys(7);
        let mut mine = ShardCids::new(&keys, Owner { node: 3, shard: 5, generation: 10 }, 0);
        let mut made = vec![mine.generate_cid()];
        for epoch in 1..=9u32 {
            rotate(&keys, epoch);
            // Before this shard makes its next id, and after.
            assert!(mine.validate(made.last().unwrap()).is_ok(), "epoch {epoch}");
            made.push(mine.generate_cid());
            let valid: Vec<_> = made.iter().map(|cid| mine.validate(cid).is_ok()).collect();
            let newest = valid.len() - 2;
            assert!(valid[newest..].iter().all(|valid| *valid), "epoch {epoch}: {valid:?}");
            assert!(valid[..newest].iter().all(|valid| !valid), "epoch {epoch}: {valid:?}");
            assert_eq!(steer(&[&[0x40][..], made.last().unwrap()].concat(), 32), 5);
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let mut mine = cids(3, 1, 10);
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| mine.generate_cid()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
