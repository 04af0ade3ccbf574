//! REST `v4` against the real program: each command of the public contract with a request, the exact shape of its answer, and its
//! error cases. A module per service has the rows; [`table`] carries them out.

mod accounts;
mod contacts;
mod door;
mod follow;
mod group_messages;
mod groups;
mod history;
mod keys;
mod live_config;
mod messages;
mod mutes;
mod operations;
mod pages;
mod people;
mod profile;
mod push;
mod sns;
mod spec;
mod status;
mod table;
mod topics;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nearport_chat::usersig::sign_v2;
use serde_json::Value;
use tempfile::TempDir;

use crate::node::{Node, STUCK};

/// The back end of an App: signs and calls.
#[derive(Debug)]
pub(crate) struct BackEnd {
    api: SocketAddr,
    pub(crate) app: u32,
    secret: String,
}

impl BackEnd {
    /// Of the first App of a node in `dir`.
    pub(crate) fn of(dir: &Path) -> Self {
        let run: Value = read_toml(&dir.join("data/run.toml"));
        let client = read_toml(&dir.join("data/client.toml"));
        Self {
            api: run["api"].as_str().unwrap().parse().unwrap(),
            app: client["app"].as_u64().unwrap().try_into().unwrap(),
            secret: client["key"].as_str().unwrap().to_owned(),
        }
    }

    /// A UserSig that is good for a day.
    pub(crate) fn usersig(&self, user: &str) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        sign_v2(&self.secret, self.app, user, now_s, 86_400, None)
    }

    /// The query of the administrator.
    pub(crate) fn query(&self) -> String {
        let (app, usersig) = (self.app, self.usersig("administrator"));
        format!("sdkappid={app}&identifier=administrator&usersig={usersig}&random=1&contenttype=json")
    }

    /// Calls `service/command` as the administrator.
    pub(crate) fn call(&self, path: &str, body: &Value) -> Value {
        self.ask(path, &self.query(), &body.to_string())
    }

    /// The same, which must succeed.
    pub(crate) fn done(&self, path: &str, body: &Value) -> Value {
        let answer = self.call(path, body);
        assert_eq!(answer["ErrorCode"], 0, "{path} {body}: {answer}");
        answer
    }

    /// Calls with this query and body.
    pub(crate) fn ask(&self, path: &str, query: &str, body: &str) -> Value {
        let (status, answer) = self.post(&format!("/v4/{path}?{query}"), "", body.as_bytes());
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// A page; status and body.
    pub(crate) fn get(&self, target: &str) -> (u16, String) {
        self.request("GET", target, "", b"")
    }

    /// A request by hand; status and body.
    pub(crate) fn post(&self, target: &str, headers: &str, body: &[u8]) -> (u16, String) {
        self.request("POST", target, headers, body)
    }

    /// As [`Self::post`], of a server that may be gone: the body, if there was one.
    pub(crate) fn try_post(&self, target: &str, body: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(self.api).ok()?;
        stream.set_read_timeout(Some(STUCK)).ok()?;
        let length = body.len();
        write!(
            stream,
            "POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
        .ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.set_read_timeout(Some(STUCK)).unwrap();
        let length = body.len();
        write!(stream, "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n")
            .unwrap();
        // A server that refuses may close before it has read all.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn read_toml(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// A node with its back end.
pub(crate) fn start(args: &[&str]) -> (TempDir, Node, BackEnd) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), args);
    let back_end = BackEnd::of(dir.path());
    (dir, node, back_end)
}

/// All tables against one node: what a service leaves behind the next one finds.
#[test]
fn every_command_answers_as_the_contract_says() {
    let (_dir, _node, back_end) = start(&[]);
    let rows = [
        accounts::ROWS,
        status::ROWS,
        messages::ROWS,
        profile::ROWS,
        sns::ROWS,
        follow::ROWS,
        contacts::ROWS,
        mutes::ROWS,
        push::ROWS,
        operations::ROWS,
        history::ROWS,
        live_config::ROWS,
        groups::ROWS,
        group_messages::ROWS,
        topics::ROWS,
    ];
    table::carry_out(&back_end, &rows.concat());
    live_config::mistakes(&back_end);
}
