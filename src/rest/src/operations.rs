//! What operators of an App ask for: numbers of days, files, and where callbacks come from.

mod addresses;
mod files;
mod numbers;

use crate::table::Command;

pub(crate) fn commands() -> Vec<Command> {
    [numbers::commands(), addresses::commands(), files::commands()].into_iter().flatten().collect()
}
