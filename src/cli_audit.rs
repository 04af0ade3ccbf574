//! `nearport audit`: whether the audit log is whole, and what it says. Beside a running server or without one.

use std::io::Write as _;

use clap::{Args, Subcommand};
use nearport_chat::audit::{Broken, Entry, Mark, Marks, Record, Verified, Verifier};
use nearport_chat::directory::Directory;
use serde_json::json;

use crate::cli::{Failure, SettingsArgs};
use crate::cli_app::open;
use crate::node;

/// Records that are read at once.
const PAGE: usize = 1000;

/// Places that are named; a log that is broken all over says how many more there are.
const SHOWN_MAX: usize = 100;

/// The audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Look whether any record was changed, removed or moved; prints its end, to be noted elsewhere. Exit code 1 if it is not whole.
    Verify(Verify),
    /// Records as JSON lines, oldest first.
    Export(Export),
}

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    settings: SettingsArgs,
    /// A record that was noted before, as `verify` printed it: whether it still is in the log. Who may write the whole store
    /// can make a chain anew; this shows it.
    #[arg(long, value_name = "SEQ:HASH")]
    noted: Option<Mark>,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    settings: SettingsArgs,
    /// From this time on, Unix seconds.
    #[arg(long, value_name = "SECONDS")]
    from: Option<u64>,
    /// Before this time, Unix seconds.
    #[arg(long, value_name = "SECONDS")]
    to: Option<u64>,
    /// Of this App alone.
    #[arg(long, value_name = "SDKAPPID")]
    app: Option<u32>,
}

impl Audit {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Verify(verify) => verify.run(),
            Self::Export(export) => export.run(),
        }
    }
}

impl Verify {
    fn run(self) -> Result<(), Failure> {
        let directory = open(&self.settings)?;
        // A server may remove old records while it is looked: then the beginning has moved, and it is looked again.
        let (verified, broken) = loop {
            let marks = directory.audit_marks()?;
            let looked = self.look(&*directory, marks)?;
            if looked.1.is_empty() || directory.audit_marks()?.floor == marks.floor {
                break looked;
            }
        };
        for place in broken.iter().take(SHOWN_MAX) {
            eprintln!("{place}");
        }
        if !broken.is_empty() {
            let count = broken.len();
            return Err(anyhow::anyhow!("the audit log is not whole: {count} places").into());
        }
        println!(
            "{}",
            json!({
                "records": verified.records,
                "first": verified.marks.floor.seq + 1,
                "head": verified.marks.head.to_string(),
            })
        );
        Ok(())
    }
}

impl Verify {
    fn look(&self, directory: &dyn Directory, marks: Marks) -> Result<(Verified, Vec<Broken>), Failure> {
        if let Some(noted) = self.noted.filter(|noted| noted.seq < marks.floor.seq) {
            let floor = marks.floor.seq;
            let why = format!("record {} is older than what is kept (from {})", noted.seq, floor + 1);
            return Err(Failure::usage(why));
        }
        let (mut verifier, mut broken) = (Verifier::new(marks, self.noted), Vec::new());
        // From the very first one there is. What a server writes meanwhile is behind the end that is looked for.
        each(directory, 0, |record| {
            if record.seq <= marks.head.seq {
                verifier.take(record, &mut broken);
            }
            Ok(record.seq < marks.head.seq)
        })?;
        let verified = verifier.end(&mut broken);
        Ok((verified, broken))
    }
}

impl Export {
    fn run(self) -> Result<(), Failure> {
        let directory = open(&self.settings)?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let (from_ms, to_ms) =
            (self.from.map(|s| s.saturating_mul(1000)), self.to.map(|s| s.saturating_mul(1000)));
        each(&*directory, 0, |record| {
            let wanted = match record.entry() {
                // What cannot be read is not left out in silence.
                Err(_) => true,
                Ok((_, entry)) => {
                    from_ms.is_none_or(|from| entry.time_ms >= from)
                        && to_ms.is_none_or(|to| entry.time_ms < to)
                        && self.app.is_none_or(|app| entry.app == app)
                }
            };
            if wanted {
                out.write_all(&shown(record))?;
                out.write_all(b"\n")?;
            }
            Ok(true)
        })?;
        out.flush()?;
        Ok(())
    }
}

/// The text as it is; one that is no JSON as text in JSON.
fn shown(record: &Record) -> Vec<u8> {
    match record.entry() {
        Ok(_) => record.text.clone(),
        Err(why) => {
            let text = String::from_utf8_lossy(&record.text);
            json!({ "seq": record.seq, "unreadable": why, "text": text }).to_string().into_bytes()
        }
    }
}

/// Hands out records behind `after` until `take` has enough.
fn each(
    directory: &dyn Directory,
    mut after: u64,
    mut take: impl FnMut(&Record) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    loop {
        let page = directory.audit_read(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for record in &page {
            if !take(record)? {
                return Ok(());
            }
        }
    }
}

/// What is done at the command line.
pub(crate) fn act(app: u32, what: &str) -> Entry {
    let uid = rustix::process::getuid().as_raw();
    Entry {
        time_ms: node::now_ms(),
        app,
        who: format!("uid {uid}"),
        from: "command line".to_owned(),
        act: what.to_owned(),
        ..Entry::default()
    }
}
