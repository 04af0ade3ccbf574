//! What a path does, in the long run and packet by packet.

use proptest::prelude::*;

use super::*;
use crate::Profile;

const UDP: Packet = Packet { bytes: 300, protocol: Protocol::Udp };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn path(words: &str) -> Path {
    Path::new(&words.parse().unwrap())
}

/// The fates of `count` packets, one each `gap`.
fn run(path: &mut Path, count: u32, gap: Duration) -> Vec<(Duration, Fate)> {
    (0..count).map(|n| (gap * n, path.send(gap * n, Direction::Up, UDP))).collect()
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Whether a share of `whole` draws is within five standard deviations of a probability: one wrong verdict in two million
/// seeds, and the seeds here are fixed.
fn is_about(got: f64, p: f64, whole: u64) -> bool {
    (got - p).abs() <= 5.0 * (p * (1.0 - p) / whole as f64).sqrt()
}

#[test]
fn loss_repeats_and_overtaking_happen_as_often_as_they_should() {
    let mut path = path("loss=10%,dup=3%,reorder=25%/20ms,delay=50ms");
    run(&mut path, 100_000, ms(1));
    let counts = path.counts(Direction::Up);
    assert!(is_about(share(counts.lost, counts.sent), 0.1, counts.sent), "{counts:?}");
    assert!(is_about(share(counts.repeated, counts.arrived), 0.03, counts.arrived), "{counts:?}");
    assert!(is_about(share(counts.held_back, counts.arrived), 0.25, counts.arrived), "{counts:?}");
    assert_eq!(path.counts(Direction::Down), Counts::default());
}

#[test]
fn bursts_lose_their_share_and_last_as_long_as_they_should() {
    let mut path = path("burst=20%/8,seed=3");
    let fates = run(&mut path, 400_000, ms(1));
    let counts = path.counts(Direction::Up);
    // Losses come in clumps: a burst is the unit of chance, not a packet.
    let bursts = counts.lost_in_bursts / 8;
    assert!(
        (share(counts.lost_in_bursts, counts.sent) - 0.2).abs() < 0.2 * 5.0 / (bursts as f64).sqrt(),
        "{counts:?}"
    );
    let lost: Vec<bool> = fates.iter().map(|(_, fate)| matches!(fate, Fate::Dropped(_))).collect();
    let begun = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let mean = share(counts.lost_in_bursts, begun as u64);
    assert!((mean - 8.0).abs() < 0.4, "a burst is {mean} packets long");
}

#[test]
fn bursts_may_lose_only_a_part_of_what_falls_into_them() {
    let mut path = path("burst=10%/20/50%");
    run(&mut path, 400_000, ms(1));
    let counts = path.counts(Direction::Up);
    assert!((share(counts.lost_in_bursts, counts.sent) - 0.1).abs() < 0.01, "{counts:?}");
}

#[test]
fn delay_and_jitter_stay_in_their_bounds_and_jitter_is_even() {
    let mut path = path("delay=50ms,jitter=10ms,order=free");
    let mut sum = Duration::ZERO;
    for (sent, fate) in run(&mut path, 10_000, ms(1)) {
        let Fate::Arrives { at, again: None } = fate else { panic!("{fate:?}") };
        assert!((ms(50)..=ms(60)).contains(&(at - sent)));
        sum += at - sent;
    }
    let mean = sum / 10_000;
    assert!(mean.abs_diff(ms(55)) < Duration::from_micros(150), "{mean:?}"); // five standard errors of the mean
}

#[test]
fn jitter_keeps_the_order_unless_it_is_free() {
    let overtakes = |words| {
        let fates = run(&mut path(words), 5_000, ms(1));
        let at: Vec<Duration> = fates.iter().map(|(_, fate)| arrival(*fate).unwrap()).collect();
        at.windows(2).filter(|pair| pair[1] < pair[0]).count()
    };
    assert_eq!(overtakes("delay=5ms,jitter=30ms"), 0);
    assert!(overtakes("delay=5ms,jitter=30ms,order=free") > 1_000);
    let held_back = overtakes("delay=5ms,reorder=25%/20ms");
    assert!(held_back > 500, "only what is held back is overtaken: {held_back}");
}

#[test]
fn a_narrow_link_takes_its_time_and_its_queue_has_an_end() {
    // 1 mbit/s: 8 µs per byte. 2,400 bytes fit into the queue.
    let mut path = path("rate=1mbit/2400,delay=10ms");
    let packet = Packet { bytes: 1_000, ..UDP };
    let mut send = |now| path.send(now, Direction::Up, packet);
    assert_eq!(send(ms(0)), Fate::Arrives { at: ms(18), again: None });
    assert_eq!(send(ms(0)), Fate::Arrives { at: ms(26), again: None });
    assert_eq!(send(ms(0)), Fate::Dropped(Cause::QueueFull));
    assert_eq!(send(ms(4)), Fate::Dropped(Cause::QueueFull), "1,500 bytes still wait");
    assert_eq!(send(ms(8)), Fate::Arrives { at: ms(34), again: None });
}

#[test]
fn windows_open_and_close_and_concern_whom_they_name() {
    let mut path = path("outage=2s@1s,up.blackhole=udp@5s,mtu=1280,mtu=1200@7s");
    let mut send =
        |now, direction, bytes, protocol| path.send(ms(now), direction, Packet { bytes, protocol });
    let passes = |now| Fate::Arrives { at: ms(now), again: None };
    let (closed, too_long) = (Fate::Dropped(Cause::Closed), |mtu| Fate::Dropped(Cause::TooLong { mtu }));
    let (up, down) = (Direction::Up, Direction::Down);
    assert_eq!(send(999, up, 1280, Protocol::Tcp), passes(999));
    assert_eq!(send(1_000, up, 100, Protocol::Tcp), closed);
    assert_eq!(send(2_999, down, 100, Protocol::Udp), closed);
    assert_eq!(send(3_000, down, 1281, Protocol::Udp), too_long(1280));
    assert_eq!(send(5_000, up, 100, Protocol::Udp), closed);
    assert_eq!(send(5_000, down, 100, Protocol::Udp), passes(5_000));
    assert_eq!(send(6_000, up, 1280, Protocol::Tcp), passes(6_000));
    assert_eq!(send(7_000, up, 1280, Protocol::Tcp), too_long(1200));
    assert_eq!(send(8_000, up, 1200, Protocol::Tcp), passes(8_000));
}

#[test]
fn a_nat_forgets_every_so_often() {
    let path = path("rebind=10s");
    let mappings = [0, 9_999, 10_000, 29_999, 30_000].map(|at| path.mapping(ms(at)));
    assert_eq!(mappings, [0, 0, 1, 2, 3]);
    assert_eq!(Path::new(&Spec::default()).mapping(Duration::MAX), 0);
}

fn arrival(fate: Fate) -> Option<Duration> {
    match fate {
        Fate::Arrives { at, .. } => Some(at),
        Fate::Dropped(_) => None,
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let profile = prop::sample::select(Profile::ALL.to_vec());
    let more = (
        "",
        "loss=5%",
        "dup=20%",
        "jitter=40ms,order=free",
        "rate=2mbit/20kb",
        "burst=30%/4/80%",
        "reorder=10%/9ms",
    );
    let more = prop::sample::subsequence(vec![more.0, more.1, more.2, more.3, more.4, more.5, more.6], 0..=7);
    (profile, more, any::<u64>()).prop_map(|(profile, more, seed)| {
        let mut words = vec![profile.name().to_owned()];
        words.extend(more.into_iter().filter(|word| !word.is_empty()).map(str::to_owned));
        words.push(format!("seed={seed}"));
        words.join(",").parse().unwrap()
    })
}

/// Packets: milliseconds since the one before, direction, length, protocol.
fn packets() -> impl Strategy<Value = Vec<(u64, Direction, Packet)>> {
    let direction = prop_oneof![Just(Direction::Up), Just(Direction::Down)];
    let protocol = prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp), Just(Protocol::Other)];
    let packet = (28usize..1_501, protocol).prop_map(|(bytes, protocol)| Packet { bytes, protocol });
    prop::collection::vec((0u64..400, direction, packet), 0..200)
}

