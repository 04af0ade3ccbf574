//! `openim`: messages of two users.

mod changes;
mod history;
mod reads;
pub(crate) mod send;

use nearport_chat::Failure;
use nearport_chat::admin::{Admin, MsgKey, Pending};
use nearport_chat::key::{AppId, UserKey};

use crate::answer::Refusal;
use crate::field::Text;
use crate::service::MESSAGES;
use crate::table::{Call, Command, command, command_with_status};

/// Codes of the contract.
const BAD_TO: u32 = 90003;
const BAD_FROM: u32 = 90008;
const BAD_FORM: u32 = 90010;
const NOT_REGISTERED: u32 = 90012;
const BAD_KEY: u32 = 90054;
const NO_ACCOUNT: u32 = 70107;
const INTERNAL: u32 = 91000;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(MESSAGES, "sendmsg", 200, "Sends a message to a user", send::send),
        command_with_status(
            MESSAGES,
            "batchsendmsg",
            200,
            "Sends a message to up to 500 users",
            send::send_many,
        ),
        command(MESSAGES, "importmsg", 200, "Stores a message of another system", send::import),
        command(MESSAGES, "admin_getroammsg", 200, "Stored messages of two users", history::roaming),
        command(MESSAGES, "admin_msgwithdraw", 200, "Takes a message back", changes::recall),
        command(MESSAGES, "admin_set_msg_read", 200, "Marks messages as read", reads::mark_read),
        command(MESSAGES, "get_c2c_unread_msg_num", 200, "How many messages are unread", reads::unread),
        command(MESSAGES, "modify_c2c_msg", 200, "Changes a stored message", changes::modify),
        command(MESSAGES, "c2c_msg_read_receipt", 200, "Confirms messages as read", reads::confirm),
        command(MESSAGES, "delete_c2c_msg_ramble", 200, "Deletes messages for one side", changes::delete),
    ]
}

/// A user that is named and may exist.
fn user(app: AppId, field: Text, name: &str, code: u32) -> Result<UserKey, Refusal> {
    named(app, &field.required(name, code)?, name, code)
}

fn named(app: AppId, user: &str, name: &str, code: u32) -> Result<UserKey, Refusal> {
    UserKey::new(app, user).map_err(|error| Refusal::new(code, format!("{name}: {error}")))
}

fn msg_key(field: Text) -> Result<MsgKey, Refusal> {
    let key = field.required("MsgKey", BAD_KEY)?;
    key.parse().map_err(|_| Refusal::new(BAD_KEY, "MsgKey is no key of a message"))
}

/// `MsgId`, as unique as the key that stands beside it.
fn msg_id(key: &MsgKey) -> String {
    format!("{}-{}-{}", key.time_s, key.seq, key.random)
}

/// What another thread is about to tell.
async fn told<T>(pending: Pending<Result<T, Failure>>) -> Result<T, Refusal> {
    let told = pending.await;
    let told = told.ok_or_else(|| Refusal::new(INTERNAL, "the server is shutting down, try again"))?;
    told.map_err(refusal)
}

/// Looks into stores, away from this thread.
async fn look<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce(&Admin) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Refusal> {
    call.blocking(INTERNAL, work).await.map_err(by_number)
}

fn refusal(failure: Failure) -> Refusal {
    by_number(failure.into())
}

/// By the numbers of this service.
fn by_number(refusal: Refusal) -> Refusal {
    use nearport_wire::code;
    let code = match refusal.code {
        // Of the ledger, and of the conversation list.
        code::INTERNAL | 50004 => INTERNAL,
        code::CONTENT_TOO_LONG => 93000,
        code => code,
    };
    Refusal { code, ..refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_behind_it_has_the_numbers_of_this_service() {
        let numbers = [20005, 50004, 80002, 20022, 60018].map(|code| by_number(Refusal::new(code, "")).code);
        assert_eq!(numbers, [91000, 91000, 93000, 20022, 60018]);
    }
}
