//! What Linux says about the server's process. Everything is optional: a server that is killed and restarted during a
//! run, or that belongs to another user, makes figures unknown, never wrong.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::Error;

/// A process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
    started_ticks: u64,
}

/// CPU time at one moment.
#[derive(Debug, Clone)]
pub(crate) struct CpuReading {
    /// Nanoseconds that each living thread has run, from `schedstat`; `None` if the kernel does not keep them.
    threads_ns: Option<BTreeMap<u32, u64>>,
    /// User and system time of all threads, ended ones too, in ticks.
    ticks: u64,
}

/// Unit of times in `/proc/PID/stat`: `USER_HZ`, 100 per second on every architecture that Linux has but alpha and
/// ia64 (`include/uapi/asm-generic/param.h`).
const TICK: Duration = Duration::from_millis(10);

impl Process {
    /// # Errors
    /// There is no such process, or no `/proc`.
    pub(crate) fn open(pid: u32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(path).map_err(|source| Error::NoProcess { pid, source })?;
        let stat = Stat::parse(&text).ok_or_else(|| Error::NoProcess {
            pid,
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "its stat file has an unknown form"),
        })?;
        Ok(Self { pid, started_ticks: stat.started_ticks })
    }

    /// CPU time so far; `None` once the process is gone.
    pub(crate) fn cpu(&self) -> Option<CpuReading> {
        let threads_ns = self.threads_ns();
        let stat = Stat::parse(&self.read("stat")?)?;
        (stat.started_ticks == self.started_ticks)
            .then_some(CpuReading { threads_ns, ticks: stat.user_ticks + stat.system_ticks })
    }

    /// Resident memory in bytes, counted page by page; `VmRSS`, which may lag by a batch per thread, where the finer
    /// file is not readable.
    pub(crate) fn rss_bytes(&self) -> Option<u64> {
        self.cpu()?; // the same process still
        let kib = |file, key| parse_kib(&self.read(file)?, key);
        Some(kib("smaps_rollup", "Rss:").or_else(|| kib("status", "VmRSS:"))? * 1024)
    }

    /// The most resident memory that it ever had, in bytes.
    pub(crate) fn peak_rss_bytes(&self) -> Option<u64> {
        self.cpu()?; // the same process still
        Some(parse_kib(&self.read("status")?, "VmHWM:")? * 1024)
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs: it is there, and not one that has ended and waits for its parent to notice.
    pub(crate) fn is_running(&self) -> bool {
        let stat = self.read("stat").and_then(|text| Stat::parse(&text));
        stat.is_some_and(|stat| stat.started_ticks == self.started_ticks && !matches!(stat.state, 'Z' | 'X'))
    }

    fn threads_ns(&self) -> Option<BTreeMap<u32, u64>> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).ok()? {
            let tid: u32 = task.ok()?.file_name().to_str()?.parse().ok()?;
            // A thread may end between the listing and the reading; then it is not among the living.
            if let Some(line) = self.read(&format!("task/{tid}/schedstat")) {
                threads.insert(tid, parse_schedstat(&line)?);
            }
        }
        Some(threads)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).ok()
    }
}

impl CpuReading {
    /// CPU time between `earlier` and this reading of the same process.
    ///
    /// From the threads' own counters (nanoseconds) unless one ended in between, which takes its counter with it;
    /// then from the process's, whose error is up to two ticks of 10 ms.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        if let (Some(now), Some(before)) = (&self.threads_ns, &earlier.threads_ns)
            && before.keys().all(|tid| now.contains_key(tid))
        {
            let run = |(tid, ns): (&u32, &u64)| ns.saturating_sub(before.get(tid).copied().unwrap_or(0));
            return Duration::from_nanos(now.iter().map(run).sum());
        }
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
    }
}

/// The fields of `/proc/PID/stat` (proc(5)) that are used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    user_ticks: u64,
    system_ticks: u64,
    started_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold anything, spaces and `)` too.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and `rest` begins with field 3.
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            user_ticks: field(14)?,
            system_ticks: field(15)?,
            started_ticks: field(22)?,
        })
    }
}

/// The first number: nanoseconds on a CPU.
fn parse_schedstat(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The value of a line `key   123 kB`.
fn parse_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_program_with_a_hostile_name() {
        let text = "42 (a) S (b) R 1 42 42 0 -1 4194304 100 0 0 0 17 5 0 0 20 0 3 0 987654 1000 200 18446744073709551615";
        assert_eq!(
            Stat::parse(text),
            Some(Stat { state: 'R', user_ticks: 17, system_ticks: 5, started_ticks: 987_654 })
        );
        assert_eq!(Stat::parse("42 (a) R 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn sizes_and_run_times() {
        let rollup = "55d-7ff ---p 00000000 00:00 0 [rollup]\nRss:               20480 kB\nPss:  1 kB\n";
        assert_eq!(parse_kib(rollup, "Rss:"), Some(20_480));
        assert_eq!(parse_kib(rollup, "VmRSS:"), None);
        assert_eq!(parse_schedstat("123456 789 3\n"), Some(123_456));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn a_reading_without_an_ended_thread_uses_the_threads_counters() {
        let reading = |threads: &[(u32, u64)], ticks| CpuReading {
            threads_ns: Some(threads.iter().copied().collect()),
            ticks,
        };
        let before = reading(&[(1, 1_000), (2, 5_000)], 100);
        let grown = reading(&[(1, 4_000), (2, 5_500), (3, 700)], 101);
        assert_eq!(grown.since(&before), Duration::from_nanos(3_000 + 500 + 700));
        let shrunk = reading(&[(1, 4_000), (3, 700)], 103);
        assert_eq!(shrunk.since(&before), Duration::from_millis(30));
        let coarse = CpuReading { threads_ns: None, ticks: 104 };
        assert_eq!(coarse.since(&before), Duration::from_millis(40));
    }

    #[test]
    fn this_process_is_readable() {
        let own = Process::open(std::process::id()).unwrap();
        let before = own.cpu().unwrap();
        let memory = vec![1u8; 8 << 20];
        let sum: u64 = std::hint::black_box(&memory).iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 8 << 20);
        assert!(own.cpu().unwrap().since(&before) > Duration::ZERO);
        assert!(own.rss_bytes().unwrap() > 8 << 20, "the vector is resident");
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let own = Process::open(std::process::id()).unwrap();
        let former = Process { started_ticks: own.started_ticks + 1, ..own };
        assert!(former.cpu().is_none());
        assert!(former.rss_bytes().is_none());
        assert!(matches!(Process::open(u32::MAX), Err(Error::NoProcess { pid: u32::MAX, .. })));
    }
}
