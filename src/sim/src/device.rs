//! A device and its user: the SDK's core over a simulated transport, a small disk, and somebody who reads and writes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use nearport_chat::usersig::sign_v2;
use nearport_client::core::{Core, CoreConfig, State, TransportAction};
use nearport_client::{Acks, Event, Failure, Limits, Platform, Receive, Target, text};
use nearport_session::Outbox;

use crate::history::{Message, MsgId, What, Who};
use crate::plan::Owned;
use crate::quic::{self, Signal};
use crate::rng::Rng;
use crate::tls::Tls;
use crate::world::{APP, SECRET, SERVER};

/// Rounds of one step. Each round handles what the one before caused; a device that needs more would spin.
const ROUNDS_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Device {
    who: Who,
    index: u8,
    rng: Rng,
    address: SocketAddr,
    life: Option<Life>,
    /// What the device keeps when its software dies: the last position that it has shown.
    disk: Option<u64>,
    /// Messages written so far, over all lives.
    written: u64,
}

/// From one start of the software to its end.
#[derive(Debug)]
struct Life {
    core: Core,
    transport: quic::Transport,
    /// Small messages go out twice.
    hedges: bool,
    /// Sent by this life and without an outcome.
    pending: BTreeSet<MsgId>,
    /// Sent by this life and acknowledged.
    acknowledged: BTreeSet<MsgId>,
}

impl Device {
    pub(crate) fn new(index: usize, owned: &Owned, rng: Rng) -> Self {
        let who = Who { user: owned.user.into(), device: owned.device.into() };
        let index = u8::try_from(index).expect("a handful of devices");
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, index)), 40_000);
        Self { who, index, rng, address, life: None, disk: None, written: 0 }
    }

    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_on(&self) -> bool {
        self.life.is_some()
    }

    /// The device gets another port, as behind a NAT that forgot it, or is in another network altogether.
    pub(crate) fn change_address(&mut self, network: bool) {
        let octet = match network {
            true => u8::try_from(self.rng.within(1..=250)).expect("below 251"),
            false => match self.address.ip() {
                IpAddr::V4(ip) => ip.octets()[2],
                IpAddr::V6(_) => 0,
            },
        };
        let port = u16::try_from(self.rng.within(1024..=65_535)).expect("a port");
        self.address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, octet, self.index)), port);
    }

    /// The software starts, with what the disk knows.
    pub(crate) fn start(&mut self, tls: &Tls, now: Instant, unix_s: u64) {
        let config = CoreConfig {
            app: APP,
            user: self.who.user.to_string(),
            device: self.who.device.to_string(),
            platform: Platform::Other,
            usersig: sign_v2(SECRET, APP, &self.who.user, unix_s, 86_400, None),
            client: "sim".to_owned(),
            cursor: self.disk,
            resume: None,
            follow: nearport_client::Follow::Remembered,
            groups: Vec::new(),
            acks: Acks::default(),
            receive: Receive::Everything,
            limits: Limits::default(),
            seed: self.rng.next_u64(),
        };
        let transport = quic::Transport::new(tls, SERVER, self.rng.fork(1));
        // Every other life, whatever its path is like: what is sent twice must count once.
        let hedges = config.seed.is_multiple_of(2);
        self.life = Some(Life {
            core: Core::new(config, now),
            transport,
            hedges,
            pending: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
        });
    }

    /// The software dies without a word. What had no outcome is unknown for ever.
    pub(crate) fn stop(&mut self, remembers: bool, seen: &mut Vec<What>) {
        let Some(life) = self.life.take() else { return };
        seen.extend(life.pending.into_iter().map(|id| What::Info { id }));
        seen.push(What::Restarted);
        if !remembers {
            self.disk = None;
        }
    }

    /// The user presses send. A full outbox says so, and the user gives up: nothing happened.
    pub(crate) fn send(&mut self, now: Instant, to: &str, seen: &mut Vec<What>) {
        let Some(life) = &mut self.life else { return };
        let words: Arc<str> = format!("{}-{}", self.index, self.written).into();
        let sent = life.core.send(now, Target::User(to.to_owned()), text(&*words), false);
        if let Ok(id) = sent {
            self.written += 1;
            life.pending.insert(*id.as_bytes());
            seen.push(What::Invoke { id: *id.as_bytes(), to: to.into(), content: words });
        }
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        if let Some(life) = &mut self.life {
            life.transport.handle_datagram(now, datagram);
        }
    }

    /// Does everything that can be done now.
    pub(crate) fn step(&mut self, now: Instant, seen: &mut Vec<What>) {
        let Some(life) = &mut self.life else { return };
        for _ in 0..ROUNDS_MAX {
            life.transport.step(now);
            while let Some(signal) = life.transport.poll_signal() {
                match signal {
                    Signal::Connected => {
                        let path = life.transport.path();
                        life.core.handle_connected(now, path);
                        life.core.set_path(life.transport.rtt(), life.hedges);
                    }
                    Signal::Bytes(bytes) => life.core.handle_bytes(now, bytes),
                    Signal::Bulk(bytes) => life.core.handle_bulk_bytes(now, bytes),
                    Signal::Datagram(datagram) => life.core.handle_datagram(now, datagram),
                    Signal::Lost(closing) => life.core.handle_disconnected(now, closing),
                }
            }
            let late = life.core.poll_timeout().is_some_and(|at| at <= now);
            if late {
                life.core.handle_timeout(now);
            }
            let mut busy = late;
            while let Some(event) = life.core.poll_event() {
                busy = true;
                life.take(event, &self.who, &mut self.disk, &mut self.rng, now, seen);
            }
            while life.core.poll_answer().is_some() {}
            life.transport.write(life.core.poll_output());
            if let Some(output) = life.core.poll_bulk_output() {
                life.transport.write_bulk(output);
            }
            while let Some(datagram) = life.core.poll_datagram() {
                life.transport.send_datagram(datagram);
            }
            while let Some(action) = life.core.poll_transport() {
                busy = true;
                match action {
                    TransportAction::Connect => life.transport.connect(now),
                    TransportAction::Disconnect(code) => {
                        let mut parting = Outbox::default();
                        life.core.take_parting().into_iter().for_each(|chunk| parting.push(chunk));
                        life.transport.write(&mut parting);
                        life.transport.abandon(now, code);
                    }
                    // One connection at a time is enough for a device here.
                    TransportAction::Prepare => life.core.handle_prepare_failed(now),
                    TransportAction::Switch => unreachable!("nothing was prepared"),
                }
            }
            if !busy {
                return;
            }
        }
        panic!("{} does not come to an end", self.who);
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.life.as_mut()?.transport.poll_transmit(now)
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let life = self.life.as_mut()?;
        [life.core.poll_timeout(), life.transport.poll_timeout()].into_iter().flatten().min()
    }

    /// Up to where the device has its log; `None` before its first login.
    pub(crate) fn cursor(&self) -> Option<u64> {
        self.life.as_ref()?.core.cursor()
    }

    /// What the device still waits for, if `beyond` is what its log holds after its cursor.
    ///
    /// Own messages may be left there: when an answer came too late and the second attempt was told "duplicate", the
    /// device knows that they are stored and not where. The next entry by anybody closes that gap.
    pub(crate) fn unrest(&self, beyond: &[MsgId]) -> Option<String> {
        let Some(Life { core, acknowledged, .. }) = &self.life else { return Some("is off".to_owned()) };
        if core.state() != State::Live {
            return Some(format!("is {:?} after {:?}", core.state(), core.last_closing()));
        }
        if core.unacknowledged() > 0 {
            return Some(format!("has {} messages without an answer", core.unacknowledged()));
        }
        let missing = beyond.iter().filter(|id| !acknowledged.contains(*id)).count();
        (missing > 0).then(|| format!("lacks {missing} entries after {:?}", core.cursor()))
    }
}

