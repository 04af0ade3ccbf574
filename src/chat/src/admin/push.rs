//! Pushes to all members, and the tags and attributes of users by which some of them are chosen.

mod labels;
mod send;

pub use labels::{AttrsOf, NamesOf};
pub use send::{Chosen, Push};
