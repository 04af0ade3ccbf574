use std::time::Duration;

use super::*;
use crate::latency::Latency;

fn full() -> Report {
    let mut latency = Latency::new();
    latency.record(Duration::from_micros(1_500));
    let quantiles = latency.quantiles();
    let mut options = Options::new(Scenario::Chat);
    options.commit = Some("abc123".into());
    Report {
        duration_s: 30.0,
        offered_per_s: Some(2_000.0),
        achieved_per_s: Some(1_999.5),
        sent: Some(60_000),
        acked: Some(60_000),
        delivered: Some(59_999),
        lost: Some(1),
        duplicated: Some(0),
        reordered: Some(0),
        latency_ms: quantiles,
        ack_ms: quantiles,
        send_lag_ms: quantiles,
        connect: Connect {
            per_s: Some(2_500.0),
            p50_ms: Some(80.0),
            p99_ms: Some(120.5),
            p95_ms: Some(110.0),
            max_ms: Some(130.0),
        },
        server: Server {
            cpu_s: Some(3.2),
            cpu_us_per_op: Some(53.333),
            rss_bytes: Some(50 << 20),
            rss_bytes_per_conn: None,
            rss_before_bytes: Some(20 << 20),
        },
        cores: Some(2),
        message_bytes: Some(200),
        ..Report::new(&options)
    }
}

#[test]
fn the_json_object_is_the_documented_one() {
    let want = concat!(
        r#"{"scenario":"chat","transport":"quic","connections":100,"duration_s":30.0,"#,
        r#""offered_per_s":2000.0,"achieved_per_s":1999.5,"sent":60000,"acked":60000,"delivered":59999,"#,
        r#""lost":1,"duplicated":0,"reordered":0,"errors":0,"#,
        r#""latency_ms":{"p50":1.5,"p90":1.5,"p99":1.5,"p999":1.5,"max":1.5,"p95":1.5},"#,
        r#""connect":{"per_s":2500.0,"p50_ms":80.0,"p99_ms":120.5,"p95_ms":110.0,"max_ms":130.0},"#,
        r#""server":{"cpu_s":3.2,"cpu_us_per_op":53.333,"rss_bytes":52428800,"rss_bytes_per_conn":null,"#,
        r#""rss_before_bytes":20971520},"commit":"abc123","cores":2,"#,
        r#""ack_ms":{"p50":1.5,"p90":1.5,"p99":1.5,"p999":1.5,"max":1.5,"p95":1.5},"#,
        r#""send_lag_ms":{"p50":1.5,"p90":1.5,"p99":1.5,"p999":1.5,"max":1.5,"p95":1.5},"message_bytes":200,"#,
        r#""warmup_s":0.0,"reconnects":0,"foreign":0,"interrupted":false,"#,
        r#""error_counts":{"never_sent":0,"failed":0,"unanswered":0,"unexpected":0,"logins":0,"sessions":0,"#,
        r#""flushes":0},"first_error":null,"impair":null,"without":[],"logins_by_transport":{"quic":0,"tls":0,"ws":0,"wt":0},"#,
        r#""away_ms":{"p50":null,"p90":null,"p99":null,"p999":null,"max":null,"p95":null},"relay":null,"#,
        r#""roam":null,"storm":null,"locate":null,"live":null,"timeline":[],"group":null}"#,
    );
    assert_eq!(full().to_json(), want);
}

#[test]
fn what_is_unknown_is_null_and_still_there() {
    let mut report = Report::new(&Options::new(Scenario::Idle));
    report.cores = None;
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    for path in [
        "/offered_per_s",
        "/achieved_per_s",
        "/sent",
        "/acked",
        "/delivered",
        "/lost",
        "/duplicated",
        "/reordered",
        "/latency_ms/p50",
        "/latency_ms/p90",
        "/latency_ms/p99",
        "/latency_ms/p999",
        "/latency_ms/max",
        "/connect/per_s",
        "/connect/p50_ms",
        "/connect/p99_ms",
        "/server/cpu_s",
        "/server/cpu_us_per_op",
        "/server/rss_bytes",
        "/server/rss_bytes_per_conn",
        "/commit",
        "/cores",
    ] {
        assert_eq!(json.pointer(path), Some(&serde_json::Value::Null), "{path}");
    }
}

#[test]
fn the_table_says_what_is_known() {
    let want = "\
run           chat over quic, 100 connections, 30.0 s, 200-byte messages
logins        2,500/s   p50 80 ms   p99 120 ms
rate          offered 2,000/s   achieved 2,000/s
messages      sent 60,000   acknowledged 60,000   delivered 59,999
faults        lost 1   duplicated 0   reordered 0   errors 0   reconnects 0
latency       p50 1.50 ms   p90 1.50 ms   p99 1.50 ms   p99.9 1.50 ms   max 1.50 ms
acknowledged  p50 1.50 ms   p90 1.50 ms   p99 1.50 ms   p99.9 1.50 ms   max 1.50 ms
send lag      p50 1.50 ms   p90 1.50 ms   p99 1.50 ms   p99.9 1.50 ms   max 1.50 ms
server        cpu 3.20 s   53.3 µs per operation   memory 50.0 MiB
";
    assert_eq!(full().table(), want);

    let mut empty = Report::new(&Options::new(Scenario::Idle));
    empty.error_counts.logins = 3;
    empty.errors = empty.error_counts.total();
    empty.first_error = Some("refused".into());
    let want = "\
run           idle over quic, 100 connections, 0.0 s
faults        errors 3   reconnects 0
errors        logins 3   first: refused
";
    assert_eq!(empty.table(), want);
}

#[test]
fn clean_means_no_fault_of_any_kind() {
    let mut report = full();
    assert!(!report.is_clean());
    report.lost = Some(0);
    assert!(report.is_clean());
    report.reordered = Some(1);
    assert!(!report.is_clean());
    report.reordered = None;
    report.errors = 1;
    assert!(!report.is_clean());
}
