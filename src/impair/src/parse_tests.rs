//! What reads, what does not, and in which words.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Spec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn all_words_read() {
    let spec = read(
        "loss=2.5%, burst=20%/8/90%,delay=50ms,jitter=10ms,order=free,reorder=25%/5ms,dup=1%,rate=1mbit/64kb,\
         mtu=1280,mtu=1200@15s,blackhole=udp@2s..3s,outage=60s@20s,rebind=10s,seed=7",
    );
    assert_eq!(spec.up, spec.down);
    let up = &spec.up;
    assert_eq!(
        (up.loss, up.duplicate, up.reorder),
        (Chance::ppm(25_000), Chance::percent(1), Chance::percent(25))
    );
    assert_eq!((up.delay, up.jitter, up.hold_back, up.order_free), (ms(50), ms(10), ms(5), true));
    assert_eq!(up.burst, Burst::new(Chance::percent(20), 8, Chance::percent(90)));
    assert_eq!(up.rate, Some(Rate { bits_per_s: 1_000_000, queue_bytes: 65_536 }));
    assert_eq!(
        [up.mtu_at(ms(0)), up.mtu_at(ms(14_999)), up.mtu_at(ms(15_000))],
        [Some(1280), Some(1280), Some(1200)]
    );
    let closed = |at, protocol| up.is_closed(at, protocol);
    assert!(
        !closed(ms(1_999), Protocol::Udp)
            && closed(ms(2_000), Protocol::Udp)
            && !closed(ms(3_000), Protocol::Udp)
    );
    assert!(
        !closed(ms(2_000), Protocol::Tcp)
            && closed(ms(20_000), Protocol::Tcp)
            && !closed(ms(80_000), Protocol::Tcp)
    );
    assert_eq!((spec.rebind, spec.seed), (Some(ms(10_000)), 7));
}

#[test]
fn a_direction_is_one_direction_and_a_profile_can_be_changed() {
    let spec = read("up.loss=1%,down.rate=384kbit");
    assert_eq!((spec.up.loss, spec.down.loss), (Chance::percent(1), Chance::NEVER));
    assert_eq!((spec.up.rate, spec.down.rate.map(|rate| rate.queue_bytes)), (None, Some(16_384)));
    let spec = read("loss2,loss=3%,up.mtu=1300");
    assert_eq!((spec.up.loss, spec.up.delay, spec.down.mtu.len()), (Chance::percent(3), ms(50), 0));
    assert_eq!(read(""), Spec::default());
    assert_eq!(Spec::default().to_string(), "clean");
}

