//! The shell around [`Contest`]: probes over UDP, connects over TCP.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use nearport_wire::probe::Probe;
use tokio::net::{TcpStream, UdpSocket};

use super::contest::{Action, Contest};
use crate::client::random;
use crate::network::Edge;
use crate::tasks::{Task, first, until};
use crate::transport::Transport;

/// Longest answer to a probe that is read; answers are some 30 octets.
const ANSWER_BYTES: usize = 256;

/// A contest under way.
pub(crate) struct Probing {
    contest: Contest,
    edges: Vec<Edge>,
    /// One for each address family, made when it is first needed.
    sockets: [Option<UdpSocket>; 2],
    sent: HashMap<Probe, (usize, Instant)>,
    connects: Vec<(usize, Task<Option<Duration>>)>,
}

/// What a contest shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// This one is nearest.
    Won(usize),
    /// That is all.
    Over,
}

impl Probing {
    /// Starts a contest; `avoided` tells who is not to win while another may.
    pub(crate) fn new(mut edges: Vec<Edge>, avoided: impl Fn(SocketAddr) -> bool) -> Self {
        let avoided: Vec<_> = edges.iter().map(|edge| avoided(edge.address)).collect();
        let contest = Contest::new(&avoided, Instant::now());
        edges.truncate(contest.runners());
        Self { contest, edges, sockets: [None, None], sent: HashMap::new(), connects: Vec::new() }
    }

    /// The edges that take part, by their numbers.
    pub(crate) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Who has answered so far, nearest first, with the round trip.
    pub(crate) fn order(&self) -> Vec<(usize, Duration)> {
        let order = self.contest.order().into_iter();
        order.filter_map(|at| Some((at, self.contest.rtt(at)?))).collect()
    }

    /// Runs the contest until it shows something. Dropped early, it loses a probe at most, which is repeated.
    pub(crate) async fn next(&mut self) -> Shown {
        loop {
            while let Some(action) = self.contest.poll_action() {
                match action {
                    Action::Probe(at) => self.probe(at).await,
                    Action::Connect(at) => self.connect(at),
                    Action::Won(at) => return Shown::Won(at),
                    Action::Over => return Shown::Over,
                }
            }
            let due = self.contest.poll_timeout();
            let [v4, v6] = &self.sockets;
            tokio::select! {
                biased;
                answered = heard(v4.as_ref()) => self.answered(answered),
                answered = heard(v6.as_ref()) => self.answered(answered),
                (at, rtt) = first(&mut self.connects) => {
                    if let Some(rtt) = rtt {
                        self.contest.answered(Instant::now(), at, rtt, false);
                    }
                }
                () = until(due) => self.contest.handle_timeout(Instant::now()),
            }
        }
    }

    fn answered(&mut self, probe: Option<Probe>) {
        // Whoever answers has seen the probe: its ids are drawn anew for each.
        if let Some((at, sent)) = probe.and_then(|probe| self.sent.remove(&probe)) {
            let now = Instant::now();
            self.contest.answered(now, at, now - sent, true);
        }
    }

    /// What cannot be sent is not answered.
    async fn probe(&mut self, at: usize) {
        let udp = [Transport::Quic, Transport::WebTransport];
        let Some(edge) = udp.into_iter().find_map(|udp| self.edges[at].at(udp)) else { return };
        let slot = &mut self.sockets[usize::from(edge.address.is_ipv6())];
        if slot.is_none() {
            *slot = bind(edge.address).ok();
        }
        let (Some(socket), Some(ids)) = (slot, random()) else { return };
        let probe = Probe::new(ids);
        self.sent.insert(probe, (at, Instant::now()));
        // What does not leave is repeated like what is lost.
        let _ = socket.send_to(&probe.packet(), edge.address).await;
    }

    fn connect(&mut self, at: usize) {
        let tcp = [Transport::Tls, Transport::WebSocket];
        let Some(edge) = tcp.into_iter().find_map(|tcp| self.edges[at].at(tcp)) else { return };
        let begun = Instant::now();
        let connect = async move {
            let connected = TcpStream::connect(edge.address).await;
            connected.is_ok().then(|| begun.elapsed())
        };
        self.connects.push((at, Box::pin(connect)));
    }
}

fn bind(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// The next datagram, if it answers a probe. Cancel-safe.
async fn heard(socket: Option<&UdpSocket>) -> Option<Probe> {
    let Some(socket) = socket else { return pending().await };
    let mut buffer = [0; ANSWER_BYTES];
    match socket.recv_from(&mut buffer).await {
        Ok((length, _)) => Probe::answered(&buffer[..length]),
        // An ICMP message about one of them.
        Err(_) => None,
    }
}
