//! What each part of the tuning for bad networks buys: QUIC as it is, without one part after the other, without any, and
//! with a shorter ACK delay. Deliveries and logins on the networks that lose packets, and the packets that it took.
//!
//! A cell is a laboratory with a server of its own. First pairs of clients write to each other; then other clients log in, one after
//! the other on a few places, in one process: all but the first ones have what the SDK remembers of the path.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nearport_impair::{Profile, Spec};
use nearport_lab::{Lab, Node, Run};
use nearport_load::Tuned;
use serde_json::{Value, json};

use crate::{Args, PATIENCE, PROGRAM};

/// Networks that lose packets.
const NETWORKS: [Profile; 3] = [Profile::Loss2, Profile::Loss10, Profile::Burst20];

/// Length of the window in which messages are sent.
const WINDOW: Duration = Duration::from_secs(60);

/// Logins of a cell, and how many are under way at once.
const LOGINS: &str = "200";
const LOGINS_AT_ONCE: &str = "8";

/// What both sides are asked to acknowledge within, where that is tried.
const ACK_DELAY: &str = "10ms";

/// One network, and what is left out or added.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    network: Profile,
    without: Vec<Tuned>,
    /// Both sides ask each other for acknowledgements within this.
    ack_delay: Option<&'static str>,
    window: Duration,
    logins: &'static str,
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.network, self.name())
    }
}

/// What came of a cell.
#[derive(Debug)]
pub(crate) struct Outcome {
    weak: Value,
    connect: Value,
    /// Packets both ways while messages were sent, logins and good-byes included.
    packets: u64,
}

impl Cell {
    fn name(&self) -> String {
        match self.without.as_slice() {
            [] => self.ack_delay.map_or_else(|| "as it is".to_owned(), |delay| format!("ack delay {delay}")),
            [one] => format!("without {}", one.name()),
            _ => "without any".to_owned(),
        }
    }
}

/// All cells, network by network.
pub(crate) fn cells(args: &Args) -> Vec<Cell> {
    let networks = match args.quick {
        true => &NETWORKS[..1],
        false if args.networks.is_empty() => &NETWORKS[..],
        false => &args.networks[..],
    };
    let mut variants = vec![(Vec::new(), None)];
    if args.quick {
        variants.push((vec![Tuned::Hedging], None));
    } else {
        variants.extend(Tuned::ALL.map(|part| (vec![part], None)));
        variants.push((Tuned::ALL.to_vec(), None));
        variants.push((Vec::new(), Some(ACK_DELAY)));
    }
    let of =
        |network: &Profile| variants.iter().map(|variant| (*network, variant.clone())).collect::<Vec<_>>();
    let cell = |(network, (without, ack_delay))| Cell {
        network,
        without,
        ack_delay,
        window: if args.quick { Duration::from_secs(5) } else { WINDOW },
        logins: if args.quick { "16" } else { LOGINS },
    };
    networks.iter().flat_map(of).map(cell).collect()
}

pub(crate) fn run(cell: &Cell, args: &Args, temporary: &Path) -> Result<Outcome> {
    let dir = tempfile::Builder::new().prefix("matrix-").tempdir_in(temporary)?;
    let lab = Lab::new()?;
    let (mut server, mut tuned) = (Vec::new(), Vec::new());
    let setting = cell.ack_delay.map(|delay| format!("edge.ack_delay={delay}"));
    if let (Some(delay), Some(setting)) = (cell.ack_delay, &setting) {
        server.extend(["--set", setting]);
        tuned.extend(["--ack-delay", delay]);
    }
    let node = Node::start(&lab, Path::new(PROGRAM), dir.path(), &server)?;
    lab.set(Spec { seed: args.seed, ..cell.network.spec() });
    let without: Vec<_> = cell.without.iter().map(|part| part.name()).collect();
    let without = without.join(",");
    if !without.is_empty() {
        tuned.extend(["--without", &without]);
    }
    let (connections, rate) = (args.connections.to_string(), args.rate.to_string());
    let window = format!("{}s", cell.window.as_secs());
    let weak =
        ["weak", "--connections", &connections, "--rate", &rate, "--duration", &window, "--drain", "120s"];
    let weak = node.load(&lab, &[&weak[..], &tuned].concat(), cell.window + PATIENCE)?;
    let weak = report(weak, false).context("messages")?;
    let counts = lab.counts();
    ensure!(counts.overrun == 0, "the emulator dropped {} packets by itself", counts.overrun);
    // A flow of its own for each, as each device has.
    let connect =
        ["connect", "--connections", cell.logins, "--logins", LOGINS_AT_ONCE, "--sockets", cell.logins];
    let connect = node.load(&lab, &[&connect[..], &tuned].concat(), PATIENCE)?;
    let connect = report(connect, true).context("logins")?;
    node.stop();
    Ok(Outcome { weak, connect, packets: counts.up.sent + counts.down.sent })
}

