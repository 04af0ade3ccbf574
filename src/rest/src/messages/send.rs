//! Sends and imports.

use nearport_chat::admin::{Callbacks, Import, MsgKey, Outgoing};
use nearport_chat::key::{AppId, UserKey};
use nearport_wire::LIFE_TIME_MAX_S;
use nearport_wire::body::{Content, SendControl};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    BAD_FORM, BAD_FROM, BAD_TO, INTERNAL, NO_ACCOUNT, NOT_REGISTERED, by_number, msg_id, named, refusal,
    told, user,
};
use crate::answer::{Empty, Refusal, Status};
use crate::elements::{BadBody, MsgBody, OfflinePush, content, offline_push};
use crate::field::{Field, Text, Texts};
use crate::table::Call;

const BAD_RANDOM: u32 = 90005;
const BAD_TIME: u32 = 90006;
const TOO_MANY: u32 = 90011;
const BAD_IMPORT: u32 = 90030;
const BAD_SYNC: u32 = 90031;
const BAD_LIFE: u32 = 90044;
/// "Sender or receiver not valid or not imported".
const NOT_IMPORTED: u32 = 20003;

/// Receivers of one batch.
const RECEIVERS_MAX: usize = 500;

type Whole = Field<u32>;
type Long = Field<i64>;

/// Hands to `$then` the fields that single sends and batches have in common, and to each request beside its own. A macro, and not a struct that
/// serde flattens: that reads all fields into a buffer first, names and values.
macro_rules! with_common {
    ($then:ident $($args:tt)*) => {
        $then! { [$($args)*]
            /// 1: the sender has a copy, which is the default; 2: they have none.
            #[serde(default)]
            sync_other_machine: Whole,
            #[serde(default, rename = "From_Account")]
            from: Text,
            /// Seconds; 0: only who is online.
            #[serde(default)]
            msg_life_time: Long,
            #[serde(default)]
            msg_seq: Whole,
            #[serde(default)]
            msg_random: Whole,
            #[serde(default)]
            send_msg_control: Texts,
            #[serde(default)]
            msg_body: MsgBody,
            #[serde(default)]
            cloud_custom_data: Text,
            #[serde(default)]
            offline_push_info: OfflinePush,
            #[serde(default)]
            support_message_extension: Whole,
            #[serde(default)]
            is_need_read_receipt: Whole,
            #[serde(default)]
            online_only_flag: Whole,
        }
    };
}

