//! `locate`: `GET /v1/locate` for clients of many networks, as a proxy in front of the addressing service asks. What is measured is
//! the service: HTTP, the look-up in the databases, the decision.
//!
//! Each connection asks one question after another and stays open. The client's address goes in `X-Forwarded-For`, so this machine
//! must be in the service's `locate.forwarders`: otherwise all questions are one network's, and soon limited.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Error;
use crate::clock::Clock;
use crate::open_loop::Target;
use crate::report::{Located, Report};
use crate::scenario::Run;
use crate::scenario::books::{Books, Waiting};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest head and body of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 256 << 10;

/// PoPs that are counted by name; a table has no more.
const POPS_MAX: usize = 64;

/// All connections and their books.
struct Asking {
    clock: Clock,
    server: SocketAddr,
    networks: u32,
    state: Mutex<State>,
    settled: Notify,
}

struct State {
    books: Books,
    /// Of each connection; taken while a question is under way.
    lines: Vec<Option<Line>>,
    busy: Vec<bool>,
    answers: BTreeMap<String, u64>,
}

/// The open loop's end of it: owns the tasks.
struct Questions {
    asking: Arc<Asking>,
    tasks: Mutex<JoinSet<()>>,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<Report, Error> {
    let options = run.options;
    let server = options.api.unwrap_or(run.credentials.server);
    // So that a server that is not there, or does not believe us, is found before thousands of questions fail.
    let mut line = Line::connect(server).await.map_err(|answer| Error::NoLocate { answer })?;
    line.ask(server, address(0, options.networks())).await.map_err(|answer| Error::NoLocate { answer })?;

    let connections = options.connections as usize;
    let state = State {
        books: Books::new(connections),
        lines: std::iter::repeat_with(|| None).take(connections).collect(),
        busy: vec![false; connections],
        answers: BTreeMap::new(),
    };
    let asking = Arc::new(Asking {
        clock: run.clock,
        server,
        networks: options.networks(),
        state: Mutex::new(state),
        settled: Notify::new(),
    });
    let questions = Questions { asking: Arc::clone(&asking), tasks: Mutex::new(JoinSet::new()) };
    let open_loop = run.open_loop();
    let window = open_loop.offer_all(&questions, &mut run.stop).await?;
    let mut report = run.report_without_logins(&window);
    open_loop.drain(&questions, &mut run.stop).await;
    drop(questions);
    let mut state = asking.lock();
    state.books.fill(&mut report, run.clock.now_ns());
    report.message_bytes = None;
    report.delivered = None;
    let answers = std::mem::take(&mut state.answers);
    report.locate = Some(Located { networks: options.networks(), answers });
    Ok(report)
}

impl Asking {
    /// No holder leaves the books half written, so poison says nothing about them.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks `question`, and then what waits behind it, one after the other.
    async fn converse(&self, sender: usize, mut question: Waiting) {
        let mut line = self.lock().lines[sender].take();
        loop {
            self.lock().books.posted(sender, question, self.clock.now_ns());
            // Connections take networks in turn, each from a place of its own.
            let number = question.counter.wrapping_mul(0x9e37_79b1).wrapping_add(sender as u64 * 7_919);
            let network = address(number, self.networks);
            let result = self.ask(&mut line, network).await;
            if result.is_err() {
                line = None;
            }
            match self.finish(sender, question, result, &mut line) {
                Some(next) => question = next,
                None => return,
            }
        }
    }

    async fn ask(&self, line: &mut Option<Line>, network: Ipv4Addr) -> Result<String, String> {
        let line = match line {
            Some(line) => line,
            None => line.insert(Line::connect(self.server).await?),
        };
        line.ask(self.server, network).await
    }

    /// Writes down the outcome; returns the next question that waits for this connection, and else takes it back.
    fn finish(
        &self,
        sender: usize,
        question: Waiting,
        result: Result<String, String>,
        line: &mut Option<Line>,
    ) -> Option<Waiting> {
        let mut state = self.lock();
        let State { books, lines, busy, answers } = &mut *state;
        match result {
            Ok(pop) => {
                let now_ns = self.clock.now_ns();
                books.tally.ack(sender, question.counter);
                books.tally.deliver(sender, question.counter);
                books.arrived(question.due_ns, now_ns);
                let name = if answers.len() < POPS_MAX || answers.contains_key(&pop) {
                    pop
                } else {
                    "others".into()
                };
                *answers.entry(name).or_insert(0) += 1;
            }
            Err(error) => books.give_up(sender, question.counter, || error),
        }
        if books.tally.is_settled() {
            self.settled.notify_waiters();
        }
        let next = books.pop(sender);
        if next.is_none() {
            busy[sender] = false;
            lines[sender] = line.take();
        }
        next
    }
}

impl Target for Questions {
    fn offer(&self, sender: usize, due_ns: u64) {
        let mut state = self.asking.lock();
        let State { books, busy, .. } = &mut *state;
        let question = Waiting { counter: books.schedule(sender, due_ns), due_ns };
        if std::mem::replace(&mut busy[sender], true) {
            return books.hold_back(sender, question);
        }
        drop(state);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        let asking = Arc::clone(&self.asking);
        tasks.spawn(async move { asking.converse(sender, question).await });
    }

    fn measure(&self, from_ns: u64, until_ns: u64) {
        self.asking.lock().books.measure(from_ns..until_ns);
    }

    fn done(&self) -> u64 {
        self.asking.lock().books.tally.acked()
    }

    fn is_settled(&self) -> bool {
        self.asking.lock().books.tally.is_settled()
    }

    fn settled(&self) -> &Notify {
        &self.asking.settled
    }

