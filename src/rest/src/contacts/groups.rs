//! Conversation groups.

use nearport_wire::body::people_call::Call as PeopleCall;
use nearport_wire::body::{
    ConversationGroupCreate, ConversationGroupDelete, ConversationGroupMembers, ConversationGroupRename,
    Target,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, Contact, ContactGroupItem, ContactOut, Whole, change, group_item, owner, target};
use crate::answer::Refusal;
use crate::field::{Field, Object, Text, Texts};
use crate::table::Call;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// One.
    #[serde(default)]
    group_contact_item: NewContactGroups,
}

type NewContactGroups = Field<Vec<Object<NewContactGroup>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct NewContactGroup {
    #[serde(default)]
    group_name: Text,
    #[serde(default)]
    contact_item: Contacts,
}

type Contacts = Field<Vec<Object<Contact>>>;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    group_result_item: Vec<CreatedGroup>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CreatedGroup {
    group_item: ContactGroupItem,
    result_item: Vec<GroupedContact>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GroupedContact {
    contact_item: ContactOut,
    result_code: u32,
    result_info: String,
}

pub(super) async fn create(call: Call, body: Create) -> Result<Created, Refusal> {
    let user = owner(&call, body.from).await?;
    let one = one(body.group_contact_item.required("GroupContactItem", BAD)?, "GroupContactItem")?;
    let name = one.0.group_name.required("GroupName", BAD)?;
    let contacts = one.0.contact_item.optional("ContactItem", BAD)?.unwrap_or_default();
    let (mut with, mut result_item) = (Vec::new(), Vec::with_capacity(contacts.len()));
    for Object(contact) in contacts {
        let contact_item = contact.echo();
        let (result_code, result_info) =
            sorted(contact.peer(call.asker.app).map(|peer| target(&peer)), &mut with);
        result_item.push(GroupedContact { contact_item, result_code, result_info });
    }
    let group_item = group_item(&name);
    change(&call, &user, PeopleCall::ConversationGroupCreate(ConversationGroupCreate { name, with })).await?;
    Ok(Created { group_result_item: vec![CreatedGroup { group_item, result_item }] })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Update {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// 1.
    #[serde(default)]
    update_type: Whole,
    #[serde(default)]
    update_group: UpdateOf,
}

type UpdateOf = Field<Object<UpdateContactGroup>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UpdateContactGroup {
    /// 1: its name; 2: its conversations.
    #[serde(default)]
    update_group_type: Whole,
    #[serde(default)]
    old_group_name: Text,
    #[serde(default)]
    new_group_name: Text,
    #[serde(default)]
    contact_update_item: ContactUpdates,
}

type ContactUpdates = Field<Vec<Object<ContactUpdate>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ContactUpdate {
    /// 1: into it; 2: out of it.
    #[serde(default)]
    contact_opt_type: Whole,
    #[serde(default)]
    contact_item: OneContact,
}

type OneContact = Field<Object<Contact>>;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Updated {
    update_type: u32,
    update_group_result: UpdatedGroup,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UpdatedGroup {
    update_group_type: u32,
    group_name: String,
    group_id: u32,
    old_group_name: String,
    contact_result_item: Vec<MovedContact>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct MovedContact {
    contact_opt_type: u32,
    contact_item: ContactOut,
    result_code: u32,
    result_info: String,
}

pub(super) async fn update(call: Call, body: Update) -> Result<Updated, Refusal> {
    let user = owner(&call, body.from).await?;
    if body.update_type.required("UpdateType", BAD)? != 1 {
        return Err(Refusal::new(BAD, "UpdateType is 1"));
    }
    let Object(update) = body.update_group.required("UpdateGroup", BAD)?;
    let old = update.old_group_name.required("OldGroupName", BAD)?;
    let kind = update.update_group_type.required("UpdateGroupType", BAD)?;
    let mut moved = Vec::new();
    let (name, what) = match kind {
        1 => {
            let new_name = update.new_group_name.required("NewGroupName", BAD)?;
            let rename = ConversationGroupRename { name: old.clone(), new_name: new_name.clone() };
            (new_name, Some(PeopleCall::ConversationGroupRename(rename)))
        }
        2 => {
            let (mut add, mut remove) = (Vec::new(), Vec::new());
            for Object(item) in update.contact_update_item.required("ContactUpdateItem", BAD)? {
                let Object(contact) = item.contact_item.required("ContactItem", BAD)?;
                let contact_opt_type = item.contact_opt_type.required("ContactOptType", BAD)?;
                let contact_item = contact.echo();
                let peer = contact.peer(call.asker.app).map(|peer| target(&peer));
                let (result_code, result_info) = match contact_opt_type {
                    1 => sorted(peer, &mut add),
                    2 => sorted(peer, &mut remove),
                    _ => return Err(Refusal::new(BAD, "ContactOptType is 1 or 2")),
                };
                moved.push(MovedContact { contact_opt_type, contact_item, result_code, result_info });
            }
            let any = !(add.is_empty() && remove.is_empty());
            let members = ConversationGroupMembers { name: old.clone(), add, remove };
            (old.clone(), any.then_some(PeopleCall::ConversationGroupMembers(members)))
        }
        _ => return Err(Refusal::new(BAD, "UpdateGroupType is 1 or 2")),
    };
    if let Some(what) = what {
        change(&call, &user, what).await?;
    }
    let ContactGroupItem { group_name, group_id } = group_item(&name);
    let update_group_result = UpdatedGroup {
        update_group_type: kind,
        group_name,
        group_id,
        old_group_name: old,
        contact_result_item: moved,
    };
    Ok(Updated { update_type: 1, update_group_result })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Delete {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// One.
    #[serde(default)]
    group_name: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeletedGroups {
    group_item: Vec<ContactGroupItem>,
}

pub(super) async fn delete(call: Call, body: Delete) -> Result<DeletedGroups, Refusal> {
    let user = owner(&call, body.from).await?;
    let name = one(body.group_name.required("GroupName", BAD)?, "GroupName")?;
    let group_item = vec![group_item(&name)];
    change(&call, &user, PeopleCall::ConversationGroupDelete(ConversationGroupDelete { name })).await?;
    Ok(DeletedGroups { group_item })
}

/// Adds what can be carried out, and says of what cannot why.
fn sorted(peer: Result<Target, Refusal>, to: &mut Vec<Target>) -> (u32, String) {
    match peer {
        Ok(target) => {
            to.push(target);
            (0, String::new())
        }
        Err(Refusal { code, info, .. }) => (code, info),
    }
}

fn one<T>(values: Vec<T>, name: &str) -> Result<T, Refusal> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(Refusal::new(BAD, format!("{name} has one item"))),
    }
}