/// The report of a load tool that found nothing wrong. `may_lose`: sessions that were logged in and lost their path were not what
/// was measured; they are in the table.
fn report(run: Run, may_lose: bool) -> Result<Value> {
    let Some(report) = run.report else {
        bail!("no report: {}", run.stderr.lines().last().unwrap_or_default());
    };
    let good = run.status.is_some_and(|status| status.success());
    let only_lost = report["error_counts"].as_object().is_some_and(|counts| {
        counts.iter().all(|(what, count)| what == "sessions" || count.as_u64() == Some(0))
    });
    ensure!(good || may_lose && only_lost, "not clean: {} {}", report["error_counts"], report["first_error"]);
    Ok(report)
}

impl Outcome {
    fn ms(of: &Value, name: &str) -> f64 {
        of.pointer(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn packets_per_message(&self) -> f64 {
        self.packets as f64 / Self::ms(&self.weak, "/sent")
    }
}

/// The table, the figures, and whether every cell was clean.
pub(crate) fn render(done: &[(Cell, Result<Outcome>)]) -> (String, Value, bool) {
    let mut out = String::from(
        "\nQUIC; times in ms, network delays one way; packets both ways for each message, logins included; lost: of 200 that logged \
         in, paths given up at once\n\n",
    );
    let _ = writeln!(
        out,
        "{:<9} {:<22} {:>7} {:>7} {:>5}  {:>7} {:>7} {:>7}  {:>7}",
        "network", "", "connect", "p95", "lost", "deliver", "p95", "p99", "packets"
    );
    let mut network = None;
    for (cell, outcome) in done {
        let name = if network == Some(cell.network) { "" } else { cell.network.name() };
        network = Some(cell.network);
        let row = match outcome {
            Ok(outcome) => {
                let (connect, weak) = (&outcome.connect, &outcome.weak);
                format!(
                    "{:>7.0} {:>7.0} {:>5}  {:>7.0} {:>7.0} {:>7.0}  {:>7.1}",
                    Outcome::ms(connect, "/connect/p50_ms"),
                    Outcome::ms(connect, "/connect/p95_ms"),
                    Outcome::ms(connect, "/error_counts/sessions"),
                    Outcome::ms(weak, "/latency_ms/p50"),
                    Outcome::ms(weak, "/latency_ms/p95"),
                    Outcome::ms(weak, "/latency_ms/p99"),
                    outcome.packets_per_message(),
                )
            }
            Err(error) => format!("NOT CLEAN: {error:#}"),
        };
        let _ = writeln!(out, "{name:<9} {:<22} {row}", cell.name());
    }
    out.push('\n');
    let figures = done.iter().map(|(cell, outcome)| {
        let without: Vec<_> = cell.without.iter().map(|part| part.name()).collect();
        match outcome {
            Ok(outcome) => json!({
                "network": cell.network.name(), "without": without, "ack_delay": cell.ack_delay, "weak": outcome.weak, "connect": outcome.connect,
                "packets": outcome.packets, "packets_per_message": outcome.packets_per_message(),
            }),
            Err(error) => json!({
                "network": cell.network.name(), "without": without, "ack_delay": cell.ack_delay, "complaint": format!("{error:#}"),
            }),
        }
    });
    (out, figures.collect(), done.iter().all(|(_, outcome)| outcome.is_ok()))
}
