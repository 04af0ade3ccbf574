//! The connections of a shard, by number.

use super::conn::Conn;

/// Numbers of byte-stream connections have this bit; the others are QUIC's, which its endpoint numbers densely.
/// Session ids have room for both.
pub(crate) const STREAM_BIT: u32 = nearport_trunk::CONNECTIONS_MAX;

/// Connections by number. A number is used again once its connection is gone.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    quic: Vec<Option<Box<Conn>>>,
    streams: Vec<Option<Box<Conn>>>,
    /// Numbers of byte streams that are free.
    free: Vec<u32>,
}

impl Conns {
    /// The connection with a number.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Conn> {
        self.slot(index)?.as_deref_mut()
    }

    /// Adds a QUIC connection under the number of its endpoint.
    pub(crate) fn insert_quic(&mut self, index: u32, conn: Conn) {
        let at = index as usize;
        if self.quic.len() <= at {
            self.quic.resize_with(at + 1, || None);
        }
        self.quic[at] = Some(Box::new(conn));
    }

    /// A number for a byte stream that is about to be inserted.
    pub(crate) fn next_stream(&self) -> u32 {
        let next = || u32::try_from(self.streams.len()).expect("at most 65,536 connections per shard");
        self.free.last().copied().unwrap_or_else(next) | STREAM_BIT
    }

    /// Adds a byte stream under [`Self::next_stream`].
    pub(crate) fn insert_stream(&mut self, conn: Conn) {
        let conn = Some(Box::new(conn));
        match self.free.pop() {
            Some(index) => self.streams[index as usize] = conn,
            None => self.streams.push(conn),
        }
    }

    /// The number of a byte stream that is out, and whose socket is gone, may be used again.
    pub(crate) fn free_stream(&mut self, index: u32) {
        self.free.push(index & !STREAM_BIT);
    }

    /// Numbers of byte streams that are in use.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len() - self.free.len()
    }

    /// Takes a connection out for good.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Conn>> {
        self.slot(index)?.take()
    }

    /// Takes a connection out for a moment; [`Self::put_back`] follows in the same breath.
    pub(crate) fn borrow(&mut self, index: u32) -> Option<Box<Conn>> {
        self.slot(index)?.take()
    }

    /// The other half of [`Self::borrow`].
    pub(crate) fn put_back(&mut self, index: u32, conn: Box<Conn>) {
        if let Some(slot) = self.slot(index) {
            *slot = Some(conn);
        }
    }

    /// All connections.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Conn)> {
        fn used(conns: &mut [Option<Box<Conn>>], bit: u32) -> impl Iterator<Item = (u32, &mut Conn)> {
            let numbered = (0u32..).zip(conns);
            numbered.filter_map(move |(index, conn)| Some((index | bit, conn.as_deref_mut()?)))
        }
        used(&mut self.quic, 0).chain(used(&mut self.streams, STREAM_BIT))
    }

    /// The numbers of all connections.
    pub(crate) fn indices(&self) -> Vec<u32> {
        fn used(conns: &[Option<Box<Conn>>], bit: u32) -> impl Iterator<Item = u32> {
            (0u32..).zip(conns).filter(|(_, conn)| conn.is_some()).map(move |(index, _)| index | bit)
        }
        used(&self.quic, 0).chain(used(&self.streams, STREAM_BIT)).collect()
    }

    fn slot(&mut self, index: u32) -> Option<&mut Option<Box<Conn>>> {
        let conns = if index & STREAM_BIT == 0 { &mut self.quic } else { &mut self.streams };
        conns.get_mut((index & !STREAM_BIT) as usize)
    }
}