    fn status(&self) -> String {
        format!("answered {}", self.done())
    }
}

/// An address in one of so many networks: /24s spread over what is public of IPv4, the same for the same number.
fn address(number: u64, networks: u32) -> Ipv4Addr {
    // Another octet for whoever is not routed: 10, 127, and what is private or special in 100, 169, 172, 192 and 198.
    const OCTETS: u32 = 200;
    let number = u32::try_from(number % u64::from(networks.max(1))).unwrap_or(0);
    let mixed = number.wrapping_mul(0x9e37_79b1);
    let first = match 11 + (mixed >> 16) % OCTETS {
        100 => 101,
        127 => 128,
        169 => 170,
        172 => 173,
        192 => 193,
        198 => 199,
        203 => 204,
        octet => octet,
    };
    let [_, second, third, _] = mixed.to_be_bytes();
    let [first, ..] = (first << 24).to_be_bytes();
    Ipv4Addr::new(first, second.rotate_left(3) ^ third, number.to_be_bytes()[3], 1)
}

/// A connection that stays open for the next question.
struct Line {
    asking: SendRequest<Empty<Bytes>>,
    /// Moves its octets; ends with it.
    _moving: JoinSet<()>,
}

#[derive(Deserialize)]
struct Answer {
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    pop: String,
}

impl Line {
    async fn connect(server: SocketAddr) -> Result<Self, String> {
        let connected = timeout(PATIENCE, TcpStream::connect(server)).await;
        let stream = connected.map_err(|_| "the connection did not come up".to_owned())?;
        let stream = stream.map_err(|error| format!("cannot connect to {server}: {error}"))?;
        // Questions are small and alone on their way.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut http = hyper::client::conn::http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX);
        let (asking, connection) =
            http.handshake(TokioIo::new(stream)).await.map_err(|error| told(&error))?;
        let mut moving = JoinSet::new();
        // How it ended is told to whoever asks.
        moving.spawn(async move { drop(connection.await) });
        Ok(Self { asking, _moving: moving })
    }

    /// The first PoP of the answer.
    async fn ask(&mut self, server: SocketAddr, network: Ipv4Addr) -> Result<String, String> {
        let answer = timeout(PATIENCE, self.answer(server, network)).await;
        answer.unwrap_or_else(|_| Err("the answer did not come".to_owned()))
    }

    async fn answer(&mut self, server: SocketAddr, network: Ipv4Addr) -> Result<String, String> {
        let question = Request::get("/v1/locate").header(HOST, server.to_string());
        let question = question.header("x-forwarded-for", network.to_string()).body(Empty::new());
        let question = question.map_err(|error| error.to_string())?;
        let ended = |error| format!("the connection ended: {}", told(&error));
        self.asking.ready().await.map_err(ended)?;
        let answer = self.asking.send_request(question).await.map_err(ended)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| format!("the answer does not come whole: {error}"))?.to_bytes();
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body[..body.len().min(200)]);
            return Err(format!("status {}: {said}", status.as_u16()));
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| format!("the answer makes no sense: {error}"))?;
        let first = answer.candidates.into_iter().next();
        first.map(|candidate| candidate.pop).ok_or_else(|| "the answer names nobody".to_owned())
    }
}

/// An error with its cause, which says more.
fn told(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn questions_share_a_connection_and_what_is_no_answer_is_told() {
        let good = r#"{"candidates":[{"pop":"b"},{"pop":"a"}]}"#;
        let whole = |status: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let answers = [
            (whole("200 OK", good), Ok("b")),
            (
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n28\r\n{good}\r\n0\r\n\r\n"),
                Ok("b"),
            ),
            (whole("429 Too Many Requests", "slowly"), Err("status 429: slowly")),
            (whole("200 OK", r#"{"candidates":[]}"#), Err("the answer names nobody")),
            (whole("200 OK", "{"), Err("the answer makes no sense")),
            (whole("200 OK", &" ".repeat(BODY_BYTES_MAX + 1)), Err("the answer does not come whole")),
        ];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        let texts: Vec<_> = answers.iter().map(|(text, _)| text.clone()).collect();
        serving.spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            for text in texts {
                let (mut head, mut octet) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    tcp.read_exact(&mut octet).await.unwrap();
                    head.push(octet[0]);
                }
                let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                assert!(head.starts_with("get /v1/locate http/1.1\r\n"), "{head}");
                assert!(head.contains("\r\nx-forwarded-for: 192.0.2.1\r\n"), "{head}");
                // Who asked may not want to hear the end of it.
                let _ = tcp.write_all(text.as_bytes()).await;
            }
        });
        let mut line = Line::connect(server).await.unwrap();
        for (_, wanted) in answers {
            let got = line.ask(server, Ipv4Addr::new(192, 0, 2, 1)).await;
            match wanted {
                Ok(pop) => assert_eq!(got.as_deref(), Ok(pop)),
                Err(reason) => assert!(got.as_ref().is_err_and(|got| got.contains(reason)), "{got:?}"),
            }
        }
        while let Some(served) = serving.join_next().await {
            served.unwrap();
        }
        assert!(line.ask(server, Ipv4Addr::LOCALHOST).await.unwrap_err().contains("the connection ended"));
    }

    #[test]
    fn networks_are_public_and_as_many_as_were_asked_for() {
        let all: BTreeSet<[u8; 3]> = (0..100_000)
            .map(|number| {
                let [a, b, c, _] = address(number, 10_000).octets();
                [a, b, c]
            })
            .collect();
        assert!(all.len() > 9_900 && all.len() <= 10_000, "{}", all.len());
        for [first, ..] in all {
            assert!((11..=210).contains(&first) && ![100, 127, 169, 172, 192, 198, 203].contains(&first));
        }
        assert_eq!(address(3, 10), address(13, 10));
    }
}
