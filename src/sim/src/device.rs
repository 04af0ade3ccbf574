//! A device and its user: the SDK's core over a simulated transport, a small disk, and somebody who reads and writes.

mod groups;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use nearport_chat::usersig::sign_v2;
use nearport_client::core::{Core, CoreConfig, State, TransportAction};
use nearport_client::{Acks, Event, Failure, Limits, Platform, Receive, Target, text};
use nearport_session::Outbox;

pub(crate) use groups::{GROUP, ROOM, stored_state};
use groups::{Groups, Standing};

use crate::checker::Seen;
use crate::history::{Message, MsgId, What, Who};
use crate::plan::{Act, Kind, Owned};
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
    kind: Kind,
    standing: Standing,
    /// When its last session began.
    connected: Option<Instant>,
    /// It has another address, and the server may not know.
    adrift: bool,
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
    groups: Groups,
}

impl Device {
    pub(crate) fn new(index: usize, owned: &Owned, kind: Kind, rng: Rng) -> Self {
        let makes = match (index, kind) {
            (0, Kind::Group) => Some(GROUP),
            (0, Kind::Room) => Some(ROOM),
            _ => None,
        };
        let standing = Standing { makes, room: kind == Kind::Room, ..Standing::default() };
        let who = Who { user: owned.user.into(), device: owned.device.into() };
        let index = u8::try_from(index).expect("a handful of devices");
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, index)), 40_000);
        Self {
            who,
            index,
            rng,
            address,
            life: None,
            disk: None,
            written: 0,
            kind,
            standing,
            connected: None,
            adrift: false,
        }
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
        self.adrift = true;
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
    pub(crate) fn start(&mut self, tls: &Tls, now: Instant, unix_s: u64, seen: &mut Vec<What>) {
        let follow = match self.kind {
            Kind::Pairs => nearport_client::Follow::Remembered,
            // So that what a member is owed is known: all since joining.
            Kind::Group | Kind::Room => nearport_client::Follow::SinceJoined,
        };
        let known = self.standing.cursors.iter().find(|cursor| cursor.group == GROUP);
        let remembered = Seen::Remembered { seq: known.map_or(0, |cursor| cursor.seq) };
        if self.kind == Kind::Group {
            seen.push(What::Group { group: GROUP.into(), seen: remembered });
        }
        let config = CoreConfig {
            app: APP,
            user: self.who.user.to_string(),
            device: self.who.device.to_string(),
            platform: Platform::Other,
            usersig: sign_v2(SECRET, APP, &self.who.user, unix_s, 86_400, None),
            client: "sim".to_owned(),
            cursor: self.disk,
            resume: None,
            follow,
            groups: self.standing.cursors.clone(),
            acks: Acks::default(),
            receive: Receive::Everything,
            limits: Limits::default(),
            seed: self.rng.next_u64(),
        };
        let transport = quic::Transport::new(tls, SERVER, self.rng.fork(1));
        // Every other life, whatever its path is like: what is sent twice must count once.
        let hedges = config.seed.is_multiple_of(2);
        let (mut core, mut groups) = (Core::new(config, now), Groups::default());
        groups.begin(now, &mut core, &self.standing);
        self.life = Some(Life {
            core,
            groups,
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
            self.standing.cursors.clear();
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
            life.groups.sent_to_user(*id.as_bytes(), to, &words);
            seen.push(What::Invoke { id: *id.as_bytes(), to: to.into(), content: words });
        }
    }

    /// The user presses send in a group or live room.
    pub(crate) fn say(&mut self, now: Instant, to: &'static str, seen: &mut Vec<What>) {
        let Some(life) = &mut self.life else { return };
        let words: Arc<str> = format!("{}-{}", self.index, self.written).into();
        let options = Groups::options(to, &mut self.rng);
        let sent = life.core.send_with(now, nearport_client::group(to), text(&*words), options, false);
        if let Ok(id) = sent {
            self.written += 1;
            life.pending.insert(*id.as_bytes());
            seen.push(life.groups.sent(*id.as_bytes(), to, words));
        }
    }

    /// The user does something else in the group.
    pub(crate) fn act(&mut self, now: Instant, act: Act) {
        let Some(life) = &mut self.life else {
            // Nobody holds the device; what the user wants, it will do.
            return self.standing.want(act);
        };
        life.groups.act(now, &mut life.core, &mut self.standing, act, &mut self.rng);
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        self.adrift = false;
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
                if matches!(event, Event::Connected { .. }) {
                    self.connected = Some(now);
                }
                life.take(event, &self.who, &mut self.disk, &mut self.rng, now, seen);
                self.standing.cursors = life.core.group_cursors();
            }
            busy |= life.groups.answers(now, &mut life.core, &mut self.standing, seen);
            life.groups.handle_timeout(now, &mut life.core, &self.standing);
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
        let timeouts = [life.core.poll_timeout(), life.transport.poll_timeout(), life.groups.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Up to where the device has its log; `None` before its first login.
    pub(crate) fn cursor(&self) -> Option<u64> {
        self.life.as_ref()?.core.cursor()
    }

    /// When its last session began.
    pub(crate) fn connected(&self) -> Option<Instant> {
        self.connected
    }

    /// Whether nothing has come to its present address. What is said to it goes to the former one until it has something to say itself.
    pub(crate) fn is_adrift(&self) -> bool {
        self.adrift
    }

    /// Where it stands in the group: last message, last change.
    pub(crate) fn group_cursor(&self) -> Option<(u64, u64)> {
        let cursors = self.life.as_ref()?.core.group_cursors();
        cursors.iter().find(|cursor| cursor.group == GROUP).map(|cursor| (cursor.seq, cursor.edit))
    }

    /// What the device still waits for, if `beyond` is what its log holds after its cursor.
    ///
    /// Own messages may be left there: when an answer came too late and the second attempt was told "duplicate", the
    /// device knows that they are stored and not where. The next entry by anybody closes that gap.
    pub(crate) fn unrest(&self, beyond: &[MsgId]) -> Option<String> {
        let Some(Life { core, acknowledged, groups, .. }) = &self.life else {
            return Some("is off".to_owned());
        };
        if core.state() != State::Live {
            return Some(format!("is {:?} after {:?}", core.state(), core.last_closing()));
        }
        if core.unacknowledged() > 0 {
            return Some(format!("has {} messages without an answer", core.unacknowledged()));
        }
        if let Some(why) = groups.unrest(core) {
            return Some(why);
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
        if self.groups.take(&event, &mut self.core, rng, now, seen) {
            return;
        }
        if let Some(what) = self.groups.outcome(&event) {
            if let Event::Sent { id, .. } | Event::Failed { id, .. } = &event {
                self.pending.remove(id.as_bytes());
            }
            return seen.push(what);
        }
        match event {
            Event::Notice { message, .. } => *disk = Some(message.position),
            Event::Connected { cursor, .. } => seen.push(What::Resumed { cursor }),
            Event::Edited(message) => {
                *disk = Some(message.position);
                seen.push(What::Changed { position: message.position, message: of_log(message) });
            }
            Event::Message(message) => {
                let position = message.position;
                *disk = Some(position);
                let message = of_log(message);
                let own = message.from == who.user;
                let peer = if own { message.to.to_string() } else { message.from.to_string() };
                let seq = message.seq;
                seen.push(What::Shown { position, message });
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
                self.groups.stored_for_user(id.as_bytes(), sent.seq);
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

/// A message of the user's log, for the history.
fn of_log(message: nearport_client::Message) -> Message {
    let content = message.text().into();
    let to = match message.to {
        Some(Target::User(user)) => user,
        other => format!("{other:?}"),
    };
    // Without 16 bytes it is nobody's: the checker will say so.
    let id = MsgId::try_from(&message.client_msg_id[..]).unwrap_or_default();
    Message { id, from: message.from.into(), to: to.into(), content, seq: message.seq }
}
