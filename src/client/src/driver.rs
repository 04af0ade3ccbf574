//! The one task of a client: it moves bytes and time between a [`Core`] and a QUIC connection.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use quinn::{ReadError, VarInt, WriteError};
use tokio::time::{Sleep, sleep_until, timeout};
use tracing::debug;

use crate::client::{Inner, Shared};
use crate::core::{State, TransportAction};
use crate::network::{Link, Network, closing_of};

/// How long a good-bye may take: the rest of the output and the server's own close.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Chunks taken from the stream in one go.
const CHUNKS: usize = 8;

type Dial = Pin<Box<dyn Future<Output = Result<Link, Closing>> + Send>>;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    network: Network,
    server: SocketAddr,
    server_name: Arc<str>,
    link: Option<Link>,
    dial: Option<Dial>,
    /// Output that the stream has not taken yet.
    unwritten: Vec<Bytes>,
    timer: Pin<Box<Sleep>>,
}

/// What the core wants after a turn.
struct Turn {
    actions: [Option<TransportAction>; 2],
    wants_input: bool,
    deadline: Option<Instant>,
    /// Stopped, and no handle is left that could start it again.
    done: bool,
}

/// What woke the task.
enum Input {
    Nothing,
    Dialled(Result<Link, Closing>),
    Read(Result<Option<usize>, ReadError>),
    Written(Result<quinn::Written, WriteError>),
    Closed(quinn::ConnectionError),
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        network: Network,
        server: SocketAddr,
        server_name: Arc<str>,
    ) -> Self {
        let timer = Box::pin(sleep_until(tokio::time::Instant::now()));
        let (link, dial) = (None, None);
        Self { shared, network, server, server_name, link, dial, unwritten: Vec::new(), timer }
    }

    pub(crate) async fn run(mut self) {
        let mut chunks: [Bytes; CHUNKS] = Default::default();
        loop {
            let turn = self.turn();
            for action in turn.actions.into_iter().flatten() {
                match action {
                    TransportAction::Connect => {
                        let name = Arc::clone(&self.server_name);
                        self.dial = Some(Box::pin(self.network.clone().dial(self.server, name)));
                    }
                    TransportAction::Disconnect(code) => self.hang_up(code).await,
                }
            }
            if turn.actions[0].is_some() {
                self.feed(|_, _| {});
                continue;
            }
            if turn.done {
                return;
            }
            let input = self.wait(&turn, &mut chunks).await;
            self.handle(input, &mut chunks);
        }
    }

    /// Lets the core do what is due and collects what it wants.
    fn turn(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        inner.core.handle_timeout(Instant::now());
        let actions = [inner.core.poll_transport(), inner.core.poll_transport()];
        // The output of a session that is being left belongs to its link; without a link nothing can take it.
        if self.unwritten.is_empty() && self.link.is_some() {
            self.unwritten = inner.core.poll_output().take();
        }
        let deadline = inner.core.poll_timeout();
        let wants_input = inner.core.wants_input();
        inner.armed = deadline;
        inner.reading = wants_input;
        let done = inner.orphaned && inner.core.state() == State::Stopped;
        self.settle(inner);
        Turn { actions, wants_input, deadline, done }
    }

    /// Waits for the first thing to happen. Every branch is cancel-safe, so what loses the race loses nothing.
    async fn wait(&mut self, turn: &Turn, chunks: &mut [Bytes; CHUNKS]) -> Input {
        if let Some(deadline) = turn.deadline {
            let deadline = tokio::time::Instant::from_std(deadline);
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
        }
        let (connection, send, recv) = match &mut self.link {
            Some(link) => (Some(&link.connection), Some(&mut link.send), Some(&mut link.recv)),
            None => (None, None, None),
        };
        let read = async {
            match (connection, recv) {
                (_, Some(recv)) if turn.wants_input => Input::Read(recv.read_chunks(chunks).await),
                (Some(connection), _) => Input::Closed(connection.closed().await),
                _ => pending().await,
            }
        };
        let write = async {
            match send {
                Some(send) if !self.unwritten.is_empty() => {
                    Input::Written(send.write_chunks(&mut self.unwritten).await)
                }
                _ => pending().await,
            }
        };
        let dial = async {
            match &mut self.dial {
                Some(dial) => Input::Dialled(dial.await),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            input = write => input,
            () = self.shared.wake.notified() => Input::Nothing,
            input = read => input,
            input = dial => input,
            () = self.timer.as_mut(), if turn.deadline.is_some() => Input::Nothing,
        }
    }

    fn handle(&mut self, input: Input, chunks: &mut [Bytes; CHUNKS]) {
        let lost = match input {
            Input::Nothing => return,
            Input::Dialled(Ok(link)) => {
                self.dial = None;
                self.link = Some(link);
                self.unwritten.clear();
                return self.feed(|inner, now| inner.core.handle_connected(now));
            }
            Input::Read(Ok(Some(count))) => {
                return self.feed(|inner, now| {
                    for chunk in chunks.iter_mut().take(count) {
                        inner.core.handle_bytes(now, std::mem::take(chunk));
                    }
                });
            }
            Input::Written(Ok(written)) => {
                self.unwritten.drain(..written.chunks);
                return;
            }
            Input::Dialled(Err(closing)) => closing,
            Input::Closed(error)
            | Input::Read(Err(ReadError::ConnectionLost(error)))
            | Input::Written(Err(WriteError::ConnectionLost(error))) => closing_of(error),
            Input::Read(Ok(None)) => Closing::new(CloseCode::LOST, "the server ended the stream"),
            Input::Read(Err(error)) => Closing::new(CloseCode::LOST, error.to_string()),
            Input::Written(Err(error)) => Closing::new(CloseCode::LOST, error.to_string()),
        };
        debug!(code = lost.code.0, reason = lost.reason, "connection lost");
        self.dial = None;
        self.unwritten.clear();
        if let Some(link) = self.link.take() {
            link.connection.close(VarInt::from_u32(CloseCode::LOST.0), b"");
        }
        self.feed(|inner, now| inner.core.handle_disconnected(now, lost));
    }

    fn feed(&self, input: impl FnOnce(&mut Inner, Instant)) {
        let mut inner = self.shared.lock();
        input(&mut inner, Instant::now());
        inner.linked = self.link.is_some() || self.dial.is_some();
        self.settle(inner);
    }

    /// Hands out answers and wakes who waits for events.
    fn settle(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.settle();
        let changed = inner.take_change();
        drop(inner);
        if changed {
            self.shared.changed.notify_waiters();
        }
    }

    /// Closes the connection, or gives up the attempt. A good-bye first writes what is left and lets the server
    /// close, for a bounded time.
    async fn hang_up(&mut self, code: CloseCode) {
        self.dial = None;
        let mut unwritten = std::mem::take(&mut self.unwritten);
        let Some(mut link) = self.link.take() else { return };
        if code == CloseCode::BYE {
            unwritten.append(&mut self.shared.lock().core.poll_output().take());
            let good_bye = async {
                if link.send.write_all_chunks(&mut unwritten).await.is_ok() && link.send.finish().is_ok() {
                    link.connection.closed().await;
                }
            };
            if timeout(GOOD_BYE, good_bye).await.is_err() {
                debug!("the server did not answer the good-bye");
            }
        }
        link.connection.close(VarInt::from_u32(code.0), b"");
    }
}

impl Drop for Driver {
    /// The task is over, in whatever way: nobody shall wait for it.
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.core.close(Instant::now());
        inner.linked = false;
        inner.settle();
        drop(inner);
        self.shared.changed.notify_waiters();
    }
}