macro_rules! common {
    ([] $($(#[$meta:meta])* $field:ident: $type:ty,)*) => {
        /// What single sends and batches have in common.
        #[derive(Debug)]
        struct ToSend {
            $($field: $type,)*
        }
    };
}

macro_rules! request {
    ([$name:ident { $($own:tt)* }] $($(#[$meta:meta])* $field:ident: $type:ty,)*) => {
        #[derive(Debug, Deserialize, ToSchema)]
        #[serde(rename_all = "PascalCase")]
        pub(super) struct $name {
            $($own)*
            $($(#[$meta])* $field: $type,)*
        }

        impl $name {
            /// Takes out what all requests have.
            fn take(&mut self) -> ToSend {
                ToSend { $($field: std::mem::take(&mut self.$field),)* }
            }
        }
    };
}

with_common!(common);

with_common! { request Send {
    #[serde(default, rename = "To_Account")]
    to: Text,
    /// Unix seconds.
    #[serde(default)]
    msg_time_stamp: Whole,
    #[serde(default)]
    forbid_callback_control: Texts,
} }

with_common! { request SendMany {
    /// 1 to 500 users.
    #[serde(default, rename = "To_Account")]
    to: Texts,
} }

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sent {
    /// Unix seconds.
    msg_time: u64,
    msg_key: String,
    msg_id: String,
}

pub(super) async fn send(call: Call, mut body: Send) -> Result<Sent, Refusal> {
    let app = call.asker.app;
    let message = body.take();
    let to = user(app, body.to, "To_Account", BAD_TO)?;
    let from = sender(&call, &message.from)?;
    let time_s = body.msg_time_stamp.optional("MsgTimeStamp", BAD_TIME)?;
    let key = key(&call, &message, time_s)?;
    let callbacks = callbacks(body.forbid_callback_control)?;
    let message = message.read(who(&call, from.as_ref())?, key, callbacks)?;
    let asked: Vec<UserKey> = std::iter::once(to).chain(from).collect();
    let there = there(&call, &asked).await?;
    if !there[0] {
        return Err(Refusal::new(NOT_REGISTERED, "invalid To_Account"));
    }
    if there.get(1) == Some(&false) {
        return Err(Refusal::new(NOT_IMPORTED, "From_Account is not registered"));
    }
    told(call.admin.send_message(&call.asker, message, &asked[0])).await?;
    Ok(Sent { msg_time: key.time_s, msg_key: key.to_string(), msg_id: msg_id(&key) })
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SentMany {
    /// Of all of the batch.
    msg_key: String,
    msg_id: String,
    /// Those who did not get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    error_list: Vec<NotSent>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NotSent {
    #[serde(rename = "To_Account")]
    to: String,
    error_code: u32,
}

pub(super) async fn send_many(call: Call, mut body: SendMany) -> Result<(Status, SentMany), Refusal> {
    let app = call.asker.app;
    let message = body.take();
    let names = body.to.required("To_Account", BAD_TO)?;
    match names.len() {
        0 => return Err(Refusal::new(BAD_TO, "To_Account names nobody")),
        1..=RECEIVERS_MAX => {}
        _ => return Err(Refusal::new(TOO_MANY, "at most 500 receivers in one call")),
    }
    let from = sender(&call, &message.from)?;
    let key = key(&call, &message, None)?;
    let no_callbacks = Callbacks { no_before: true, no_after: true };
    let message = message.read(who(&call, from.as_ref())?, key, no_callbacks)?;
    // A receiver that is named twice gets one.
    let mut seen = std::collections::BTreeSet::new();
    let named: Vec<(String, Option<UserKey>)> = names
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .map(|name| {
            let key = UserKey::new(app, &name).ok();
            (name, key)
        })
        .collect();
    let asked: Vec<UserKey> = named.iter().filter_map(|(_, key)| key.clone()).chain(from.clone()).collect();
    let mut there = there(&call, &asked).await?;
    if from.is_some() && there.pop() == Some(false) {
        return Err(Refusal::new(BAD_FROM, "From_Account is not registered"));
    }
    let mut there = there.into_iter();
    let (mut to, mut error_list) = (Vec::with_capacity(named.len()), Vec::new());
    for (name, key) in named {
        match key.filter(|_| there.next() == Some(true)) {
            Some(key) => to.push(key),
            None => error_list.push(NotSent { to: name, error_code: NO_ACCOUNT }),
        }
    }
    if to.is_empty() {
        return Err(Refusal::new(NOT_REGISTERED, "invalid To_Account"));
    }
    told(call.admin.send_messages(&message, &to)).await?;
    let status = if error_list.is_empty() { Status::Ok } else { Status::SomeError };
    Ok((status, SentMany { msg_key: key.to_string(), msg_id: msg_id(&key), error_list }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportOne {
    /// 1, 5: as if it were sent now; 2: history.
    #[serde(default)]
    sync_from_old_system: Whole,
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    msg_seq: Whole,
    #[serde(default)]
    msg_random: Whole,
    /// Unix seconds.
    #[serde(default)]
    msg_time_stamp: Whole,
    #[serde(default)]
    msg_body: MsgBody,
    #[serde(default)]
    cloud_custom_data: Text,
}

/// A message of another system.
pub(crate) struct Old {
    pub(crate) from: UserKey,
    pub(crate) to: UserKey,
    pub(crate) key: MsgKey,
    /// What it says: looked at last.
    pub(crate) content: Result<Content, BadBody>,
}

impl ImportOne {
    pub(crate) fn read(self, app: AppId) -> Result<Old, Refusal> {
        let from = user(app, self.from, "From_Account", BAD_FROM)?;
        let to = user(app, self.to, "To_Account", BAD_TO)?;
        let random = self.msg_random.required("MsgRandom", BAD_RANDOM)?;
        let time_s = self.msg_time_stamp.required("MsgTimeStamp", BAD_TIME)?;
        // Without one a repeat of the import is to find the first.
        let seq = self.msg_seq.optional("MsgSeq", BAD_FORM)?.unwrap_or_default();
        let key = MsgKey { seq: seq.into(), random, time_s: time_s.into() };
        Ok(Old { from, to, key, content: content(self.msg_body, self.cloud_custom_data) })
    }
}

pub(super) async fn import(call: Call, body: ImportOne) -> Result<Empty, Refusal> {
    let app = call.asker.app;
    let how = match body.sync_from_old_system.clone().required("SyncFromOldSystem", BAD_IMPORT)? {
        1 | 5 => Import::Live,
        2 => Import::History,
        _ => return Err(Refusal::new(BAD_IMPORT, "SyncFromOldSystem is 1, 2 or 5")),
    };
    let Old { from, to, key, content } = body.read(app)?;
    if call.admin.is_future(key.time_s) {
        return Err(Refusal::new(BAD_TIME, "MsgTimeStamp is in the future"));
    }
    let message = Outgoing::imported(from.clone(), key, content.map_err(|bad| bad.in_messages())?);
    let there = there(&call, &[from, to.clone()]).await?;
    match there[..] {
        [true, true] => told(call.admin.import_message(&message, &to, how)).await.map(|()| Empty {}),
        [false, _] => Err(Refusal::new(BAD_FROM, "From_Account is not registered")),
        _ => Err(Refusal::new(NOT_REGISTERED, "invalid To_Account")),
    }
}

impl ToSend {
    fn read(self, from: UserKey, key: MsgKey, callbacks: Callbacks) -> Result<Outgoing, Refusal> {
        let flag = |field: Whole, name: &str| match field.optional(name, BAD_FORM)? {
            None | Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(_) => Err(Refusal::new(BAD_FORM, format!("{name} is 0 or 1"))),
        };
        let life_time_s = match self.msg_life_time.optional("MsgLifeTime", BAD_LIFE)? {
            None => None,
            Some(seconds) => match u32::try_from(seconds) {
                Ok(seconds) => Some(seconds.min(LIFE_TIME_MAX_S)),
                Err(_) if seconds > 0 => Some(LIFE_TIME_MAX_S),
                Err(_) => return Err(Refusal::new(BAD_LIFE, "MsgLifeTime is negative")),
            },
        };
        let controls = self.send_msg_control.optional("SendMsgControl", BAD_FORM)?.unwrap_or_default();
        let has = |name: &str| controls.iter().any(|control| control == name);
        let control = SendControl { no_unread: has("NoUnread"), no_last_message: has("NoLastMsg") };
        let online_only = flag(self.online_only_flag, "OnlineOnlyFlag")? || life_time_s == Some(0);
        Ok(Outgoing {
            from,
            key,
            content: content(self.msg_body, self.cloud_custom_data).map_err(|bad| bad.in_messages())?,
            control: (control != SendControl::default()).then_some(control),
            need_receipt: flag(self.is_need_read_receipt, "IsNeedReadReceipt")? && !online_only,
            life_time_s: life_time_s.unwrap_or_default(),
            offline_push: offline_push(self.offline_push_info)?,
            extensible: flag(self.support_message_extension, "SupportMessageExtension")? && !online_only,
            for_sender: self.sync_other_machine.optional("SyncOtherMachine", BAD_SYNC)? != Some(2),
            online_only,
            callbacks,
        })
    }
}

/// Who is named as the sender; `None`: the administrator who asks.
fn sender(call: &Call, from: &Text) -> Result<Option<UserKey>, Refusal> {
    match from.clone().optional("From_Account", BAD_FROM)? {
        Some(name) if *name == *call.asker.admin => Ok(None),
        Some(name) => named(call.asker.app, &name, "From_Account", BAD_FROM).map(Some),
        None => Ok(None),
    }
}

/// In whose name it goes.
fn who(call: &Call, from: Option<&UserKey>) -> Result<UserKey, Refusal> {
    match from {
        Some(user) => Ok(user.clone()),
        None => call.admin.own_user(&call.asker).map_err(refusal),
    }
}

fn key(call: &Call, message: &ToSend, time_s: Option<u32>) -> Result<MsgKey, Refusal> {
    let random = message.msg_random.clone().required("MsgRandom", BAD_RANDOM)?;
    let seq = match message.msg_seq.clone().optional("MsgSeq", BAD_FORM)? {
        Some(seq) => seq,
        // Nothing but this keeps two messages of one second apart whose back end never changes its random.
        None => MsgKey::random_seq(),
    };
    let time_s = time_s.filter(|time_s| *time_s > 0);
    Ok(MsgKey {
        seq: seq.into(),
        random,
        time_s: time_s.map_or_else(|| call.admin.now_ms() / 1000, u64::from),
    })
}

fn callbacks(forbidden: Texts) -> Result<Callbacks, Refusal> {
    let forbidden = forbidden.optional("ForbidCallbackControl", BAD_FORM)?.unwrap_or_default();
    let has = |name: &str| forbidden.iter().any(|one| one == name);
    Ok(Callbacks {
        no_before: has("ForbidBeforeSendMsgCallback"),
        no_after: has("ForbidAfterSendMsgCallback"),
    })
}

/// Which of these accounts exist.
async fn there(call: &Call, users: &[UserKey]) -> Result<Vec<bool>, Refusal> {
    call.exist(INTERNAL, users).await.map_err(by_number)
}
