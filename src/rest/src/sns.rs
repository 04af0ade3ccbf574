//! `sns`: friends, blocklists, friend groups, follows.

mod blocks;
mod checks;
mod follow;
pub(crate) mod friends;
mod groups;
mod lookup;

use nearport_chat::Failure;
use nearport_chat::admin::For;
use nearport_chat::people::{Effects, People};

use crate::answer::Refusal;
use crate::field::Field;
use crate::items::done;
use crate::table::{Call, Command};

const BAD: u32 = 30001;
const NO_ACCOUNT: u32 = 30003;
const INTERNAL: u32 = 30006;

pub(crate) fn commands() -> Vec<Command> {
    let parts = [
        friends::commands(),
        checks::commands(),
        lookup::commands(),
        blocks::commands(),
        groups::commands(),
        follow::commands(),
    ];
    parts.into_iter().flatten().collect()
}

/// Changes the relations of `from`.
async fn change<T: Send + 'static>(
    call: &Call,
    from: &str,
    work: impl FnOnce(&People, For<'_>, &mut Effects) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    done(call.admin.change_people(&call.asker, from, NO_ACCOUNT, work), INTERNAL).await
}

/// Reads the relations of `from`.
async fn read<T: Send + 'static>(
    call: &Call,
    from: String,
    work: impl FnOnce(&People, For<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    let asker = call.asker.clone();
    call.blocking(INTERNAL, move |admin| admin.read_people(&asker, &from, NO_ACCOUNT, work)).await
}

/// One of some words; the first one if the field is not there and need not be.
fn choice<T: Copy>(
    field: Field<String>,
    name: &str,
    default: Option<T>,
    words: &[(&str, T)],
) -> Result<T, Refusal> {
    let Some(word) = field.optional(name, BAD)? else {
        return default.ok_or_else(|| Refusal::new(BAD, format!("{name} is missing")));
    };
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, value)| *value).ok_or_else(|| Refusal::new(BAD, format!("{name} has no such value")))
}
