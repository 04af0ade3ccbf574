//! Any schedule of losses, delays and refusals: each message comes once, in order, and each send is stored once.

use proptest::prelude::*;

use super::*;

/// One step of the world.
#[derive(Debug, Clone)]
enum Step {
    Post,
    Incoming,
    /// An incoming message whose push is dropped.
    IncomingUnseen,
    /// Up to this many bytes travel.
    Up(usize),
    Down(usize),
    Lose,
    Refuse(u32),
    /// Whether the next connection can be made beside the present one.
    GoAway(bool),
    Take(usize),
    Wait,
    Later(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Post),
        3 => Just(Step::Incoming),
        1 => Just(Step::IncomingUnseen),
        5 => (1usize..400).prop_map(Step::Up),
        5 => (1usize..400).prop_map(Step::Down),
        1 => Just(Step::Lose),
        1 => (0u32..2).prop_map(|n| Step::Refuse(n * 700)),
        1 => any::<bool>().prop_map(Step::GoAway),
        3 => (1usize..5).prop_map(Step::Take),
        3 => Just(Step::Wait),
        1 => (1u64..30_000).prop_map(Step::Later),
    ];
    proptest::collection::vec(step, 1..150)
}

/// A world with bytes on the way in both directions.
struct Net {
    world: World,
    up: Vec<u8>,
    down: Vec<u8>,
    shown: Vec<u64>,
    posted: Vec<MsgId>,
    sent: Vec<MsgId>,
    failed: Vec<MsgId>,
    prepares: bool,
}

impl Net {
    fn step(&mut self, step: Step) {
        match step {
            Step::Post => {
                let what = self.posted.len().to_string();
                let id = self.world.post(&what);
                self.posted.push(id);
            }
            Step::Incoming => {
                let push = self.world.ledger.incoming("in");
                if let Some(peer) = &mut self.world.peer {
                    peer.push(&push);
                }
            }
            Step::IncomingUnseen => {
                self.world.ledger.incoming("in");
                if let Some(peer) = &mut self.world.peer {
                    peer.server.mark_behind();
                }
            }
            Step::Up(bytes) => self.carry_up(bytes),
            Step::Down(bytes) => self.carry_down(bytes),
            Step::Lose if self.world.peer.is_some() => {
                self.world.lose(CloseCode::LOST);
            }
            Step::Lose => {}
            Step::Refuse(retry_after_ms) => self.world.ledger.refusals.push_back(refusal(retry_after_ms)),
            Step::GoAway(prepares) => {
                self.prepares = prepares;
                if let Some(peer) = self.world.peer.as_mut().filter(|peer| peer.server.is_live()) {
                    peer.server.go_away(CloseCode::GOING_AWAY, SECOND, &[]);
                }
            }
            Step::Take(count) => self.take(count),
            Step::Wait => {
                if let Some(at) = self.world.core.poll_timeout() {
                    self.pass(at.max(self.world.now));
                }
            }
            Step::Later(ms) => self.pass(self.world.now + Duration::from_millis(ms)),
        }
        self.transport();
    }

    fn pass(&mut self, to: Instant) {
        self.world.now = to;
        self.world.core.handle_timeout(to);
    }

    fn transport(&mut self) {
        while let Some(action) = self.world.core.poll_transport() {
            let (now, path) = (self.world.now, Path::one_stream(Transport::Quic));
            match action {
                TransportAction::Connect => {
                    (self.up, self.down) = (Vec::new(), Vec::new());
                    self.world.core.handle_connected(now, path);
                    self.world.peer = Some(Peer::new(now));
                }
                TransportAction::Disconnect(_) => self.world.peer = None,
                TransportAction::Prepare if self.prepares => self.world.core.handle_prepared(now, path),
                TransportAction::Prepare => self.world.core.handle_prepare_failed(now),
                TransportAction::Switch => {
                    // The last words get through, what was under way does not.
                    let parting = self.world.core.take_parting().concat();
                    self.up.extend(parting);
                    self.carry(usize::MAX);
                    (self.up, self.down) = (Vec::new(), Vec::new());
                    self.world.peer = Some(Peer::new(now));
                }
            }
        }
        if self.world.peer.is_none() {
            self.up.clear();
            self.down.clear();
        }
    }

