//! The steering link: what edges tell locators of themselves and of each other, and what locators tell edges to do.
//!
//! ```text
//!  edge                                   locator
//!  Post ── report, votes, orders ──▶ Board ──▶ geo::network::Network ──▶ who is up, how full
//!    ◀──── PoPs to check, orders ──────
//! ```
//!
//! Each edge dials every locator ([`dial`]); a [`locator`] listens ([`listen`]). Both sides prove who they are with certificates of the trunk's
//! CA. What the sides know is pure: [`board`] at the locator, [`post`] at the edge, [`checker`] at both, [`order`]s and [`message`]s
//! between them. Nothing is queued: each side sends what is so now, so that one that does not read is behind and never costs more.
//!
//! Who hears nothing goes on as before: an edge without locators serves, one without a word about itself is not drained, and a
//! locator without edges names everybody.

pub mod board;
pub mod checker;
pub mod dial;
mod link;
pub mod listen;
pub mod locator;
pub mod message;
pub mod order;
pub mod post;
pub mod prober;
pub mod tls;

pub use board::{Board, Row, State, Wish};
pub use message::{Report, Target, Vote};
pub use order::{Order, Seal, Sealed};
pub use post::Post;
