//! What operators of an App ask for: files, and where callbacks come from.

mod addresses;
mod files;

use crate::table::Command;

pub(crate) fn commands() -> Vec<Command> {
    [addresses::commands(), files::commands()].into_iter().flatten().collect()
}