proptest! {
    #[test]
    fn each_packet_arrives_never_once_or_twice_not_before_its_time_and_all_are_counted(spec in spec(), packets in packets()) {
        let mut path = Path::new(&spec);
        let (mut now, mut arrived, mut twice) = (Duration::ZERO, 0, 0);
        for (gap, direction, packet) in &packets {
            now += ms(*gap);
            let conditions = if *direction == Direction::Up { &spec.up } else { &spec.down };
            match path.send(now, *direction, *packet) {
                Fate::Arrives { at, again } => {
                    prop_assert!(at >= now + conditions.delay);
                    prop_assert!(again.is_none_or(|again| again >= at));
                    prop_assert!(!conditions.is_closed(now, packet.protocol));
                    prop_assert!(conditions.mtu_at(now).is_none_or(|mtu| packet.bytes <= mtu));
                    arrived += 1;
                    twice += u64::from(again.is_some());
                }
                Fate::Dropped(Cause::TooLong { mtu }) => prop_assert!(packet.bytes > mtu),
                Fate::Dropped(_) => {}
            }
        }
        let (up, down) = (path.counts(Direction::Up), path.counts(Direction::Down));
        prop_assert_eq!(up.sent + down.sent, packets.len() as u64);
        prop_assert_eq!((up.arrived + down.arrived, up.repeated + down.repeated), (arrived, twice));
        for counts in [up, down] {
            let dropped = counts.lost + counts.lost_in_bursts + counts.closed + counts.too_long + counts.queue_full;
            prop_assert_eq!(counts.sent, counts.arrived + dropped);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_whatever_goes_the_other_way(spec in spec(), packets in packets()) {
        let fates = |path: &mut Path, both: bool| {
            let mut now = Duration::ZERO;
            let mut fates = Vec::new();
            for (gap, direction, packet) in &packets {
                now += ms(*gap);
                if *direction == Direction::Up {
                    fates.push(path.send(now, *direction, *packet));
                } else if both {
                    path.send(now, *direction, *packet);
                }
            }
            fates
        };
        prop_assert_eq!(fates(&mut Path::new(&spec), true), fates(&mut Path::new(&spec), false));
    }

    #[test]
    fn a_rate_is_never_exceeded_and_no_packet_waits_longer_than_the_queue(
        kbit in 8u64..10_000,
        queue in 1_500u64..60_000,
        packets in prop::collection::vec((0u64..30, 28usize..1_501), 1..300),
    ) {
        let mut path = path(&format!("rate={kbit}kbit/{queue}"));
        let (mut now, mut left) = (Duration::ZERO, Vec::new());
        let bytes_per_s = kbit as f64 * 125.0;
        for (gap, bytes) in packets {
            now += ms(gap);
            if let Some(at) = arrival(path.send(now, Direction::Up, Packet { bytes, ..UDP })) {
                prop_assert!((at - now).as_secs_f64() <= queue as f64 / bytes_per_s + 1e-6);
                left.push((at, bytes));
            }
        }
        // Over any stretch that begins as a packet has left, not more leaves than the link can carry.
        for from in 0..left.len() {
            let mut sum = 0;
            for (at, bytes) in &left[from + 1..] {
                sum += bytes;
                prop_assert!(sum as f64 <= bytes_per_s * (*at - left[from].0).as_secs_f64() + 1e-3);
            }
        }
    }
}
