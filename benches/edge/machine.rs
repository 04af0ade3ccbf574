//! Where a run took place, and who else was there: figures without it mean nothing.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// `/proc` counts CPU in ticks of this length on every Linux architecture (`USER_HZ`).
const TICKS_PER_S: f64 = 100.0;

/// The machine, read once.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned())
            })
            .unwrap_or_else(|| "unknown processor".to_owned());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { cores, processor, kernel } = self;
        format!("{cores} core(s) shared by client and server, {processor}, Linux {kernel}")
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "cores": self.cores, "processor": self.processor, "kernel": self.kernel })
    }
}

/// Finds out how much CPU other processes use meanwhile. Coarse (the kernel samples by tick), good enough to tell a
/// quiet machine from one that compiles something.
#[derive(Debug)]
pub(crate) struct Others {
    began: Instant,
    ticks: u64,
}

impl Others {
    pub(crate) fn watch() -> Result<Self> {
        Ok(Self { began: Instant::now(), ticks: others_ticks()? })
    }

    /// Cores, on average since [`Self::watch`]. Servers that ran meanwhile must have been waited for.
    pub(crate) fn cores(&self) -> Result<f64> {
        let ticks = others_ticks()?.saturating_sub(self.ticks);
        Ok(ticks as f64 / TICKS_PER_S / self.began.elapsed().as_secs_f64())
    }
}

/// Busy ticks of the machine less those of this process and of the children that it has waited for.
fn others_ticks() -> Result<u64> {
    // proc(5): `cpu user nice system idle iowait irq softirq steal …`. Stolen time is somebody else's too.
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let machine = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .context("no cpu line in /proc/stat")?;
    let fields = numbers(machine)?;
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    let busy: u64 = fields.iter().take(8).sum::<u64>() - idle;
    // Behind the command, which may hold spaces: `… utime stime cutime cstime` are fields 14 to 17.
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let (_, behind_command) = stat.rsplit_once(')').context("no command in /proc/self/stat")?;
    let own: Vec<_> = behind_command.split_ascii_whitespace().skip(11).take(4).collect();
    let own: u64 = numbers(&own.join(" "))?.iter().sum();
    Ok(busy.saturating_sub(own))
}

fn numbers(text: &str) -> Result<Vec<u64>> {
    text.split_ascii_whitespace().map(|word| word.parse().context("not a number")).collect()
}