    fn carry_up(&mut self, bytes: usize) {
        if self.world.peer.is_some() {
            self.up.extend(self.world.core.poll_output().take().concat());
            self.carry(bytes);
        }
    }

    fn carry(&mut self, bytes: usize) {
        let Some(peer) = &mut self.world.peer else { return };
        let chunk: Vec<u8> = self.up.drain(..bytes.min(self.up.len())).collect();
        // A client that says good-bye is a closing too.
        let outcome = peer.handle_bytes(&mut self.world.ledger, self.world.now, chunk.into());
        assert!(
            outcome.as_ref().is_ok_and(|()| true)
                || outcome == Err(Closing::new(CloseCode::BYE, "client said good-bye"))
        );
    }

    fn carry_down(&mut self, bytes: usize) {
        let Some(peer) = &mut self.world.peer else { return };
        self.down.extend(peer.server.poll_output().take().concat());
        if self.world.core.wants_input() {
            let chunk: Vec<u8> = self.down.drain(..bytes.min(self.down.len())).collect();
            self.world.core.handle_bytes(self.world.now, chunk.into());
        }
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            let acked = self.world.ledger.acked;
            assert!(
                acked <= self.shown.last().copied().unwrap_or(0).max(self.own_run()),
                "told before shown"
            );
            match self.world.core.poll_event() {
                Some(Event::Message(message)) => self.shown.push(message.position),
                Some(Event::Sent { id, .. }) => self.sent.push(id),
                Some(Event::Failed { id, .. }) => self.failed.push(id),
                Some(_) => {}
                None => break,
            }
        }
    }

    /// Last position of the run of own entries that begins behind what is shown: it may be acknowledged too.
    fn own_run(&self) -> u64 {
        let shown = self.shown.last().copied().unwrap_or(0);
        let ledger = &self.world.ledger;
        (shown + 1..=ledger.head()).take_while(|at| ledger.is_from(*at, "bob")).last().unwrap_or(shown)
    }

    /// Faults are over: everything must come to rest in bounded time.
    fn heal(&mut self) {
        self.world.ledger.refusals.clear();
        for _ in 0..400 {
            for _ in 0..20 {
                self.step(Step::Up(usize::MAX));
                self.step(Step::Down(usize::MAX));
                self.step(Step::Take(100));
            }
            let world = &self.world;
            let settled = world.core.unacknowledged() == 0 && world.ledger.acked == world.ledger.head();
            if settled && self.up.is_empty() && self.down.is_empty() && world.core.state() == State::Live {
                return;
            }
            self.step(Step::Wait);
        }
        panic!("not at rest: {:?}", self.world.core);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn each_message_once_in_order_and_each_send_stored_once(steps in steps(), seed: u64, events_max in 2usize..40) {
        let limits = Limits { events_max, ..Limits::default() };
        let world = World::new(CoreConfig { seed, limits, ..config() });
        let refuses = steps.iter().any(|step| matches!(step, Step::Refuse(_)));
        let mut net = Net {
            world, up: Vec::new(), down: Vec::new(),
            shown: Vec::new(), posted: Vec::new(), sent: Vec::new(), failed: Vec::new(), prepares: false,
        };
        net.transport();
        for step in steps {
            net.step(step);
        }
        net.heal();

        let log = &net.world.ledger.log;
        let from = |delivery: &body::Delivery| delivery.message.clone().unwrap_or_default().from;
        let expected: Vec<u64> = (1..).zip(log).filter(|(_, d)| from(d) == "alice").map(|(p, _)| p).collect();
        prop_assert_eq!(&net.shown, &expected, "lost, doubled or out of order");

        let mut outcomes = [net.sent.clone(), net.failed.clone()].concat();
        outcomes.sort_unstable();
        prop_assert_eq!(&outcomes, &net.posted, "each send has one outcome");
        let mut stored = net.world.ledger.texts("bob");
        if !refuses {
            prop_assert!(net.failed.is_empty());
            prop_assert_eq!(&stored, &(0..net.posted.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        stored.sort_unstable();
        let before = stored.len();
        stored.dedup();
        prop_assert_eq!(stored.len(), before, "stored once");
        prop_assert_eq!(stored.len(), net.sent.len(), "what was reported sent is stored, and the reverse");
    }
}