#[test]
fn each_mistake_says_where_and_what() {
    let cases = [
        ("los=2%", "`los=2%`, from character 1 on: `los` is unknown: known are loss, burst"),
        ("loss=2%, delay=5x", "`delay=5x`, from character 10 on: `5x` is no time"),
        ("loss=2%,,dup=1%", "``, from character 9 on: a word is missing between commas"),
        ("loss=2%,", "a word is missing"),
        ("loss=101%", "more than all packets"),
        ("loss=2", "`2` is no share: write for example 2%"),
        ("loss=-2%", "no share"),
        ("loss=%", "no share"),
        ("loss=0.00001%", "no share"),
        ("left.loss=2%", "`left` is no direction"),
        ("loss=2%,3g", "a profile stands first"),
        ("4g", "no such profile (known are clean, loss2, loss10"),
        ("delay=61s", "longer than 60s"),
        ("delay=99999999999999999999s", "no time"),
        ("delay=18446744073709551615s", "longer than 60s"),
        ("jitter=5", "no time"),
        ("order=up", "`up` is no order"),
        ("burst=20%/0", "no bursts of 0 packets"),
        ("burst=20%/x", "`x` is no number of packets"),
        ("burst=90%/1", "no bursts of 1 packets that lose 100% each lose 90%"),
        ("burst=20%/5/20%", "lose 20% of all"),
        ("rate=1000", "`1000` is no rate"),
        ("rate=1bit", "between 1kbit and 1000gbit"),
        ("rate=99999999999gbit", "between"),
        ("rate=1mbit/100", "at least one packet"),
        ("mtu=20", "shorter than 68"),
        ("mtu=9x", "no size"),
        ("blackhole=icmp", "`icmp` is no protocol"),
        ("blackhole=udp@5s..5s", "ends before it begins"),
        ("outage=0s@5s", "longer than zero"),
        ("rebind=1ms", "at least 100ms"),
        ("seed=x", "no seed"),
    ];
    for (text, words) in cases {
        let error = text.parse::<Spec>().expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let many = vec!["outage=1s@1s"; WINDOWS_MAX + 1].join(",");
    assert!(many.parse::<Spec>().unwrap_err().problem.contains("at most 16"));
    assert!(
        read(&vec!["mtu=1280@1s"; 50].join(",")).up.mtu.len() == 1,
        "a step replaces that of the same time"
    );
}

fn conditions() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        (0u32..=1_000_000).prop_map(|ppm| format!("loss={}", Chance::ppm(ppm))),
        (0u32..=1_000_000).prop_map(|ppm| format!("dup={}", Chance::ppm(ppm))),
        (0u32..=1_000_000, 0u64..100).prop_map(|(ppm, ms)| format!("reorder={}/{ms}ms", Chance::ppm(ppm))),
        (0u32..400_000, 1u32..50).prop_map(|(ppm, packets)| format!("burst={}/{packets}", Chance::ppm(ppm))),
        (0u64..60_000_000).prop_map(|us| format!("delay={us}us")),
        (0u64..60_000).prop_map(|ms| format!("jitter={ms}ms")),
        Just("order=free".to_owned()),
        (1u64..100_000, 1_500u64..100_000).prop_map(|(kbit, queue)| format!("rate={kbit}kbit/{queue}")),
        (68u64..9_000, 0u64..100).prop_map(|(bytes, at)| format!("mtu={bytes}@{at}s")),
        (1u64..100, 0u64..100).prop_map(|(lasts, at)| format!("outage={lasts}s@{at}ms")),
        (0u64..100, 1u64..100).prop_map(|(from, lasts)| format!("blackhole=tcp@{from}s..{}s", from + lasts)),
        (0u64..100).prop_map(|from| format!("blackhole=all@{from}s")),
        Just("blackhole=udp".to_owned()),
    ];
    let place = prop_oneof![Just(""), Just("up."), Just("down.")];
    prop::collection::vec((place, word).prop_map(|(place, word)| format!("{place}{word}")), 0..8)
}

#[test]
fn how_long_packets_are_held_back_is_printed_whoever_holds_them() {
    assert_eq!(read("up.dup=0%,up.loss=0%"), Spec::default(), "nothing is held back for no copies");
    for text in
        ["dup=1%,reorder=0%/5ms", "dup=1%,reorder=1%/0ms", "reorder=0%/5ms", "dup=1%", "dup=1%,dup=0%"]
    {
        let spec = read(text);
        assert_eq!(read(&spec.to_string()), spec, "{text} is printed as {spec}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(words in conditions(), rebind in prop::option::of(100u64..100_000), seed: u64) {
        let mut words = words;
        words.extend(rebind.map(|ms| format!("rebind={ms}ms")));
        words.push(format!("seed={seed}"));
        let spec = words.join(",").parse::<Spec>();
        prop_assume!(spec.is_ok()); // a few bursts do not exist
        let spec = spec.unwrap();
        prop_assert_eq!(spec.to_string().parse::<Spec>(), Ok(spec));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = text.parse::<Spec>();
    }

    #[test]
    fn no_value_panics(key in prop::sample::select(WORDS.to_vec()), value in "[0-9@/.%a-z]{0,24}") {
        let _ = format!("{key}={value}").parse::<Spec>();
    }
}
