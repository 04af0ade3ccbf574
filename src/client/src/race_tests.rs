//! Table and property tests: no runtime, no socket, a clock that the tests move.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

use Transport::{Quic, Tls, WebSocket};

const ALL: [Transport; 3] = [Quic, Tls, WebSocket];

/// What is expected of a race, step by step: milliseconds since its start, an event or the passing of time, actions.
struct Track {
    start: Instant,
    race: Race,
}

impl Track {
    fn new(quiet: Duration) -> (Self, Vec<Action>) {
        let start = Instant::now();
        let plan = Plan { candidates: ALL.to_vec(), quiet };
        let mut track = Self { start, race: Race::new(plan, start) };
        let actions = track.actions();
        (track, actions)
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.race.poll_action()).collect()
    }

    fn at(&mut self, ms: u64, event: Event) -> Vec<Action> {
        self.race.handle(self.start + Duration::from_millis(ms), event);
        self.actions()
    }

    /// Lets the clock run to the next deadline; returns it in milliseconds.
    fn wait(&mut self) -> (u64, Vec<Action>) {
        let at = self.race.poll_timeout().expect("something is due");
        self.race.handle_timeout(at);
        (u64::try_from((at - self.start).as_millis()).unwrap(), self.actions())
    }
}

fn lost(code: CloseCode) -> Closing {
    Closing::new(code, "test")
}

#[test]
fn a_good_path_needs_quic_alone() {
    let (mut track, first) = Track::new(QUIET);
    assert_eq!(first, [Action::Dial(Quic)]);
    assert_eq!(track.at(30, Event::Packet), []);
    assert_eq!(track.at(60, Event::Up(Quic)), [Action::Hello(Quic)]);
    assert_eq!(track.at(90, Event::Welcome), []);
    assert_eq!(track.race.poll_timeout(), None);
}

#[test]
fn a_black_hole_for_udp_costs_a_hundred_milliseconds() {
    let (mut track, _) = Track::new(QUIET);
    assert_eq!(track.wait(), (100, vec![Action::Dial(Tls)]));
    assert_eq!(track.at(130, Event::Up(Tls)), [Action::Hello(Tls)]);
    assert_eq!(track.at(150, Event::Welcome), [Action::Drop(Quic)]);
}

#[test]
fn tcp_starts_at_once_when_quic_fails_and_websocket_when_tls_fails() {
    let (mut track, _) = Track::new(QUIET);
    assert_eq!(track.at(5, Event::Failed(Quic, lost(CloseCode::UNAVAILABLE))), [Action::Dial(Tls)]);
    assert_eq!(track.at(9, Event::Failed(Tls, lost(CloseCode::UNAVAILABLE))), [Action::Dial(WebSocket)]);
    assert_eq!(track.at(12, Event::Up(WebSocket)), [Action::Hello(WebSocket)]);
}

#[test]
fn websocket_starts_when_tls_hangs() {
    let (mut track, _) = Track::new(QUIET);
    assert_eq!(track.wait(), (100, vec![Action::Dial(Tls)]));
    assert_eq!(track.wait(), (350, vec![Action::Dial(WebSocket)]));
    assert_eq!(track.race.poll_timeout(), None, "the core's own time-out ends it");
}

#[test]
fn a_server_that_was_heard_gets_time_for_its_handshake() {
    let (mut track, _) = Track::new(QUIET);
    assert_eq!(track.at(20, Event::Packet), []);
    assert_eq!(track.wait(), (1000, vec![Action::Dial(Tls)]));
    // The late packet still counts: QUIC is up first and has the hello.
    assert_eq!(track.at(1010, Event::Up(Quic)), [Action::Hello(Quic)]);
    assert_eq!(track.at(1020, Event::Up(Tls)), []);
    assert_eq!(track.at(1030, Event::Welcome), [Action::Drop(Tls)]);
}

#[test]
fn the_hello_moves_once_when_no_welcome_comes() {
    let (mut track, _) = Track::new(QUIET);
    track.at(20, Event::Packet);
    assert_eq!(track.at(40, Event::Up(Quic)), [Action::Hello(Quic)]);
    assert_eq!(track.wait(), (1040, vec![Action::Dial(Tls)]));
    assert_eq!(track.at(1100, Event::Up(Tls)), []);
    let (at, actions) = track.wait();
    assert_eq!((at, actions), (3040, vec![Action::Drop(Quic), Action::Hello(Tls)]));
    // What was dropped is nobody's business any more.
    assert_eq!(track.at(3050, Event::Failed(Quic, lost(CloseCode::KICKED))), []);
    assert_eq!(track.at(3100, Event::Welcome), []);
}