impl Life {
    fn take(
        &mut self,
        event: Event,
        who: &Who,
        disk: &mut Option<u64>,
        rng: &mut Rng,
        now: Instant,
        seen: &mut Vec<What>,
    ) {
        match event {
            Event::Connected { cursor, .. } => seen.push(What::Resumed { cursor }),
            Event::Message(message) => {
                let words = message.text();
                let to = match message.to {
                    Some(Target::User(user)) => user,
                    other => format!("{other:?}"),
                };
                // Without 16 bytes it is nobody's: the checker will say so.
                let id = MsgId::try_from(&message.client_msg_id[..]).unwrap_or_default();
                *disk = Some(message.position);
                let peer = if *message.from == *who.user { to.clone() } else { message.from.clone() };
                let seq = message.seq;
                let shown =
                    Message { id, from: message.from.into(), to: to.into(), content: words.into(), seq };
                seen.push(What::Shown { position: message.position, message: shown });
                if rng.chance(100) {
                    // Refused only when 64 requests wait: then the mark is set another time.
                    let _ = self.core.mark_read(now, Target::User(peer), seq);
                }
                if rng.chance(30) {
                    let _ = self.core.flush(now);
                }
            }
            Event::Sent { id, sent } => {
                self.pending.remove(id.as_bytes());
                self.acknowledged.insert(*id.as_bytes());
                seen.push(What::Ok { id: *id.as_bytes(), seq: sent.seq });
            }
            Event::Failed { id, failure } => {
                self.pending.remove(id.as_bytes());
                let id = *id.as_bytes();
                seen.push(match failure {
                    Failure::Refused { code, .. } => What::Fail { id, code },
                    _ => What::Info { id },
                });
            }
            _ => {}
        }
    }
}
