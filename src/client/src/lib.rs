//! The Rust SDK: one logged-in device that reconnects by itself, keeps unsent messages and shows each message once.
//!
//! A [`Network`] is the process's UDP sockets and TLS settings, shared by all clients. A [`Client`] is one device of
//! one user: it connects, logs in, comes back after a loss, sends again what has no acknowledgement under the same
//! id, and gives the user's log as [`Event`]s without gaps and without repetition.
//!
//! ```no_run
//! use std::time::Duration;
//! use nearport_client::{Client, Config, Event, Network, NetworkConfig, text, user};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::new(NetworkConfig::from_ca_pem(&std::fs::read("certs/dev/ca.pem")?)?)?;
//! let config = Config::new("127.0.0.1:4433".parse()?, "localhost", 1400000000, "alice", "eJw…");
//! let alice = Client::connect(&network, config);
//! alice.ready(Duration::from_secs(5)).await?;
//! let sent = alice.send(user("bob"), text("hi")).await?;
//! println!("on disk as number {} of the conversation", sent.seq);
//! while let Some(event) = alice.next_event().await {
//!     if let Event::Message(message) = event {
//!         println!("{}: {}", message.from, message.text());
//!     }
//! }
//! alice.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Keep taking events
//!
//! Events wait in a bounded queue. While it is full the client does not read from its connection, so the answers to
//! sends wait too. A program that only sends says [`Receive::Nothing`].
//!
//! # What survives what
//!
//! The outbox and the cursor live in memory: they survive lost connections and server restarts, not the process. A
//! message whose `send` has returned is on the server's disk. After a restart of the process the server's memory of
//! the device ([`Client::flush`]) or [`Config::cursor`] say what is new. A process may keep [`Client::resume_state`] for
//! its successor ([`Config::resume`]): that one logs in without a UserSig and goes on where this one stood.
//!
//! # Ways through the network
//!
//! QUIC, TLS over TCP and WebSocket race for each session ([`transports`](field@Config::transports)): QUIC starts, TCP
//! follows after 100 ms without a packet from the server, and the first transport that brings the application's welcome
//! carries the session.
//! What has worked is remembered per network and server. [`NetworkConfig::proxy`] takes the TCP transports through a proxy.
//! When the device changes its network, say so ([`Client::network_changed`]): sessions over QUIC go on from the new
//! address, others come back at once.

//!
//! # Several PoPs
//!
//! A [`Locator`] finds the nearest of several edges and remembers it: [`Config::located`]. It asks the addressing service by HTTPS, then
//! DNS, then a signed map that it has kept, then a list; the PoPs that are named race once in each network.
//!
//! ```no_run
//! # use nearport_client::{Client, Config, LocateConfig, Locator, Network, NetworkConfig};
//! # async fn example(network: Network) -> Result<(), Box<dyn std::error::Error>> {
//! let locator = Locator::new(LocateConfig {
//!     https: vec!["192.0.2.7:443/locate.chat.example".parse()?],
//!     names: vec!["np.chat.example".into()],
//!     zone: Some("chat.example".into()),
//!     map_keys: vec![LocateConfig::map_key("4f…")?],
//!     list: vec!["198.51.100.1:4433/fra.chat.example".parse()?],
//!     dir: Some("/var/lib/app/nearport".into()),
//!     ..LocateConfig::default()
//! })?;
//! let alice = Client::connect(&network, Config::located(&locator, 1400000000, "alice", "eJw…"));
//! # Ok(())
//! # }
//! ```

mod amend;
mod attempt;
mod client;
mod config;
pub mod core;
mod driver;
mod error;
mod event;
pub mod groups;
#[cfg(test)]
mod house;
mod link;
pub mod live;
mod locate;
mod loss;
pub mod media;
mod memory;
mod network;
#[cfg(test)]
mod path_tests;
pub mod people;
mod race;
#[cfg(test)]
mod relay;
mod silence;
mod tasks;
mod transport;

pub use amend::{Confirmed, Readers};
pub use client::Client;
pub use config::{Acks, Config, FROM_NOW, Follow, GroupCursor, Limits, Platform, Receive, ResumeState};
pub use core::State;
pub use error::{ConnectError, NetworkError, PostError, QueueFull, RequestError, SendError};
pub use event::{
    Changed, Content, Element, Event, Failure, GroupEvent, HistoryPage, HistoryQuery, HistoryRange,
    LiveFrame, LiveMissed, LiveNumbers, Mentions, Message, MsgId, Notice, PeopleEvent, Priority, Recalled,
    RequestId, SendControl, SendOptions, Sent, Target, Tip, group, text, user,
};
pub use locate::{
    Contestant, LocateConfig, LocateError, Locator, Server, Source, StepFailure, Survey, SurveyStep,
};
pub use nearport_wire::close::CloseCode;
pub use nearport_wire::{Kind, Lane};
pub use network::{BadProxy, KeyExchange, Network, NetworkConfig, Proxy, Tuning};
pub use transport::{Transport, UnknownTransport};