#[test]
fn a_candidate_that_comes_up_after_the_patience_gets_the_hello_at_once() {
    let (mut track, _) = Track::new(QUIET);
    track.at(40, Event::Up(Quic));
    assert_eq!(track.wait(), (1040, vec![Action::Dial(Tls)]));
    assert_eq!(track.wait(), (1290, vec![Action::Dial(WebSocket)]));
    assert_eq!(track.at(5000, Event::Up(WebSocket)), [Action::Drop(Quic), Action::Hello(WebSocket)]);
}

#[test]
fn the_servers_verdict_ends_it_and_a_lost_path_does_not() {
    let (mut track, first) = Track::new(Duration::ZERO);
    assert_eq!(first, [Action::Dial(Quic), Action::Dial(Tls)]);
    track.at(10, Event::Up(Tls));
    let refused = lost(CloseCode::UNAUTHORIZED);
    let actions = track.at(20, Event::Failed(Tls, refused.clone()));
    assert_eq!(actions, [Action::Drop(Quic), Action::Lose(refused)]);

    let (mut track, _) = Track::new(Duration::ZERO);
    track.at(10, Event::Up(Tls));
    track.at(12, Event::Up(Quic));
    assert_eq!(track.at(20, Event::Failed(Tls, lost(CloseCode::LOST))), [Action::Hello(Quic)]);
}

#[test]
fn after_a_silent_death_tcp_hardly_waits() {
    let (mut track, _) = Track::new(QUIET_AFTER_DEATH);
    assert_eq!(track.wait(), (20, vec![Action::Dial(Tls)]));
    assert_eq!(track.at(40, Event::Up(Tls)), [Action::Hello(Tls)]);
    assert_eq!(track.at(60, Event::Welcome), [Action::Drop(Quic)]);
}

#[test]
fn a_server_that_is_not_there_is_given_up_early() {
    let (mut track, _) = Track::new(QUIET);
    track.wait();
    assert_eq!(track.at(101, Event::Failed(Tls, lost(CloseCode::UNAVAILABLE))), [Action::Dial(WebSocket)]);
    assert_eq!(track.at(102, Event::Failed(WebSocket, lost(CloseCode::UNAVAILABLE))), []);
    let (at, actions) = track.wait();
    assert_eq!((at, actions), (1102, vec![Action::Drop(Quic), Action::Lose(lost(CloseCode::UNAVAILABLE))]));
    // One that was heard keeps its time.
    let (mut track, _) = Track::new(Duration::ZERO);
    track.at(1, Event::Failed(Tls, lost(CloseCode::UNAVAILABLE)));
    track.at(2, Event::Failed(WebSocket, lost(CloseCode::UNAVAILABLE)));
    track.at(3, Event::Packet);
    assert_eq!(track.race.poll_timeout(), None);
}

#[test]
fn the_most_telling_failure_is_reported() {
    let table: [(&[CloseCode], CloseCode); 4] = [
        (&[CloseCode::LOST, CloseCode::UNAVAILABLE, CloseCode::LOST], CloseCode::UNAVAILABLE),
        (&[CloseCode::UNAVAILABLE, CloseCode::VERSION, CloseCode::UNAVAILABLE], CloseCode::VERSION),
        (&[CloseCode::LOST, CloseCode::LOST, CloseCode::LOST], CloseCode::LOST),
        (&[], CloseCode::UNAVAILABLE),
    ];
    for (failures, told) in table {
        let failures: Vec<Closing> = failures.iter().map(|code| lost(*code)).collect();
        assert_eq!(most_telling(&failures).code, told);
    }
}

/// What a path does with one transport.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// Time from the dial to a transport that is up, or that has failed.
    dial_ms: u64,
    up: bool,
    /// Time from the hello to the welcome; `None` swallows it.
    welcome_ms: Option<u64>,
    /// Time from the hello to the loss of the transport.
    lost_ms: Option<u64>,
}

fn fate() -> impl Strategy<Value = Fate> {
    let within = |max: u64| proptest::option::of(0..max);
    (0u64..6000, any::<bool>(), within(6000), within(6000))
        .prop_map(|(dial_ms, up, welcome_ms, lost_ms)| Fate { dial_ms, up, welcome_ms, lost_ms })
}

