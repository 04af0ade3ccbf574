//! Coming back with a token: what the backend hears of it, and what it does not.

use super::*;
use nearport_wire::body::{Close, Hello, Welcome};

fn alice() -> Identity {
    Identity { app: 7, user: "alice".into(), device: "phone".into(), issued_s: 1000, expires_s: u64::MAX }
}

fn hello(device: &str, resume: &[u8]) -> Hello {
    Hello {
        app: 7,
        user: "alice".into(),
        device: device.into(),
        resume: resume.to_vec().into(),
        ..Hello::default()
    }
}

/// A world in which alice's phone has logged in on port 1, and its token.
fn world() -> (World, Vec<u8>) {
    let mut world = World::new(ServerLimits::default());
    world.script.state().identity = Some(alice());
    world.say(1, &hello("phone", &[]));
    let token = world.token(1);
    (world, token)
}

impl World {
    fn say(&mut self, port: u16, hello: &Hello) {
        self.hello(port, hello.encode_to_vec().into());
    }

    /// The token in the welcome.
    fn token(&mut self, port: u16) -> Vec<u8> {
        let frame = self.peers.get_mut(&port).unwrap().frames.pop().unwrap();
        assert_eq!(frame.kind, Kind::WELCOME);
        let welcome = Welcome::decode(frame.body).unwrap();
        assert_eq!(welcome.resume_ttl_s, 86_400);
        welcome.resume_token.to_vec()
    }

    /// Whom the edge has vouched for, by hello that went up.
    fn vouched(&self) -> Vec<Option<Identity>> {
        let state = self.script.state();
        let vouched = |up: &Up| match up {
            Up::Open { vouched, .. } => Some(vouched.as_deref().cloned()),
            _ => None,
        };
        state.ups.iter().filter_map(vouched).collect()
    }

    /// The number in front of the reason with which a session was refused.
    fn refused(&mut self, port: u16) -> Option<u32> {
        let frame = self.peers.get_mut(&port).unwrap().frames.pop()?;
        assert_eq!(frame.kind, Kind::CLOSE);
        let close = Close::decode(frame.body).unwrap();
        assert_eq!(
            (close.code, self.close_code(port)),
            (CloseCode::UNAUTHORIZED.0, Some(CloseCode::UNAUTHORIZED))
        );
        close.reason.split(' ').next()?.parse().ok()
    }
}

#[test]
fn a_token_comes_with_the_welcome_and_the_edge_vouches_for_it() {
    let (mut world, token) = world();
    assert_eq!(world.vouched(), [None], "the first login has a UserSig to check");
    world.say(2, &hello("phone", &token));
    let renewed = world.token(2);
    assert_ne!(renewed, token);
    assert_eq!(world.vouched()[1], Some(alice()));
    // Another process with the same secret; then with the next one.
    world.restart(2);
    world.say(3, &hello("phone", &renewed));
    world.rotate(1);
    world.say(4, &hello("phone", &renewed));
    assert_eq!(world.vouched()[2..], [Some(alice()), Some(alice())]);
    let stats = world.shard.stats();
    assert_eq!((stats.resume_sealed, stats.resume_opened, stats.resume_refused), (2, 2, 0));
}

#[test]
fn a_bad_token_ends_the_session_before_the_backend_hears_of_it() {
    let (mut world, token) = world();
    let ups = world.script.state().ups.len();
    let mut flipped = token.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_epoch = token.clone();
    other_epoch[0] ^= 1;
    let cases = [
        (hello("phone", &token[..token.len() - 1]), 70003),
        (hello("phone", &token[..1]), 70003),
        (hello("phone", &flipped), 70003),
        (hello("phone", &[0; 300]), 70003),
        (hello("phone", &other_epoch), 70001),
        (hello("desk", &token), 70013),
        (Hello { user: "bob".into(), ..hello("phone", &token) }, 70013),
        (Hello { app: 8, ..hello("phone", &token) }, 70014),
    ];
    let count = cases.len();
    for (port, (hello, code)) in (10..).zip(cases) {
        world.say(port, &hello);
        assert_eq!(world.refused(port), Some(code), "{hello:?}");
    }
    assert_eq!(world.script.state().ups.len(), ups, "neither a hello nor a close went up");
    assert_eq!(world.shard.stats().resume_refused, count as u64);
    // A UserSig beside it decides: the backend is asked, and the edge vouches for nobody.
    world.say(30, &Hello { usersig: "sig".into(), ..hello("phone", &flipped) });
    assert_eq!(world.vouched(), [None, None]);
    assert_eq!(world.take(30), [Kind::WELCOME]);
}

#[test]
fn a_hello_and_a_close_at_once_leave_nothing_behind() {
    let (mut world, token) = world();
    let ups = world.script.state().ups.len();
    world.say(2, &hello("phone", &[]));
    let close = Frame::new(Lane::Control, Kind::CLOSE, 0, Bytes::new());
    let bad = Frame::new(Lane::Control, Kind::HELLO, 0, hello("phone", &token[1..]).encode_to_vec().into());
    world.connect(3);
    world.send_raw(3, &[bad.encode(), close.encode()].concat());
    assert_eq!(world.close_code(3), Some(CloseCode::BYE));
    assert_eq!(world.script.state().ups.len(), ups + 1, "only the good hello");
}

#[test]
fn a_step_of_the_clock_within_ten_minutes_keeps_nobody_out() {
    let start = 1_800_000_000;
    let end = start + 86_400;
    // (what the clock reads when the device comes back, what it is told)
    let cases =
        [(start - 600, None), (end + 600, None), (start - 601, Some(70001)), (end + 601, Some(70001))];
    for (reads, refused) in cases {
        let (mut world, token) = world();
        world.shard.set_unix_time(world.now, Duration::from_secs(reads));
        world.say(2, &hello("phone", &token));
        match refused {
            None => drop(world.token(2)),
            code => assert_eq!(world.refused(2), code, "{reads}"),
        }
    }
    // The shard counts on from the last reading by itself.
    let (mut world, token) = world();
    world.pass(Duration::from_hours(24) + Duration::from_secs(601));
    world.say(2, &hello("phone", &token));
    assert_eq!(world.refused(2), Some(70001));
}

#[test]
fn no_token_is_given_where_none_is_wanted() {
    let mut world = World::new(ServerLimits::default());
    world.login(1);
    assert_eq!(world.shard.stats().resume_sealed, 0, "the backend named nobody");
    world.config.resume.ttl = Duration::ZERO;
    world.restart(2);
    world.script.state().identity = Some(alice());
    world.login(2);
    assert_eq!(world.shard.stats().resume_sealed, 0, "turned off");
}
