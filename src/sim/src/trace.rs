//! The event log of a run, down to each datagram: what two runs of one seed are compared by.

use std::fmt;

use crate::agenda::Time;

/// A hash over all lines, and the lines themselves if somebody wants to read them.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Fnv,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: Fnv(0xcbf2_9ce4_8422_2325), lines: keep.then(Vec::new) }
    }

    pub(crate) fn note(&mut self, at: Time, line: fmt::Arguments<'_>) {
        use fmt::Write as _;
        writeln!(self.hash, "{} {line}", at.as_micros()).expect("hashing does not fail");
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {line}", at.as_secs_f64()));
        }
    }

    pub(crate) fn finish(self) -> (u64, Vec<String>) {
        (self.hash.0, self.lines.unwrap_or_default())
    }
}

/// FNV-1a, 64 bits: equality of two logs is all that is asked, and nobody attacks it.
#[derive(Debug)]
struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
