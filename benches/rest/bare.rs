//! Server B: the least that a durable request needs. An axum handler hands the body to a group commit of raw fjall, with the settings
//! of our ledger, and answers once its row is on disk.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use nearport_chat::ledger::BATCH_ITEMS_MAX;
use nearport_store::bare::{BODY_BYTES, BareLedger, BareMessage, CONVERSATIONS};
use tokio::sync::{mpsc, oneshot};

use crate::client::Target;

/// Requests that may wait for the group commit; more wait for room.
const WAITING_MAX: usize = 16_384;

const DONE: &str = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":""}"#;

type Row = (BareMessage, oneshot::Sender<()>);

/// Is the server, until its standard input closes.
pub(crate) fn serve(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut ledger = BareLedger::open_tuned(dir)?;
    let (rows, mut waiting) = mpsc::channel::<Row>(WAITING_MAX);
    // One thread commits whatever waits, as the writer of the chat backend does.
    std::thread::Builder::new().name("commit".to_owned()).spawn(move || {
        let (mut messages, mut told) = (Vec::new(), Vec::new());
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            while let Some((message, done)) = next {
                messages.push(message);
                told.push(done);
                next = if messages.len() < BATCH_ITEMS_MAX { waiting.try_recv().ok() } else { None };
            }
            if let Err(error) = ledger.insert(&messages) {
                eprintln!("{error}");
                return;
            }
            messages.clear();
            told.drain(..).for_each(|done| {
                let _ = done.send(());
            });
        }
    })?;
    std::thread::Builder::new().name("parent".to_owned()).spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let app = Router::new().route("/row", post(insert)).with_state(rows);
        Ok(axum::serve(tcp_nodelay(listener), app).await?)
    })
}

/// Answers are small and wait for nothing.
fn tcp_nodelay(listener: tokio::net::TcpListener) -> impl axum::serve::Listener<Addr = SocketAddr> {
    use axum::serve::ListenerExt as _;
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

async fn insert(State(rows): State<mpsc::Sender<Row>>, body: Bytes) -> impl IntoResponse {
    let mut row = [0; BODY_BYTES];
    let length = body.len().min(BODY_BYTES);
    row[..length].copy_from_slice(&body[..length]);
    // Some conversation of many, told by what the message says.
    let number = body.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let message = BareMessage { conversation: number % CONVERSATIONS, user: 0, body: row };
    let (done, told) = oneshot::channel();
    match rows.send((message, done)).await {
        Ok(()) if told.await.is_ok() => (StatusCode::OK, DONE),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

/// This program again, as the server.
pub(crate) fn start(dir: &Path) -> Result<Target> {
    let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
    command.arg("--serve-bare").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start the bare server")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped above")?).read_line(&mut line)?;
    let address = line.trim().parse().context("the bare server does not listen")?;
    Ok(Target { child, address, path: "/row".to_owned(), next: AtomicU64::new(0) })
}
