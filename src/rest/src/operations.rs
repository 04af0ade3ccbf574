//! What operators of an App ask for: numbers of days, files, and where callbacks come from.

mod addresses;
pub(crate) mod dates;
mod files;
mod history;
mod numbers;

use crate::table::Command;

pub(crate) fn commands() -> Vec<Command> {
    [numbers::commands(), addresses::commands(), files::commands(), history::commands()]
        .into_iter()
        .flatten()
        .collect()
}
