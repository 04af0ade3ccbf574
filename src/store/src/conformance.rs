//! What every engine must do, as plain functions that panic when it does not.
//!
//! A new engine starts here: call [`ledger`] or [`directory`] with a constructor from a test. Each call of the
//! constructor gives an empty engine that stays open as long as the value lives. What a crash may cost is not
//! in here, for each engine can be crashed in its own way; the tests of this crate do that for fjall.

mod directories;
mod ledgers;

pub use directories::directory;
pub use ledgers::ledger;
