//! Whole runs of the load tool against a small server on real sockets, which does on request what the load tool has
//! to notice.

#[cfg(test)]
mod server;

use std::time::Duration;

use nearport_client::NetworkConfig;
use nearport_load::{Credentials, Error, Options, Progress, RebindBy, Report, Scenario, run};

use server::{Conduct, Server};

/// Short enough for a test; every number that is checked is a count, none is a time.
fn options(scenario: Scenario) -> Options {
    Options {
        connections: 10,
        rate: 2_000,
        duration: Duration::from_millis(500),
        message_bytes: 100,
        sockets: 10,
        rebinds: 2,
        ..Options::new(scenario)
    }
}

fn report(options: &Options, conduct: Conduct) -> Result<Report, Error> {
    let server = Server::start(conduct);
    let credentials = Credentials {
        server: server.address,
        server_name: "localhost".into(),
        locate: None,
        network: NetworkConfig::from_ca_pem(&server.ca_pem).expect("the server made it"),
        app: 1_400_000_000,
        usersig: Box::new(|user| format!("sig of {user}")),
    };
    run(options, credentials, &Progress::hidden())
}

#[test]
fn chat_accounts_for_every_message() {
    let mut options = options(Scenario::Chat);
    options.warmup = Duration::from_millis(100);
    options.server_pid = Some(std::process::id());
    options.commit = Some("abc".into());
    let report = report(&options, Conduct { old_messages: 3, ..Conduct::default() }).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    let total = Some(1_200); // rate x (warm-up + duration)
    assert_eq!((report.sent, report.acked, report.delivered), (total, total, total));
    assert_eq!((report.lost, report.duplicated, report.reordered), (Some(0), Some(0), Some(0)));
    assert_eq!((report.reconnects, report.foreign, report.interrupted), (0, 0, false));
    for quantiles in [report.latency_ms, report.ack_ms, report.send_lag_ms] {
        assert!(quantiles.max >= quantiles.p50 && quantiles.p50.is_some());
    }
    assert!(report.connect.per_s.is_some() && report.server.cpu_us_per_op.is_some());
    assert_eq!(report.commit.as_deref(), Some("abc"));
}

#[test]
fn a_server_that_loses_acknowledged_messages_is_found_out() {
    let mut options = options(Scenario::Chat);
    options.drain_timeout = Duration::from_secs(2);
    let report = report(&options, Conduct { lose_every: Some(50), ..Conduct::default() }).unwrap();
    assert_eq!((report.sent, report.acked), (Some(1_000), Some(1_000)));
    assert_eq!((report.lost, report.delivered), (Some(20), Some(980)));
    assert_eq!((report.duplicated, report.reordered, report.errors), (Some(0), Some(0), 0));
    assert!(!report.is_clean());
}

#[test]
fn a_server_that_stores_messages_twice_is_found_out() {
    let report =
        report(&options(Scenario::Chat), Conduct { repeat_every: Some(50), ..Conduct::default() }).unwrap();
    assert_eq!((report.acked, report.delivered), (Some(1_000), Some(1_000)));
    assert_eq!((report.lost, report.duplicated, report.reordered), (Some(0), Some(20), Some(0)));
}

#[test]
fn a_server_that_swaps_messages_is_found_out() {
    let mut options = options(Scenario::Chat);
    // A message that is held back at the very end has none to be swapped with.
    options.drain_timeout = Duration::from_secs(2);
    let report = report(&options, Conduct { swap_every: Some(50), ..Conduct::default() }).unwrap();
    let (Some(lost), Some(reordered)) = (report.lost, report.reordered) else { panic!("chat counts both") };
    assert_eq!(lost + reordered, 20);
    assert!(lost <= 5, "at most one for each conversation's end");
    assert_eq!(report.duplicated, Some(0));
}

#[test]
fn connections_that_break_cost_nothing_but_time() {
    let report =
        report(&options(Scenario::Chat), Conduct { cut_every: Some(300), ..Conduct::default() }).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.delivered), (Some(1_000), Some(1_000)));
    assert!(report.reconnects >= 10, "{}", report.table());
}

#[test]
fn a_bad_network_costs_nothing_but_time() {
    let mut options = options(Scenario::Weak);
    options.rate = 200;
    options.impair = Some("loss=10%,delay=5ms,jitter=5ms,dup=10%,reorder=20%/5ms".parse().unwrap());
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.delivered), (Some(100), Some(100)));
    let relay = report.relay.unwrap();
    assert!(relay.up > 100 && relay.up_lost > 0 && relay.down_lost > 0 && relay.overrun == 0, "{relay:?}");
    assert_eq!((relay.flows, relay.rebinds), (10, 0));
    assert_eq!(report.logins_by_transport.quic, 10 + report.reconnects);
    assert_eq!(report.timeline.len(), 1, "half a second is one slot");
    assert_eq!(report.timeline[0].due, 100);
    assert!(report.impair.unwrap().starts_with("loss=10%"));
}

