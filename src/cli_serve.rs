//! `nearport serve`

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use nearport_api::Recorder;
use rustix::process::{Resource, Rlimit, getpid, getrlimit, kill_process, setrlimit};
use rustix::termios::isatty;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Failure, SettingsArgs, runtime};
use crate::config::Config;
use crate::log;
use crate::node::{BackendKind, Node};
use crate::node_core::Core;
use crate::node_locate::LocateNode;
use crate::reload::Reloads;

/// Run a node; the first start makes everything it needs.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Which part of the house runs here.
    #[arg(long, value_enum, default_value_t = Role::All)]
    role: Role,
    /// What answers clients; `echo` measures the edge alone and keeps nothing.
    #[arg(long, value_enum, default_value_t = BackendArg::Chat)]
    backend: BackendArg,
    /// Take the listeners and the store over from the server that runs on the data directory; its clients notice
    /// nothing, and it ends when they have come over.
    #[arg(long)]
    take_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything in this process.
    All,
    /// The gateway only.
    Edge,
    /// The chat backend only.
    Core,
    /// The addressing service only.
    Locate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BackendArg {
    Chat,
    Echo,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.role {
            Role::Edge | Role::Core | Role::Locate if self.take_over => {
                return Err(Failure::usage(
                    "--take-over works for role all: drain an edge, restart a core or a service that locates",
                ));
            }
            Role::Edge if self.backend != BackendArg::Chat => {
                return Err(Failure::usage("an edge's backend is its core: --backend goes there"));
            }
            Role::All | Role::Edge | Role::Core | Role::Locate => {}
        }
        let config = self.settings.load()?.config;
        log::init(&config.log);
        raise_descriptor_limit();
        let recorder = Recorder::install()?;
        let backend = match self.backend {
            _ if self.role == Role::Edge => BackendKind::Core,
            BackendArg::Chat => BackendKind::Chat,
            BackendArg::Echo => BackendKind::Echo,
        };
        if self.role == Role::Locate {
            return locate(&config, recorder);
        }
        runtime()?.block_on(async {
            if self.role == Role::Core {
                let core = Core::start(&config, backend, recorder).await?;
                let leave = leave_on_signal()?;
                reload_on_signal(core.reloads())?;
                greet_core(&core);
                core.run(leave).await?;
                return Ok(());
            }
            let node = match self.take_over {
                true => Node::take_over(&config, backend, recorder).await?,
                false => Node::start(&config, backend, recorder).await?,
            };
            // Only now: until here a signal ends the process at once, which the store is made for.
            let leave = leave_on_signal()?;
            reload_on_signal(node.reloads())?;
            greet(&config, backend, &node);
            node.run(leave).await?;
            Ok(())
        })
    }
}

fn locate(config: &Config, recorder: Recorder) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let node = LocateNode::start(config, recorder).await?;
        let leave = leave_on_signal()?;
        reload_on_signal(node.reloads())?;
        let (version, api, ops) = (env!("CARGO_PKG_VERSION"), node.api_url(), node.ops_addr());
        let mut text = format!(
            "nearport {version} locates on {api}\nhealth and metrics: http://{ops}/readyz http://{ops}/metrics\n"
        );
        if let Some(at) = node.steer_addr() {
            let _ = writeln!(text, "edges report to {at}");
        }
        for at in node.dns_addrs() {
            let _ = writeln!(text, "answers for the zone {} on {at} (DNS)", config.dns.zone.as_deref().unwrap_or_default());
        }
        if let Some(ca) = node.ca() {
            let _ = writeln!(text, "its certificate is of the development CA: {}", ca.display());
        }
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        node.run(leave).await?;
        Ok(())
    })
}

/// A future for the first SIGTERM or SIGINT. The second one ends the process at once with exit code 1.
fn leave_on_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        let _ = first.send(());
        either(&mut terminate, &mut interrupt).await;
        tracing::warn!("second signal: ending at once");
        std::process::exit(1);
    });
    Ok(async move {
        let _ = told.await;
    })
}

