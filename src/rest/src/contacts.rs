//! `recentcontact`: conversation lists of users, their groups and marks.

mod groups;
mod marks;

use nearport_chat::Failure;
use nearport_chat::admin::ClearWith;
use nearport_chat::directory::conversations::Peer;
use nearport_chat::key::{AppId, GroupKey, UserKey};
use nearport_wire::body::people_call::Call as PeopleCall;
use nearport_wire::body::{ConversationDelete, Target, people_answer::Answer, target};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Field, Text};
use crate::service::CONTACTS;
use crate::table::{Call, Command, command};

const NOT_IMPORTED: u32 = 50001;
const BAD: u32 = 50002;
const INTERNAL: u32 = 50004;

/// Conversations of a page.
const PAGE: usize = 100;

/// `AssistFlags`: pinned conversations stand first.
const WITH_PINNED: u32 = 1;
/// `AssistFlags`: they come in pages too.
const PINNED_IN_PAGES: u32 = 4;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(CONTACTS, "get_list", 200, "The conversation list of a user", list),
        command(CONTACTS, "delete", 200, "Takes a conversation off the list", delete),
        command(CONTACTS, "create_contact_group", 200, "Makes a conversation group", groups::create),
        command(CONTACTS, "update_contact_group", 200, "Changes a conversation group", groups::update),
        command(CONTACTS, "del_contact_group", 200, "Takes a conversation group away", groups::delete),
        command(CONTACTS, "mark_contact", 200, "Marks conversations", marks::mark),
        command(CONTACTS, "search_contact_group", 200, "Marks and groups of conversations", marks::search),
        command(CONTACTS, "get_contact_group", 200, "All conversations with marks or groups", marks::all),
    ]
}