proptest! {
    /// Whatever paths do: one hello at a time, each candidate is dialled and greeted at most once, only one that is up
    /// is greeted, the race ends, and a candidate that would bring a welcome in time is not missed.
    #[test]
    fn any_paths_give_one_session_or_one_failure(
        fates in proptest::collection::vec(fate(), 3),
        packet_ms in proptest::option::of(0u64..500),
        quiet_ms in 0u64..200,
        order in Just(ALL.to_vec()).prop_shuffle(),
    ) {
        let start = Instant::now();
        let ms = |at: u64| start + Duration::from_millis(at);
        let plan = Plan { candidates: order, quiet: Duration::from_millis(quiet_ms) };
        let mut race = Race::new(plan, start);
        let fate_of = |transport: Transport| fates[ALL.iter().position(|t| *t == transport).unwrap()];
        // Everything that will happen, by time; an event of a dropped transport does not come.
        let mut agenda: Vec<(Instant, Event)> = packet_ms.map(|at| (ms(at), Event::Packet)).into_iter().collect();
        let (mut state, mut greeted) = (BTreeMap::new(), Vec::new());
        let (mut speaker, mut outcome) = (None, None);
        let mut now = start;
        for _ in 0..200 {
            while let Some(action) = race.poll_action() {
                prop_assert!(outcome != Some("lost"), "nothing after the end");
                match action {
                    Action::Dial(t) => {
                        prop_assert!(state.insert(t, "dialling").is_none(), "dialled twice");
                        let fate = fate_of(t);
                        let at = now + Duration::from_millis(fate.dial_ms);
                        let event = if fate.up { Event::Up(t) } else { Event::Failed(t, lost(CloseCode::LOST)) };
                        agenda.push((at, event));
                    }
                    Action::Hello(t) => {
                        prop_assert_eq!(speaker, None, "two hellos at once");
                        prop_assert_eq!(state.get(&t), Some(&"up"));
                        prop_assert!(!greeted.contains(&t), "greeted twice");
                        greeted.push(t);
                        speaker = Some(t);
                        let fate = fate_of(t);
                        if let Some(after) = fate.lost_ms {
                            agenda.push((now + Duration::from_millis(after), Event::Failed(t, lost(CloseCode::LOST))));
                        }
                        if let Some(after) = fate.welcome_ms {
                            agenda.push((now + Duration::from_millis(after), Event::Welcome));
                        }
                    }
                    Action::Drop(t) => {
                        prop_assert!(matches!(state.get(&t), Some(&"up" | &"dialling")));
                        state.insert(t, "gone");
                        if speaker == Some(t) { speaker = None; agenda.retain(|(_, e)| *e != Event::Welcome); }
                        agenda.retain(|(_, e)| !matches!(e, Event::Up(o) | Event::Failed(o, _) if *o == t));
                    }
                    Action::Lose(_) => {
                        prop_assert_eq!(outcome.replace("lost"), None);
                        prop_assert_eq!(speaker, None);
                    }
                }
            }
            if outcome.is_some() {
                break;
            }
            agenda.sort_by_key(|(at, _)| *at);
            let due = race.poll_timeout();
            prop_assert!(due.is_none_or(|due| due > now || agenda.first().is_some_and(|(at, _)| *at <= now)),
                "a deadline in the past would spin");
            match (agenda.first().map(|(at, _)| *at), due) {
                (Some(at), due) if due.is_none_or(|due| at <= due) => {
                    now = now.max(at);
                    let (_, event) = agenda.remove(0);
                    match &event {
                        Event::Up(t) => { state.insert(*t, "up"); }
                        Event::Failed(t, _) => {
                            state.insert(*t, "gone");
                            if speaker == Some(*t) { speaker = None; agenda.retain(|(_, e)| *e != Event::Welcome); }
                        }
                        Event::Welcome => outcome = Some("won"),
                        Event::Packet => {}
                    }
                    race.handle(now, event);
                }
                (_, Some(due)) => {
                    now = now.max(due);
                    race.handle_timeout(now);
                }
                (None, None) => {
                    // Only a greeted candidate that says nothing may hang: the core's time-out ends it.
                    prop_assert!(speaker.is_some_and(|t| fate_of(t).welcome_ms.is_none() && fate_of(t).lost_ms.is_none()));
                    outcome = Some("hangs");
                }
                (Some(_), None) => unreachable!(),
            }
        }
        prop_assert!(outcome.is_some(), "the race ends");
        let sure = |t: &Transport| fate_of(*t).up && fate_of(*t).welcome_ms.is_some_and(|w| w < 1000)
            && fate_of(*t).lost_ms.is_none();
        // QUIC may be given up before it is heard when everything else has failed.
        let missed = |t: &Transport| sure(t) && (!t.is_udp() || packet_ms.is_some_and(|at| at < 500));
        if outcome == Some("lost") {
            prop_assert!(!ALL.iter().any(missed), "a good candidate was missed");
        }
    }
}
