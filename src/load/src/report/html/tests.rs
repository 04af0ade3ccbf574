//! The page holds what it should and asks for nothing.

use super::*;
use crate::options::{Options, Scenario};
use crate::report::{Roam, Storm};
use crate::timeline::{ByTransport, Slot};

fn report() -> Report {
    let slot = |n: u64| Slot {
        at_s: n as f64,
        due: 80,
        acked: 79,
        delivered: 81,
        p50_ms: Some(101.5),
        p99_ms: (n != 2).then_some(350.0),
        max_ms: Some(900.0),
        reconnects: n,
        sessions: ByTransport { quic: 40 - n, tls: n, ..ByTransport::default() },
    };
    let mut report = Report::new(&Options::new(Scenario::Weak));
    report.timeline = (0..30).map(slot).collect();
    report.latency_curve = vec![(0.0, 100.0), (0.5, 101.5), (0.9, 200.0), (0.99, 350.0)];
    report.first_error = Some("<script>alert(1)</script> & more".into());
    report.impair = Some("loss=2%,delay=50ms".into());
    report.lost = Some(0);
    report
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let page = report().to_html();
    assert_eq!(page.matches("<svg").count(), 4);
    for word in ["http://", "https://", "src=", "href=", "<script", "@import", "url("] {
        // The name space of SVG is a name, not a request.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
    for word in ["weak over quic", "loss=2%,delay=50ms", "lost", "quic", "tls", "99 %"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains("timeline"), "the plots show it");
}

#[test]
fn what_is_not_there_has_no_plot_and_no_card() {
    let page = Report::new(&Options::new(Scenario::Idle)).to_html();
    assert!(!page.contains("<svg") && !page.contains("latency p50") && page.contains("All figures"));
}

#[test]
fn scenarios_have_cards_of_their_own_and_a_verdict() {
    let mut report = report();
    report.connections = 40;
    report.roam = Some(Roam { rebinds: 10, rebinds_min: 10, survived: 40, handed_over: Some(0) });
    assert!(report.to_html().contains("clean: nothing lost"));
    report.storm = Some(Storm { returned: 39, clients: 40, rss_ratio: Some(1.1), ..Storm::default() });
    let page = report.to_html();
    assert!(page.contains("39 of 40") && page.contains("1.10") && page.contains("not clean"));
}
