//! A network laboratory: a server and its clients in two network namespaces, and between them a bad network in user
//! space.
//!
//! ```text
//!   namespace "server"                this process                  namespace "clients"
//!   ┌─────────────────┐   ┌──────────────────────────────────┐   ┌─────────────────────┐
//!   │ nearport serve  │   │ emulator: one path for each flow │   │ nearport load       │
//!   │ 10.77.0.1       │   │ (impair), a NAT, ICMP            │   │ 10.77.0.2           │
//!   │   TUN device ◄──┼───┤                                  ├───┼──► TUN device       │
//!   └─────────────────┘   └──────────────────────────────────┘   └─────────────────────┘
//! ```
//!
//! Packets are lost, delayed and dropped below TCP and UDP, so both are treated alike: a lost segment costs TCP what a lost
//! datagram costs QUIC. The kernel's own tool for this (`netem`) is not in every kernel; TUN devices are.
//!
//! Each flow of a client (its protocol and port) has a path of its own, as each device has its own radio link: bursts,
//! rates and queues of one do not touch another.
//!
//! # What it needs
//!
//! Linux, root, `/dev/net/tun` and `ip` of iproute2: [`missing`] says what is not there. Everything it makes goes with
//! it: devices with their descriptors, namespaces when the [`Lab`] is dropped. A process that was killed leaves
//! namespaces behind; the next laboratory removes those and ends what still runs in them.

mod emulator;
mod error;
mod ip;
mod lab;
mod namespace;
mod nat;
mod node;
mod packet;
mod site;

pub use emulator::LabCounts;
pub use error::Error;
pub use lab::{CLIENT_ADDRESS, Lab, SERVER_ADDRESS, missing};
pub use node::{Node, Run};
pub use site::Site;
