//! What the kernel says about this process, in the names that every Prometheus client library uses.

use std::fmt::Write as _;
use std::fs;

/// Clock ticks per second in `/proc/PID/stat`: `USER_HZ`, part of the kernel's interface and 100 on every
/// architecture that Rust has a tier 1 target for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Exposition lines for CPU time, resident memory and open descriptors. What cannot be read is left out.
pub(crate) fn exposition() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The directory that is being read is one of them.
    let fds = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
    let mut out = String::new();
    let mut line = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    let cpu = cpu_seconds(&stat).map(|seconds| format!("{seconds:.2}"));
    line("process_cpu_seconds_total", "counter", "User and system time of this process.", cpu);
    let memory = resident_bytes(&status).map(|bytes| bytes.to_string());
    line("process_resident_memory_bytes", "gauge", "Memory of this process that is in RAM.", memory);
    line(
        "process_open_fds",
        "gauge",
        "Open descriptors of this process.",
        fds.map(|count| count.to_string()),
    );
    out
}

/// User and system time. The name of the process stands in brackets and may hold anything, so fields are counted
/// from the last bracket: `utime` and `stime` are fields 14 and 15, 3 is the first one after it (proc_pid_stat(5)).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_hostile_name() {
        let stat = "7 (a) 1 (b)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 2";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(resident_bytes("VmRSS:\t12\n"), None);
    }

    #[test]
    fn this_process_has_all_three() {
        let text = exposition();
        for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{text}");
        }
    }
}