#[test]
fn sessions_live_through_changes_of_address() {
    let mut options = options(Scenario::Roam);
    options.duration = Duration::from_secs(2);
    options.rebinds = 4;
    options.rate = 500;
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    let (roam, relay) = (report.roam.unwrap(), report.relay.unwrap());
    assert_eq!((roam.survived, report.reconnects, roam.handed_over), (10, 0, None));
    assert!(roam.rebinds_min >= 3 && relay.rebinds >= 10 * roam.rebinds_min, "{relay:?}");
}

#[test]
fn sessions_live_through_moves_of_their_clients() {
    let mut options = options(Scenario::Roam);
    options.duration = Duration::from_secs(2);
    options.rebinds = 3;
    options.rate = 500;
    options.rebind_by = RebindBy::Client;
    options.impair = Some("clean".parse().unwrap()); // a relay that only counts whom it sees
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    let roam = report.roam.unwrap();
    assert_eq!((roam.survived, roam.rebinds_min, report.reconnects), (10, 3, 0));
    assert!(report.relay.unwrap().flows >= 30, "each move is another socket: {report:?}");
}

#[test]
fn everybody_comes_back_after_a_storm_that_nobody_announced() {
    let mut options = options(Scenario::Storm);
    options.rate = 1_000;
    let report = report(&options, Conduct { cut_every: Some(450), ..Conduct::default() }).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    let storm = report.storm.unwrap();
    assert_eq!((storm.returned, storm.clients, storm.killed_at_s), (10, 10, None));
    assert!(storm.all_back_s >= storm.first_back_s && storm.back_ms.max.is_some());
    assert_eq!(storm.rss_peak_bytes, None, "it is another's process");
}

#[test]
fn refused_messages_are_errors() {
    let report =
        report(&options(Scenario::Chat), Conduct { refuse_sends: true, ..Conduct::default() }).unwrap();
    assert_eq!((report.sent, report.acked, report.delivered), (Some(1_000), Some(0), Some(0)));
    assert_eq!((report.errors, report.error_counts.failed), (1_000, 1_000));
    assert!(report.first_error.unwrap().contains("90002"));
}

#[test]
fn more_than_a_client_takes_waits_for_its_turn() {
    let mut options = options(Scenario::Chat);
    // 5,000 messages per sender in 100 ms are more than its outbox of 1,000 and its window of 64 let through.
    options.connections = 2;
    options.rate = 100_000;
    options.duration = Duration::from_millis(100);
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.delivered), (Some(10_000), Some(10_000)));
}

#[test]
fn echo_counts_replies() {
    let report = report(&options(Scenario::Echo), Conduct { echo: true, ..Conduct::default() }).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.acked, report.delivered), (Some(1_000), Some(1_000), Some(1_000)));
    assert_eq!(
        (report.lost, report.duplicated, report.reordered),
        (None, None, None),
        "the SDK would not show them"
    );
    assert!(report.latency_ms.p50.is_some() && report.ack_ms.p50.is_none());
}

#[test]
fn more_than_a_client_may_ask_waits_for_its_turn() {
    let mut options = options(Scenario::Echo);
    options.connections = 2;
    options.rate = 100_000;
    options.duration = Duration::from_millis(100);
    let report = report(&options, Conduct { echo: true, ..Conduct::default() }).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.acked), (Some(10_000), Some(10_000)));
}

#[test]
fn echo_says_that_there_is_none() {
    let error = report(&options(Scenario::Echo), Conduct::default()).unwrap_err();
    assert!(matches!(error, Error::NoEcho { .. }));
    assert!(error.to_string().contains("60009"), "{error}");
}

#[test]
fn connect_counts_logins() {
    let mut options = options(Scenario::Connect);
    options.connections = 50;
    options.logins_max = 8;
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    assert_eq!((report.sent, report.acked, report.delivered), (Some(50), Some(50), None));
    assert!(report.connect.p99_ms.is_some() && report.latency_ms.p50 == report.connect.p50_ms);
    assert!(report.achieved_per_s.is_some() && report.offered_per_s.is_none());
}

#[test]
fn idle_measures_memory_per_session() {
    let mut options = options(Scenario::Idle);
    options.connections = 50;
    options.server_pid = Some(std::process::id());
    let report = report(&options, Conduct::default()).unwrap();
    assert!(report.is_clean(), "{}", report.table());
    let server = report.server;
    // The clients and other tests live in the same process: only the arithmetic can be checked, and it has no
    // answer if the others gave back more than these clients took.
    let grown = server.rss_bytes.unwrap().checked_sub(server.rss_before_bytes.unwrap());
    assert_eq!(server.rss_bytes_per_conn, grown.map(|grown| grown / 50));
    assert_eq!((report.sent, report.achieved_per_s, server.cpu_us_per_op), (None, None, None));
}

#[test]
fn a_refused_login_ends_the_run_and_says_why() {
    // The addressing service knows no logins.
    for scenario in Scenario::ALL.into_iter().filter(|scenario| *scenario != Scenario::Locate) {
        let mut options = options(scenario);
        if scenario == Scenario::Group {
            options.set_groups(1, 10, 10);
        }
        let error = report(&options, Conduct { refuse_logins: true, ..Conduct::default() }).unwrap_err();
        assert!(matches!(error, Error::Login { logged_in: 0, wanted: 10, .. }), "{scenario}: {error}");
        assert!(error.to_string().contains("4000 UNAUTHORIZED: 70001"), "{error}");
    }
}