/// Reads secrets and the like again on SIGHUP, one reload after the other.
///
/// A terminal that is closed sends SIGHUP too, and a server that somebody started there and sees no more should not
/// keep the port: then the process ends as by SIGTERM.
fn reload_on_signal(reloads: Arc<Reloads>) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let on_terminal = isatty(std::io::stdin());
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if on_terminal && !isatty(std::io::stdin()) {
                let _ = kill_process(getpid(), rustix::process::Signal::TERM);
                return;
            }
            let reloads = reloads.clone();
            // Files: not on the thread that answers /readyz.
            let _ = tokio::task::spawn_blocking(move || reloads.run()).await;
        }
    });
    Ok(())
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}

/// One socket per shard and one file per table of the store: the usual soft limit of 1,024 is meant for programs that
/// call select(2).
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, soft = ?limit.current, "descriptor limit stays");
    }
}

/// Says on stdout where the node listens and what to type next. A closed stdout is nobody's problem.
fn greet(config: &Config, backend: BackendKind, node: &Node) {
    let program = std::env::current_exe().unwrap_or_else(|_| "nearport".into());
    let here = std::env::current_dir().unwrap_or_default();
    let data = (config.data != Config::default().data).then_some(config.data.as_path());
    let typed = Typed { program: shown_program(&program, &here), data: data.map(shown) };

    let mut text = String::new();
    let (edge, ops) = (node.edge_addr(), node.ops_addr());
    let _ = writeln!(text, "nearport {} listens on {edge} (QUIC)", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "health and metrics: http://{ops}/readyz http://{ops}/metrics\n");
    match backend {
        BackendKind::Chat => {
            let _ = writeln!(text, "Chat in two other terminals:\n");
            let _ = writeln!(text, "    {}", typed.command("chat", "--user alice --to bob"));
            let _ = writeln!(text, "    {}\n", typed.command("chat", "--user bob --to alice"));
            let _ = writeln!(text, "Or send one message, and receive what is new:\n");
            let _ = writeln!(text, "    {}", typed.command("send", "--user alice --to bob 'hello bob'"));
            let _ = writeln!(text, "    {}\n", typed.command("recv", "--user bob"));
        }
        BackendKind::Echo => {
            let _ = writeln!(text, "The echo backend accepts every login and keeps nothing. Measure it:\n");
            let pid = std::process::id();
            let _ = writeln!(text, "    {}\n", typed.command("load echo", &format!("--server-pid {pid}")));
        }
        BackendKind::Core => {}
    }
    match &config.trunk.core {
        Some(core) if backend == BackendKind::Core => {
            let _ = writeln!(text, "Edge {} of the core at {core}", config.edge.node);
        }
        _ => {
            let _ = writeln!(text, "Server, CA, app and key for clients: {}", node.client_file().display());
        }
    }
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// As [`greet`], for a core.
fn greet_core(core: &Core) {
    let mut text = String::new();
    let (trunk, ops) = (core.trunk_addr(), core.ops_addr());
    let _ = writeln!(text, "health and metrics: http://{ops}/readyz http://{ops}/metrics");
    let _ = writeln!(text, "nearport {} waits for edges on {trunk} (core)", env!("CARGO_PKG_VERSION"));
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

struct Typed {
    program: String,
    data: Option<String>,
}

impl Typed {
    fn command(&self, name: &str, rest: &str) -> String {
        let data = self.data.as_ref().map(|data| format!(" --data {data}")).unwrap_or_default();
        format!("{} {name}{data} {rest}", self.program)
    }
}

/// How to call `program` from `here`: relative when it is below.
fn shown_program(program: &Path, here: &Path) -> String {
    match program.strip_prefix(here) {
        Ok(below) => shown(&PathBuf::from(".").join(below)),
        Err(_) => shown(program),
    }
}

/// A path as a POSIX shell reads it.
fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c)) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_work_as_typed() {
        let here = Path::new("/home/a b");
        assert_eq!(shown_program(Path::new("/home/a b/target/nearport"), here), "./target/nearport");
        assert_eq!(shown_program(Path::new("/usr/bin/nearport"), here), "/usr/bin/nearport");
        assert_eq!(shown(Path::new("/it's here")), r"'/it'\''s here'");
        let typed = Typed { program: "./n".into(), data: Some("d".into()) };
        assert_eq!(typed.command("recv", "--user bob"), "./n recv --data d --user bob");
    }
}