type Whole = Field<u32>;
type Long = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct List {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// Of the answer before; 0 first.
    #[serde(default)]
    time_stamp: Long,
    #[serde(default)]
    start_index: Long,
    #[serde(default)]
    top_time_stamp: Long,
    #[serde(default)]
    top_start_index: Long,
    /// Bits: 0 pinned ones first, 1 empty ones too, 2 pinned ones in pages.
    #[serde(default)]
    assist_flags: Whole,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    session_item: Vec<SessionItem>,
    /// 1: there are no more.
    complete_flag: u32,
    time_stamp: u64,
    start_index: u64,
    top_time_stamp: u64,
    top_start_index: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct SessionItem {
    r#type: u32,
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<String>,
    /// Unix seconds.
    msg_time: u64,
    top_flag: u32,
}

async fn list(call: Call, body: List) -> Result<Listed, Refusal> {
    let user = owner(&call, body.from).await?;
    let (time_s, top_s) =
        (body.time_stamp.required("TimeStamp", BAD)?, body.top_time_stamp.required("TopTimeStamp", BAD)?);
    let start = body.start_index.required("StartIndex", BAD)?;
    let top_start = body.top_start_index.required("TopStartIndex", BAD)?;
    let flags = body.assist_flags.required("AssistFlags", BAD)?;
    let items = call
        .blocking(INTERNAL, move |admin| {
            let (known, settings) = admin.conversation_list(&user)?;
            let pinned = |peer: &Peer| settings.rows.get(peer).is_some_and(|row| row.pinned_ms > 0);
            let item = |known: nearport_chat::people::conversations::Known| {
                let top_flag = u32::from(flags & WITH_PINNED != 0 && pinned(&known.peer));
                let (to, group_id) = parts(&known.peer);
                let r#type = known.peer.kind().into();
                SessionItem { r#type, to, group_id, msg_time: known.time_ms / 1000, top_flag }
            };
            Ok(known.into_iter().map(|(_, known)| item(known)).collect::<Vec<_>>())
        })
        .await?;
    let (pinned, mut plain): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.top_flag == 1);
    // Pinned ones are sorted by their pin in front; without that all stand by their time.
    plain.sort_by_key(|item| std::cmp::Reverse(item.msg_time));
    let at = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    let pinned_at_once = if flags & PINNED_IN_PAGES != 0 { PAGE } else { usize::MAX };
    let pinned_page: Vec<SessionItem> =
        pinned.iter().skip(at(top_start)).take(pinned_at_once).cloned().collect();
    let room = PAGE.saturating_sub(pinned_page.len());
    let plain_page: Vec<SessionItem> = plain.iter().skip(at(start)).take(room).cloned().collect();
    let (top_start, start) = (top_start + pinned_page.len() as u64, start + plain_page.len() as u64);
    let complete = at(top_start) >= pinned.len() && at(start) >= plain.len();
    Ok(Listed {
        complete_flag: complete.into(),
        time_stamp: plain_page.last().map_or(time_s, |item| item.msg_time),
        start_index: start,
        top_time_stamp: pinned_page.last().map_or(top_s, |item| item.msg_time),
        top_start_index: top_start,
        session_item: pinned_page.into_iter().chain(plain_page).collect(),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(flatten)]
    contact: Contact,
    /// 1: its messages are deleted for this user too.
    #[serde(default)]
    clear_ramble: Whole,
}

async fn delete(call: Call, body: Delete) -> Result<Empty, Refusal> {
    let user = owner(&call, body.from).await?;
    let peer = body.contact.peer(call.asker.app)?;
    let clear = match body.clear_ramble.optional("ClearRamble", BAD)? {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(Refusal::new(BAD, "ClearRamble is 0 or 1")),
    };
    if clear {
        let app = user.app();
        let with = match &peer {
            Peer::User(name) => UserKey::new(app, name).map(ClearWith::User),
            Peer::Group(id) => GroupKey::new(app, id).map(ClearWith::Group),
        };
        let with = with.map_err(|error| Refusal::new(BAD, error.to_string()))?;
        let cleared = call.admin.clear_history(&user, with).await.ok_or_else(gone)?;
        cleared.map_err(|_| Refusal::new(INTERNAL, "the store takes no writes, try again"))?;
    }
    let with = vec![target(&peer)];
    change(&call, &user, PeopleCall::ConversationDelete(ConversationDelete { with })).await?;
    Ok(Empty {})
}

/// A conversation as requests name it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Contact {
    /// 1: with a user; 2: a group.
    #[serde(default)]
    r#type: Whole,
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    to_group_id: Text,
    /// Another spelling of `ToGroupId`.
    #[serde(default, rename = "ToGroupid")]
    to_groupid: Text,
    #[serde(default)]
    group_id: Text,
}

impl Contact {
    fn peer(self, app: AppId) -> Result<Peer, Refusal> {
        let bad = |error: nearport_chat::key::BadName| Refusal::new(BAD, error.to_string());
        match self.r#type.required("Type", BAD)? {
            1 => {
                let name = self.to.required("To_Account", BAD)?;
                UserKey::new(app, &name).map_err(bad)?;
                Ok(Peer::User(name))
            }
            2 => {
                let id = self.to_group_id.or(self.to_groupid).or(self.group_id).required("ToGroupId", BAD)?;
                GroupKey::new(app, &id).map_err(bad)?;
                Ok(Peer::Group(id))
            }
            _ => Err(Refusal::new(BAD, "Type is 1 or 2")),
        }
    }

    /// As it was named, for an answer.
    fn echo(&self) -> ContactOut {
        let text = |field: &Text| if let Field::Good(text) = field { Some(text.clone()) } else { None };
        let group =
            text(&self.to_group_id).or_else(|| text(&self.to_groupid)).or_else(|| text(&self.group_id));
        let r#type = if let Field::Good(kind) = self.r#type { kind } else { 0 };
        ContactOut { r#type, to: text(&self.to), to_group_id: group }
    }
}

/// A conversation as answers name it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ContactOut {
    r#type: u32,
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_group_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ContactGroupItem {
    group_name: String,
    group_id: u32,
}

fn group_item(name: &str) -> ContactGroupItem {
    ContactGroupItem { group_name: name.to_owned(), group_id: group_id(name) }
}

/// Conversation groups are known by their names; the number that stands beside one in the contract follows from it (FNV-1a, 31 bits).
fn group_id(name: &str) -> u32 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash & 0x7fff_ffff
}

/// The user of the list, who must exist.
async fn owner(call: &Call, from: Text) -> Result<UserKey, Refusal> {
    let name = from.required("From_Account", BAD)?;
    let user = UserKey::new(call.asker.app, &name)
        .map_err(|error| Refusal::new(BAD, format!("From_Account: {error}")))?;
    let there = call.exist(INTERNAL, std::slice::from_ref(&user)).await.map_err(|_| gone())?;
    match there[..] {
        [true] => Ok(user),
        _ => Err(Refusal::new(NOT_IMPORTED, "From_Account is not registered")),
    }
}

/// Carries out a change of the list.
async fn change(call: &Call, user: &UserKey, what: PeopleCall) -> Result<Answer, Refusal> {
    let told = call.admin.conversations_as(user, what).await.ok_or_else(gone)?;
    told.map_err(|Failure { code, info, .. }| {
        // Of the desk, not of this service.
        let code = if (50_000..60_000).contains(&code) { code } else { INTERNAL };
        Refusal::new(code, info)
    })
}

fn target(peer: &Peer) -> Target {
    let target = match peer {
        Peer::User(name) => target::Target::User(name.clone()),
        Peer::Group(id) => target::Target::Group(id.clone()),
    };
    Target { target: Some(target) }
}

fn parts(peer: &Peer) -> (Option<String>, Option<String>) {
    match peer {
        Peer::User(name) => (Some(name.clone()), None),
        Peer::Group(id) => (None, Some(id.clone())),
    }
}

fn gone() -> Refusal {
    Refusal::new(INTERNAL, "the server does not answer, try again")
}
