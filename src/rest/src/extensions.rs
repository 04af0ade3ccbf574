//! `openim_msg_ext_http_svc`: pairs of a key and a value on messages of two users.

use nearport_chat::Failure;
use nearport_chat::admin::{ExtensionChange, ExtensionRow, Extensions, Named};
use nearport_chat::key::UserKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Refusal;
use crate::field::{Field, Object, Text};
use crate::service::EXTENSIONS;
use crate::table::{Call, Command, command};

const BAD: u32 = 10004;
const INTERNAL: u32 = 10002;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(EXTENSIONS, "set_key_values", 200, "Changes extensions of a message", set),
        command(EXTENSIONS, "get_key_values", 200, "Extensions of a message", get),
    ]
}

type Whole = Field<u32>;
type Long = Field<u64>;
type Pairs = Field<Vec<Object<ExtensionPair>>>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_key: Text,
    /// 1: set; 2: delete; 3: clear.
    #[serde(default)]
    operate_type: Whole,
    /// At most 20, for 1 and 2.
    #[serde(default)]
    extension_list: Pairs,
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ExtensionPair {
    #[serde(default)]
    key: Text,
    #[serde(default)]
    value: Text,
    /// Not looked at: an administrator asks.
    #[serde(default)]
    seq: Long,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Changed {
    extension_list: Vec<ChangedExtension>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ChangedExtension {
    error_code: u32,
    extension: ExtensionOut,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ExtensionOut {
    key: String,
    value: String,
    seq: u64,
}

async fn set(call: Call, body: Set) -> Result<Changed, Refusal> {
    let named = named(&call, body.from, body.to, body.msg_key)?;
    let operate = body.operate_type.required("OperateType", BAD)?;
    let change = match operate {
        1 => {
            let pairs = body.extension_list.required("ExtensionList", BAD)?;
            let pair = |Object(pair): Object<ExtensionPair>| {
                Ok((pair.key.required("Key", BAD)?, pair.value.required("Value", BAD)?))
            };
            ExtensionChange::Set(pairs.into_iter().map(pair).collect::<Result<_, Refusal>>()?)
        }
        2 => {
            let pairs = body.extension_list.required("ExtensionList", BAD)?;
            let key = |Object(pair): Object<ExtensionPair>| pair.key.required("Key", BAD);
            ExtensionChange::Delete(pairs.into_iter().map(key).collect::<Result<_, Refusal>>()?)
        }
        3 => ExtensionChange::Clear,
        _ => return Err(Refusal::new(BAD, "OperateType is 1, 2 or 3")),
    };
    let asker = call.asker.clone();
    let pending =
        call.blocking(INTERNAL, move |admin| Ok(admin.change_extensions(&asker, &named, change))).await?;
    let changed = pending.map_err(refusal)?.await;
    let changed = changed.ok_or_else(|| Refusal::new(INTERNAL, "the server is shutting down, try again"))?;
    let changed = changed.map_err(refusal)?.into_iter();
    let extension_list = changed.map(|row| ChangedExtension { error_code: 0, extension: out(row) }).collect();
    Ok(Changed { extension_list })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_key: Text,
    /// Only what has a larger number.
    #[serde(default)]
    start_seq: Long,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// 1: there is nothing behind it.
    complete_flag: u32,
    latest_seq: u64,
    /// What has this number or a smaller one was cleared.
    clear_seq: u64,
    /// By number; an empty value was deleted.
    extension_list: Vec<ExtensionOut>,
}

async fn get(call: Call, body: Get) -> Result<Page, Refusal> {
    let named = named(&call, body.from, body.to, body.msg_key)?;
    let after = body.start_seq.optional("StartSeq", BAD)?.unwrap_or_default();
    let page = call.blocking(INTERNAL, move |admin| Ok(admin.extensions(&named, after))).await?;
    let Extensions { complete, latest, clear, pairs } = page.map_err(refusal)?;
    Ok(Page {
        complete_flag: complete.into(),
        latest_seq: latest,
        clear_seq: clear,
        extension_list: pairs.into_iter().map(out).collect(),
    })
}

fn named(call: &Call, from: Text, to: Text, key: Text) -> Result<Named, Refusal> {
    let user = |name: &str, field: &str| {
        UserKey::new(call.asker.app, name).map_err(|error| Refusal::new(BAD, format!("{field}: {error}")))
    };
    let from = match from.optional("From_Account", BAD)? {
        Some(name) => user(&name, "From_Account")?,
        None => user(&call.asker.admin, "identifier")?,
    };
    let to = user(&to.required("To_Account", BAD)?, "To_Account")?;
    let key = key.required("MsgKey", BAD)?;
    let key = key.parse().map_err(|_| Refusal::new(BAD, "MsgKey is no key of a message"))?;
    Ok(Named { from, to, key })
}

fn out(row: ExtensionRow) -> ExtensionOut {
    ExtensionOut { key: row.key, value: row.value, seq: row.seq }
}

/// By the numbers of this service.
fn refusal(failure: Failure) -> Refusal {
    let own = matches!(failure.code, 10002 | 10004 | 23001..=23004);
    Refusal::new(if own { failure.code } else { INTERNAL }, failure.info)
}
