//! Many client connections, each with one long-lived bidirectional stream and one task that reads it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::codec::{Codec, Decode, Request, Unit, payload, stamp_ns};
use crate::process::ServerProcess;
use crate::tally::Tally;
use crate::transport::{SERVER_NAME, client_endpoints};

/// Connections being opened at once.
const CONNECTING: usize = 64;

/// Most bytes taken from a stream at once.
const READ_MAX: usize = 16 * 1024;

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Swarm {
    pub(crate) links: Arc<Vec<Arc<Link>>>,
    pub(crate) tally: Arc<Tally>,
    /// Aborted when the swarm is dropped.
    readers: JoinSet<Result<()>>,
    _endpoints: Vec<Endpoint>,
}

impl Swarm {
    /// Opens `count` connections, each welcomed (if the codec says hello) and with one echo done.
    pub(crate) async fn connect(server: &ServerProcess, codec: Arc<dyn Codec>, count: usize) -> Result<Self> {
        let endpoints = client_endpoints(server.certificate.clone())?;
        let greet = move |connection, index| Link::open(connection, Arc::clone(&codec), index);
        let opened = dial(&endpoints, server.address, count, greet).await?;
        let mut links = Vec::with_capacity(count);
        let mut readers = JoinSet::new();
        let tally = Arc::new(Tally::since(Instant::now()));
        for (link, inbox) in opened {
            readers.spawn(read(Arc::clone(&link), inbox, Arc::clone(&tally)));
            links.push(link);
        }
        let mut swarm = Self { links: Arc::new(links), tally, readers, _endpoints: endpoints };
        for link in swarm.links.iter() {
            swarm.tally.expect(1);
            link.say(Request::Echo, swarm.tally.now_ns()).await?;
        }
        swarm.settled().await?;
        Ok(swarm)
    }

    /// Waits until every message that is due has arrived.
    ///
    /// # Errors
    /// Some never came, or a connection ended.
    pub(crate) async fn settled(&mut self) -> Result<()> {
        let settled = self.tally.settled().await;
        if let Some(ended) = self.readers.try_join_next() {
            return ended?.and(settled).context("a connection ended");
        }
        settled
    }

    /// UDP datagrams sent and received by all connections so far. Takes about a microsecond per connection.
    pub(crate) fn datagrams(&self) -> u64 {
        self.links.iter().map(|link| link.datagrams()).sum()
    }

    /// Says goodbye on every connection, so that the server can forget them before the next case.
    pub(crate) fn close(&self) {
        for link in self.links.iter() {
            link.connection.close(0u32.into(), b"done");
        }
    }
}

/// Opens `count` connections, [`CONNECTING`] at once, spread over `endpoints`, and lets `greet` make something of each
/// and of its index. The results come in any order.
///
/// # Errors
/// The first failed handshake or greeting; the other connections are closed.
pub(crate) async fn dial<T, F>(
    endpoints: &[Endpoint],
    address: SocketAddr,
    count: usize,
    greet: impl Fn(Connection, usize) -> F + Clone + Send + 'static,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
{
    let mut diallers = JoinSet::new();
    for dialler in 0..CONNECTING.min(count) {
        let (endpoints, greet) = (endpoints.to_vec(), greet.clone());
        diallers.spawn(async move {
            let mut greeted = Vec::new();
            for index in (dialler..count).step_by(CONNECTING) {
                let endpoint = &endpoints[index % endpoints.len()];
                let connection = endpoint.connect(address, SERVER_NAME)?.await.context("handshake failed")?;
                greeted.push(greet(connection, index).await?);
            }
            Ok::<_, anyhow::Error>(greeted)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(greeted) = diallers.join_next().await {
        all.extend(greeted??);
    }
    Ok(all)
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    index: usize,
    codec: Arc<dyn Codec>,
    connection: Connection,
    outbox: Mutex<Outbox>,
}

#[derive(Debug)]
struct Outbox {
    stream: SendStream,
    last_id: u64,
    buffer: BytesMut,
}

impl Link {
    /// Opens the stream and, if the codec says hello, waits for the welcome.
    pub(crate) async fn open(
        connection: Connection,
        codec: Arc<dyn Codec>,
        index: usize,
    ) -> Result<(Arc<Self>, Inbox)> {
        let (mut stream, recv) = connection.open_bi().await?;
        let mut inbox = Inbox { stream: recv, decoder: codec.decoder() };
        let mut buffer = BytesMut::new();
        if codec.hello(index, &mut buffer) {
            stream.write_all(&buffer).await?;
            while !inbox.receive(|unit| Ok(unit == Unit::Welcome)).await? {}
        }
        let outbox = Mutex::new(Outbox { stream, last_id: 0, buffer });
        Ok((Arc::new(Self { index, codec, connection, outbox }), inbox))
    }

    /// Sends one request with this stamp. Waits when the server's window is full. Not cancel-safe: dropped in the
    /// middle, half a message is out.
    pub(crate) async fn say(&self, request: Request, stamp_ns: u64) -> Result<()> {
        let mut outbox = self.outbox.lock().await;
        let Outbox { stream, last_id, buffer } = &mut *outbox;
        *last_id += 1;
        buffer.clear();
        self.codec.request(request, *last_id, &payload(request, stamp_ns), buffer);
        stream.write_all(buffer).await.context("cannot send")
    }

    /// UDP datagrams sent and received so far.
    pub(crate) fn datagrams(&self) -> u64 {
        let stats = self.connection.stats();
        stats.udp_tx.datagrams + stats.udp_rx.datagrams
    }

    /// Ends the connection at once.
    pub(crate) fn close(&self) {
        self.connection.close(0u32.into(), b"done");
    }
}

/// Receive side of a link.
#[derive(Debug)]
pub(crate) struct Inbox {
    stream: RecvStream,
    decoder: Box<dyn Decode>,
}

impl Inbox {
    /// Waits for more bytes and shows every complete unit to `on_unit`; true once that has returned true.
    ///
    /// # Errors
    /// The stream or connection ended, the bytes mean nothing, or `on_unit` failed.
    pub(crate) async fn receive(&mut self, mut on_unit: impl FnMut(Unit) -> Result<bool>) -> Result<bool> {
        let chunk =
            self.stream.read_chunk(READ_MAX, true).await?.context("the server finished the stream")?;
        self.decoder.feed(chunk.bytes);
        let mut seen = false;
        while let Some(unit) = self.decoder.next_unit()? {
            seen |= on_unit(unit)?;
        }
        Ok(seen)
    }
}

/// Reads one connection for its whole life.
async fn read(link: Arc<Link>, mut inbox: Inbox, tally: Arc<Tally>) -> Result<()> {
    loop {
        let mut arrived = 0;
        let count = |unit: Unit| {
            if let Unit::Payload(payload) = unit {
                tally.arrived(link.index, stamp_ns(&payload)?);
                arrived += 1;
            }
            Ok(false)
        };
        inbox.receive(count).await?;
        for _ in 0..arrived {
            if tally.closed_loop() {
                tally.expect(1);
                link.say(Request::Echo, tally.now_ns()).await?;
            }
        }
    }
}
