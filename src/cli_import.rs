//! `nearport import`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nearport_chat::key::AppId;
use serde_json::{Map, Value, json};

use crate::cli::{Failure, SettingsArgs};
use crate::cli_app::no_client_file;
use crate::first_run::Layout;
use crate::import::{Order, Report, run};
use crate::import_files::{Count, hex};

/// Bring accounts, relations, groups, members and messages over from another system.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Files of JSON lines, or directories that hold some (.jsonl, .ndjson); see docs/import.md.
    #[arg(required = true, value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    /// sdkappid [default: the App in client.toml].
    #[arg(long)]
    app: Option<u32>,
    /// Stop at the first line that is not taken.
    #[arg(long)]
    strict: bool,
    /// Where lines go that are not taken [default: import-rejects-….jsonl in the data directory].
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Begin anew: how far an earlier run came does not count. What it stored is found.
    #[arg(long)]
    restart: bool,
    /// Write the report to this file too.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Import {
    /// Prints the report as JSON; exit code 1 if the store has not what the files have.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?.config;
        let layout = Layout(config.data.clone());
        if !layout.0.exists() {
            return Err(Failure::usage(format!("{} does not exist", layout.0.display())));
        }
        let named = layout.read_client_file()?.map(|file| file.app);
        let app = self.app.or(named).ok_or_else(|| Failure::usage(no_client_file(&layout, "--app")))?;
        let order = Order {
            app: AppId(app),
            files: self.files,
            rejects: self.rejects,
            strict: self.strict,
            restart: self.restart,
        };
        let report = run(&config, &order)?;
        let retention = [config.chat.retention_days, config.chat.group_retention_days];
        if report.verified.messages > 0 && retention.iter().any(|days| *days > 0) {
            let [pairs, groups] = retention;
            eprintln!(
                "messages are kept for {pairs} days, those of groups for {groups}: `serve` removes what is older, unless \
                 chat.retention_days and chat.group_retention_days say otherwise"
            );
        }
        let text = serde_json::to_string_pretty(&told(app, &report))?;
        if let Some(path) = &self.report {
            std::fs::write(path, format!("{text}\n"))
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        }
        println!("{text}");
        match report.verified.is_equal() {
            true => Ok(()),
            false => {
                let differing = report.verified.differing;
                Err(anyhow::anyhow!("{differing} conversations differ from the files").into())
            }
        }
    }
}

fn told(app: u32, report: &Report) -> Value {
    let Report { resumed, mark, rejects, messages, messages_took, took, verified, verify_took } = report;
    let kind = |(name, count): (&String, &Count)| {
        let Count { read, stored, repeated, rejected } = count;
        let count = json!({ "read": read, "stored": stored, "repeated": repeated, "rejected": rejected });
        (name.clone(), count)
    };
    let kinds: Map<_, _> = mark.counts.iter().map(kind).collect();
    let seconds = |time: &Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
    let differences: Vec<_> = verified
        .differences
        .iter()
        .map(|difference| {
            let sum = &difference.sum;
            json!({
                "conversation": difference.conversation,
                "messages": sum.messages,
                "missing": sum.missing,
                "conflicts": sum.conflicts,
                "doubled": difference.doubled,
                "digest_files": hex(&sum.input),
                "digest_store": hex(&sum.store),
            })
        })
        .collect();
    let [input, store] = verified.digests();
    json!({
        "app": app,
        "files": mark.files.len(),
        "resumed": resumed,
        "kinds": kinds,
        "unreadable": mark.unreadable,
        "rejects": rejects,
        "seconds": seconds(took),
        "messages": messages,
        "messages_seconds": seconds(messages_took),
        "messages_per_s": (*messages as f64 / messages_took.as_secs_f64().max(0.001)).round(),
        "verification": {
            "equal": verified.is_equal(),
            "conversations": verified.conversations,
            "messages": verified.messages,
            "repeated": verified.repeated,
            "changed": verified.changed,
            "others": verified.others,
            "differing": verified.differing,
            "digest_files": input,
            "digest_store": store,
            "differences": differences,
            "seconds": seconds(verify_took),
        },
    })
}
