//! The one task of a client: it moves bytes and time between a [`Core`](crate::core::Core) and a [`Link`].

use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::close::CloseCode;
use tokio::time::{Sleep, sleep_until};
use tracing::debug;

use crate::client::{Inner, Shared};
use crate::core::{State, TransportAction};
use crate::link::{CHUNKS, Link, Progress, Unwritten};
use crate::network::{Edge, Network};
use crate::transport::Transport;

type Dial = Pin<Box<dyn Future<Output = Result<Link, Closing>> + Send>>;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    network: Network,
    edge: Edge,
    transports: Vec<Transport>,
    /// Attempts so far: each takes the next transport until one works.
    attempts: usize,
    link: Option<Link>,
    dial: Option<Dial>,
    unwritten: Unwritten,
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
    Link(Progress),
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, network: Network, edge: Edge, transports: Vec<Transport>) -> Self {
        Self {
            shared,
            network,
            edge,
            transports,
            attempts: 0,
            link: None,
            dial: None,
            unwritten: Unwritten::default(),
            timer: Box::pin(sleep_until(tokio::time::Instant::now())),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut chunks: [Bytes; CHUNKS] = Default::default();
        loop {
            let turn = self.turn();
            for action in turn.actions.into_iter().flatten() {
                match action {
                    TransportAction::Connect => self.dial = Some(self.begin_dial()),
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

    fn begin_dial(&mut self) -> Dial {
        let transport = self.transports[self.attempts % self.transports.len()];
        self.attempts += 1;
        Box::pin(self.network.clone().dial(self.edge.clone(), transport))
    }

    /// Lets the core do what is due and collects what it wants.
    fn turn(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.lock();
        inner.core.handle_timeout(Instant::now());
        let actions = [inner.core.poll_transport(), inner.core.poll_transport()];
        // The output of a session that is being left belongs to its link; without a link nothing can take it.
        if self.unwritten.is_empty() && self.link.is_some() {
            self.unwritten.main = inner.core.poll_output().take();
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
        let progress = async {
            match &mut self.link {
                Some(link) => Input::Link(link.progress(turn.wants_input, &mut self.unwritten, chunks).await),
                None => pending().await,
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
            () = self.shared.wake.notified() => Input::Nothing,
            input = progress => input,
            input = dial => input,
            () = self.timer.as_mut(), if turn.deadline.is_some() => Input::Nothing,
        }
    }

    fn handle(&mut self, input: Input, chunks: &mut [Bytes; CHUNKS]) {
        let lost = match input {
            Input::Nothing | Input::Link(Progress::Wrote) => return,
            Input::Dialled(Ok(link)) => {
                // This one works: come back on it.
                self.attempts -= 1;
                self.dial = None;
                let path = link.path();
                self.link = Some(link);
                self.unwritten.clear();
                return self.feed(|inner, now| inner.core.handle_connected(now, path));
            }
            Input::Link(Progress::Read(count)) => {
                return self.feed(|inner, now| {
                    for chunk in chunks.iter_mut().take(count) {
                        inner.core.handle_bytes(now, std::mem::take(chunk));
                    }
                });
            }
            Input::Dialled(Err(closing)) | Input::Link(Progress::Lost(closing)) => closing,
        };
        debug!(code = lost.code.0, reason = lost.reason, "connection lost");
        self.dial = None;
        self.unwritten.clear();
        self.link = None;
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
        let Some(link) = self.link.take() else { return };
        unwritten.main.append(&mut self.shared.lock().core.poll_output().take());
        link.close(unwritten, code).await;
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
