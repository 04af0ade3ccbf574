//! Marks of conversations.

use nearport_chat::admin::ContactMark;
use nearport_chat::directory::conversations::{ConversationRow, Peer};
use nearport_chat::people::conversations::Settings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    BAD, Contact, ContactGroupItem, ContactOut, INTERNAL, Whole, gone, group_id, group_item, owner, parts,
};
use crate::answer::Refusal;
use crate::field::{Field, Object, Text};
use crate::table::Call;

/// Conversations in one change.
const MARKED_MAX: usize = 100;
/// Conversations in one question.
const ASKED_MAX: usize = 300;
/// Conversations of a page.
const PAGE: usize = 100;

/// "Conversations in the change: none, or more than 100."
const COUNT: u32 = 51006;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Mark {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// At most 100.
    #[serde(default)]
    mark_item: MarkItems,
}

type MarkItems = Field<Vec<Object<ContactMarkItem>>>;
type OneContact = Field<Object<Contact>>;
type Contacts = Field<Vec<Object<Contact>>>;
type Bits = Field<Vec<u32>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ContactMarkItem {
    /// 1: standard marks; 2: the custom one; 3: both.
    #[serde(default)]
    opt_type: Whole,
    #[serde(default)]
    contact_item: OneContact,
    /// Numbers of bits.
    #[serde(default)]
    clear_mark: Bits,
    #[serde(default)]
    set_mark: Bits,
    /// At most 256 bytes.
    #[serde(default)]
    custom_mark: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Marked {
    result_item: Vec<MarkOutcome>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkOutcome {
    opt_type: u32,
    contact_item: ContactOut,
    result_code: u32,
    result_info: String,
}

pub(super) async fn mark(call: Call, body: Mark) -> Result<Marked, Refusal> {
    let user = owner(&call, body.from).await?;
    let items = body.mark_item.required("MarkItem", BAD)?;
    if items.is_empty() || items.len() > MARKED_MAX {
        return Err(Refusal::new(COUNT, "MarkItem has 1 to 100 items"));
    }
    let (mut result_item, mut marks) = (Vec::with_capacity(items.len()), Vec::new());
    for Object(item) in items {
        let opt_type = item.opt_type.clone().required("OptType", BAD)?;
        let Object(contact) = item.contact_item.clone().required("ContactItem", BAD)?;
        let contact_item = contact.echo();
        let read = contact.peer(call.asker.app).and_then(|peer| read(item, opt_type, peer));
        let (result_code, result_info) = match read {
            Ok(mark) => {
                marks.push(mark);
                (0, String::new())
            }
            Err(Refusal { code, info, .. }) => (code, info),
        };
        result_item.push(MarkOutcome { opt_type, contact_item, result_code, result_info });
    }
    if !marks.is_empty() {
        call.admin.mark_conversations(&user, marks).await.ok_or_else(gone)??;
    }
    Ok(Marked { result_item })
}

fn read(item: ContactMarkItem, opt_type: u32, with: Peer) -> Result<ContactMark, Refusal> {
    if !(1..=3).contains(&opt_type) {
        return Err(Refusal::new(BAD, "OptType is 1, 2 or 3"));
    }
    let bits = |field: Bits, name: &str| {
        field.optional(name, BAD)?.unwrap_or_default().into_iter().try_fold(0_u64, |marks, bit| match bit {
            0..=62 => Ok(marks | 1 << bit),
            _ => Err(Refusal::new(BAD, format!("{name}: bits are 0 to 62"))),
        })
    };
    let (set, clear) = (bits(item.set_mark, "SetMark")?, bits(item.clear_mark, "ClearMark")?);
    let custom = item.custom_mark.optional("CustomMark", BAD)?;
    let standard = opt_type & 1 != 0;
    Ok(ContactMark {
        with,
        set: if standard { set } else { 0 },
        clear: if standard { clear } else { 0 },
        custom: if opt_type & 2 != 0 { Some(custom.unwrap_or_default()) } else { None },
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Search {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// At most 300.
    #[serde(default)]
    contact_item: Contacts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Found {
    contact_result_item: Vec<MarkedContact>,
    group_item: Vec<ContactGroupItem>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MarkedContact {
    r#type: u32,
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_group_id: Option<String>,
    /// 64 bits, the highest first.
    standard_mark: String,
    custom_mark: String,
    contact_group_id: Vec<u32>,
    timestamp: u64,
}

pub(super) async fn search(call: Call, body: Search) -> Result<Found, Refusal> {
    let user = owner(&call, body.from).await?;
    let contacts = body.contact_item.required("ContactItem", BAD)?;
    if contacts.is_empty() || contacts.len() > ASKED_MAX {
        return Err(Refusal::new(BAD, "ContactItem has 1 to 300 items"));
    }
    let app = call.asker.app;
    let peers: Vec<Peer> = contacts.into_iter().map(|Object(one)| one.peer(app)).collect::<Result<_, _>>()?;
    let settings = call.blocking(INTERNAL, move |admin| admin.conversation_settings(&user)).await?;
    Ok(Found {
        contact_result_item: peers.iter().map(|peer| contact(&settings, peer)).collect(),
        group_item: settings.groups.iter().map(|name| group_item(name)).collect(),
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct All {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// 0 first.
    #[serde(default)]
    start_index: Whole,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    contact_item: Vec<MarkedContact>,
    group_item: Vec<ContactGroupItem>,
    /// 1: there are no more.
    complete_flag: u32,
    next_start_index: usize,
}

pub(super) async fn all(call: Call, body: All) -> Result<Page, Refusal> {
    let user = owner(&call, body.from).await?;
    let start = body.start_index.required("StartIndex", BAD)? as usize;
    let settings = call.blocking(INTERNAL, move |admin| admin.conversation_settings(&user)).await?;
    let marked = |row: &ConversationRow| row.marks != 0 || !row.custom_mark.is_empty();
    let peers = settings.rows.iter().filter(|(_, row)| marked(row)).map(|(peer, _)| peer);
    let peers: std::collections::BTreeSet<&Peer> = peers.chain(settings.members.keys()).collect();
    let count = peers.len();
    let page: Vec<_> =
        peers.into_iter().skip(start).take(PAGE).map(|peer| contact(&settings, peer)).collect();
    let next_start_index = start.saturating_add(page.len());
    Ok(Page {
        complete_flag: (next_start_index >= count).into(),
        next_start_index,
        contact_item: page,
        group_item: settings.groups.iter().map(|name| group_item(name)).collect(),
    })
}

fn contact(settings: &Settings, peer: &Peer) -> MarkedContact {
    let row = settings.rows.get(peer).cloned().unwrap_or_default();
    let (to, to_group_id) = parts(peer);
    let groups = settings.members.get(peer);
    MarkedContact {
        r#type: peer.kind().into(),
        to,
        to_group_id,
        standard_mark: format!("{:064b}", row.marks),
        custom_mark: row.custom_mark,
        contact_group_id: groups.into_iter().flatten().map(|name| group_id(name)).collect(),
        timestamp: 0,
    }
}
