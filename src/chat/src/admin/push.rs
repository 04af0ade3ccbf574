//! Pushes to all members: tags and attributes of users, by which some of them are chosen.

mod labels;

pub use labels::{AttrsOf, NamesOf};
