//! `im_open_login_svc`: accounts.

use nearport_chat::admin::NewAccount;
use nearport_wire::code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Field, Object, Text, Texts};
use crate::service::ACCOUNTS;
use crate::table::{Call, Command, command};

/// Accounts in one call.
const ACCOUNTS_MAX: usize = 100;
/// "Batch size not allowed".
const BATCH_SIZE: u32 = 70206;
const BAD: u32 = code::BAD_PARAMETER;
const INTERNAL: u32 = 70500;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(ACCOUNTS, "account_import", 200, "Registers an account", import),
        command(ACCOUNTS, "multiaccount_import", 100, "Registers up to 100 accounts", import_many),
        command(ACCOUNTS, "account_delete", 100, "Deletes up to 100 accounts", delete),
        command(ACCOUNTS, "account_check", 100, "Which accounts exist", check),
        command(ACCOUNTS, "kick", 200, "Ends all sessions of a user", kick),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Import {
    #[serde(default)]
    identifier: Text,
    #[serde(default, rename = "UserID")]
    user: Text,
    #[serde(default)]
    nick: Text,
    #[serde(default)]
    face_url: Text,
}

impl Import {
    pub(crate) fn read(self) -> Result<NewAccount, Refusal> {
        Ok(NewAccount {
            user: self.identifier.or(self.user).required("Identifier", BAD)?,
            nick: self.nick.optional("Nick", BAD)?,
            face_url: self.face_url.optional("FaceUrl", BAD)?,
        })
    }
}

async fn import(call: Call, body: Import) -> Result<Empty, Refusal> {
    let account = body.read()?;
    let outcomes = call.admin.import_accounts(&call.asker, vec![account]).await;
    let outcomes = outcomes.ok_or_else(gone)??;
    outcomes.into_iter().collect::<Result<(), _>>()?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportMany {
    #[serde(default)]
    accounts: Texts,
    #[serde(default)]
    account_list: ListedItems,
}

type ListedItems = Field<Vec<Object<Listed>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default, rename = "UserID")]
    user: Text,
    #[serde(default)]
    nick: Text,
    #[serde(default)]
    face_url: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ImportedMany {
    /// Those that could not be registered.
    fail_accounts: Vec<String>,
}

async fn import_many(call: Call, body: ImportMany) -> Result<ImportedMany, Refusal> {
    let accounts: Vec<NewAccount> = match body.accounts.optional("Accounts", BAD)? {
        Some(names) => {
            names.into_iter().map(|user| NewAccount { user, nick: None, face_url: None }).collect()
        }
        None => {
            let listed = body.account_list.required("Accounts", BAD)?;
            let read = listed.into_iter().map(|Object(item)| {
                Ok(NewAccount {
                    user: item.user.required("UserID", BAD)?,
                    nick: item.nick.optional("Nick", BAD)?,
                    face_url: item.face_url.optional("FaceUrl", BAD)?,
                })
            });
            read.collect::<Result<_, Refusal>>()?
        }
    };
    bounded(accounts.len())?;
    let names: Vec<_> = accounts.iter().map(|account| account.user.clone()).collect();
    let outcomes = call.admin.import_accounts(&call.asker, accounts).await.ok_or_else(gone)??;
    let failed = names.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_err());
    Ok(ImportedMany { fail_accounts: failed.map(|(name, _)| name).collect() })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default)]
    delete_item: NamedItems,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    result_item: Vec<DeletedItem>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct DeletedItem {
    result_code: u32,
    result_info: String,
    #[serde(rename = "UserID")]
    user: String,
}

async fn delete(call: Call, body: Delete) -> Result<Deleted, Refusal> {
    let items = body.delete_item.required("DeleteItem", BAD)?;
    bounded(items.len())?;
    let users = items.into_iter().map(|Object(item)| item.user.required("UserID", BAD));
    let users = users.collect::<Result<Vec<_>, _>>()?;
    let mut result_item = Vec::with_capacity(users.len());
    for user in users {
        let deleted = call.admin.delete_account(&call.asker, &user).await;
        let (result_code, result_info) = match deleted.ok_or_else(gone)? {
            Ok(()) => (0, String::new()),
            Err(failure) => (failure.code, failure.info.into_owned()),
        };
        result_item.push(DeletedItem { result_code, result_info, user });
    }
    Ok(Deleted { result_item })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(default)]
    check_item: NamedItems,
}

type NamedItems = Field<Vec<Object<Named>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct Named {
    #[serde(default, rename = "UserID")]
    user: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Checked {
    result_item: Vec<CheckedItem>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CheckedItem {
    #[serde(rename = "UserID")]
    user: String,
    result_code: u32,
    result_info: String,
    /// `Imported` or `NotImported`.
    account_status: &'static str,
}

async fn check(call: Call, body: Check) -> Result<Checked, Refusal> {
    let items = body.check_item.required("CheckItem", BAD)?;
    bounded(items.len())?;
    let names = items.into_iter().map(|Object(item)| item.user.required("UserID", BAD));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let app = call.asker.app;
    let (names, exist) = call
        .blocking(INTERNAL, move |admin| {
            let exist = admin.accounts_exist(app, &names)?;
            Ok((names, exist))
        })
        .await?;
    let item = |(user, exists): (String, bool)| CheckedItem {
        user,
        result_code: 0,
        result_info: String::new(),
        account_status: if exists { "Imported" } else { "NotImported" },
    };
    Ok(Checked { result_item: names.into_iter().zip(exist).map(item).collect() })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Kick {
    #[serde(default)]
    identifier: Text,
    #[serde(default, rename = "UserID")]
    user: Text,
}

async fn kick(call: Call, body: Kick) -> Result<Empty, Refusal> {
    let user = body.identifier.or(body.user).required("Identifier", BAD)?;
    let app = call.asker.app;
    call.blocking(INTERNAL, move |admin| admin.kick(app, &user)).await?;
    Ok(Empty {})
}

fn bounded(count: usize) -> Result<(), Refusal> {
    match count {
        0 => Err(Refusal::new(BAD, "no account is named")),
        1..=ACCOUNTS_MAX => Ok(()),
        _ => Err(Refusal::new(BATCH_SIZE, "at most 100 accounts in one call")),
    }
}

/// The backend ends.
fn gone() -> Refusal {
    Refusal::new(INTERNAL, "the server is shutting down, try again")
}
