//! What every engine must do, as plain functions that panic when it does not.
//!
//! A new engine starts here: call [`ledger`] or [`directory`] with a constructor from a test. Each call of the
//! constructor gives an empty engine that stays open as long as the value lives. What a crash may cost is not
//! in here, for each engine can be crashed in its own way; the tests of this crate do that for fjall.

mod accounts;
mod apps;
mod audit;
mod events;
mod groups;
mod history;
mod ledgers;
pub mod model;
mod numbers;
mod people;
mod push;

use nearport_chat::directory::Directory;

pub use ledgers::ledger;
pub use model::ledger_model;

/// Runs every check of the trait `Directory`; each area has its own in a file of this module.
///
/// # Panics
/// When the engine breaks a guarantee.
pub fn directory(make: impl Fn() -> Box<dyn Directory>) {
    accounts::all(&make);
    apps::all(&make);
    audit::all(&make);
    events::all(&make);
    groups::all(&make);
    history::all(&make);
    numbers::all(&make);
    people::all(&make);
    push::all(&make);
}
