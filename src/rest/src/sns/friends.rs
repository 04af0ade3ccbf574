//! Adding, importing, changing and deleting friends.

use nearport_chat::directory::people::FriendRow;
use nearport_chat::people::{AddFriend, AddFriends, ImportFriend, UpdateFriend};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{BAD, change, choice};
use crate::answer::{Empty, Refusal};
use crate::field::{Field, Lenient as _, Object, Text, Texts};
use crate::items::{Names, OneOrMore, Results, TagsToSet, field_value};
use crate::service::RELATIONS;
use crate::table::{Call, Command, command};

/// The tag that holds the groups of a friend: the one whose value is a list.
const GROUP: &str = "Tag_SNS_IM_Group";

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(RELATIONS, "friend_add", 200, "Adds friends, or asks them", add),
        command(RELATIONS, "friend_import", 200, "Brings friends from elsewhere, one way", import),
        command(
            RELATIONS,
            "friend_update",
            200,
            "Changes remarks, groups and custom fields of friends",
            update,
        ),
        command(RELATIONS, "friend_delete", 200, "Deletes friends", delete),
        command(RELATIONS, "friend_delete_all", 200, "Deletes all friends", delete_all),
    ]
}

type Number = Field<u32>;
type AddItems = Field<Vec<Object<AddItem>>>;
type ImportItems = Field<Vec<Object<ImportItem>>>;
type UpdateItems = Field<Vec<Object<UpdateItem>>>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Add {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    add_friend_item: AddItems,
    /// `Add_Type_Both` or `Add_Type_Single`.
    #[serde(default)]
    add_type: Text,
    /// 1: nobody is asked.
    #[serde(default)]
    force_add_flags: Number,
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct AddItem {
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    add_source: Text,
    #[serde(default)]
    remark: Text,
    /// One group.
    #[serde(default)]
    group_name: Names,
    #[serde(default)]
    add_wording: Text,
}

async fn add(call: Call, body: Add) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let item = |Object(item): Object<AddItem>| {
        let OneOrMore(groups) = item.group_name.optional("GroupName", BAD)?.unwrap_or(OneOrMore(Vec::new()));
        if groups.len() > 1 {
            return Err(Refusal::new(BAD, "GroupName is one group here"));
        }
        Ok(AddFriend {
            user: item.to.required("To_Account", BAD)?,
            source: item.add_source.required("AddSource", BAD)?,
            wording: item.add_wording.optional("AddWording", BAD)?.unwrap_or_default(),
            remark: item.remark.optional("Remark", BAD)?.unwrap_or_default(),
            group: groups.into_iter().next().unwrap_or_default(),
        })
    };
    let items = body.add_friend_item.required("AddFriendItem", BAD)?;
    let items = items.into_iter().map(item).collect::<Result<_, _>>()?;
    let types = [("Add_Type_Both", false), ("Add_Type_Single", true)];
    let single = choice(body.add_type, "AddType", Some(false), &types)?;
    let force = match body.force_add_flags.optional("ForceAddFlags", BAD)? {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(Refusal::new(BAD, "ForceAddFlags is 0 or 1")),
    };
    let friends = AddFriends { items, single, force };
    let added = change(&call, &from, move |people, about, effects| {
        people.add_friends(&about.actor, about.user, &friends, about.now_ms, effects)
    });
    added.await.map(Results::new)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Import {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    add_friend_item: ImportItems,
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImportItem {
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    add_source: Text,
    #[serde(default)]
    remark: Text,
    /// Unix seconds.
    #[serde(default)]
    remark_time: Number,
    #[serde(default)]
    group_name: Names,
    #[serde(default)]
    add_wording: Text,
    /// Unix seconds.
    #[serde(default)]
    add_time: Number,
    #[serde(default)]
    custom_item: TagsToSet,
}

impl ImportItem {
    pub(crate) fn read(self) -> Result<ImportFriend, Refusal> {
        let mut custom = Vec::new();
        for field in self.custom_item.optional("CustomItem", BAD)?.unwrap_or_default() {
            let (tag, value) = field.0.read(BAD)?;
            let value = field_value(&tag, value, BAD)?;
            custom.push((tag, value));
        }
        Ok(ImportFriend {
            user: self.to.required("To_Account", BAD)?,
            row: FriendRow {
                added_s: self.add_time.optional("AddTime", BAD)?.unwrap_or_default().into(),
                source: self.add_source.required("AddSource", BAD)?,
                wording: self.add_wording.optional("AddWording", BAD)?.unwrap_or_default(),
                remark: self.remark.optional("Remark", BAD)?.unwrap_or_default(),
                remark_s: self.remark_time.optional("RemarkTime", BAD)?.unwrap_or_default().into(),
            },
            groups: self
                .group_name
                .optional("GroupName", BAD)?
                .map_or_else(Vec::new, |OneOrMore(groups)| groups),
            custom,
        })
    }
}

async fn import(call: Call, body: Import) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let items = body.add_friend_item.required("AddFriendItem", BAD)?;
    let mut friends =
        items.into_iter().map(|Object(item)| item.read()).collect::<Result<Vec<_>, Refusal>>()?;
    let imported = change(&call, &from, move |people, about, effects| {
        for friend in &mut friends {
            friend.custom = people.declared(about.user.app(), std::mem::take(&mut friend.custom));
        }
        people.import_friends(&about.actor, about.user, &friends, about.now_ms, effects)
    });
    let full =
        |_: &str, code| (code == 30010).then_some("Err_SNS_FriendImport_My_Friend_Num_Exceed_Threshold");
    imported.await.map(|items| Results::explained(items, full))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Update {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    update_item: UpdateItems,
}

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UpdateItem {
    #[serde(default, rename = "To_Account")]
    to: Text,
    #[serde(default)]
    sns_item: TagsToSet,
}

async fn update(call: Call, body: Update) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let item = |Object(item): Object<UpdateItem>| {
        let (mut fields, mut groups) = (Vec::new(), None);
        for field in item.sns_item.required("SnsItem", BAD)? {
            let (tag, value) = field.0.read(BAD)?;
            if tag == GROUP {
                groups = Some(names(value)?);
            } else {
                let value = field_value(&tag, value, BAD)?;
                fields.push((tag, value));
            }
        }
        Ok(UpdateFriend { user: item.to.required("To_Account", BAD)?, fields, groups })
    };
    let items = body.update_item.required("UpdateItem", BAD)?;
    let mut updates = items.into_iter().map(item).collect::<Result<Vec<_>, Refusal>>()?;
    let updated = change(&call, &from, move |people, about, effects| {
        for update in &mut updates {
            update.fields = people.declared(about.user.app(), std::mem::take(&mut update.fields));
        }
        people.update_friends(&about.actor, about.user, &updates, about.now_ms, effects)
    });
    let full = |_: &str, code| (code == 30011).then_some("Err_SNS_FriendUpdate_Group_Num_Exceed_Threshold");
    updated.await.map(|items| Results::explained(items, full))
}

fn names(value: Value) -> Result<Vec<String>, Refusal> {
    match OneOrMore::read(value) {
        Some(OneOrMore(names)) => Ok(names),
        None => Err(Refusal::new(BAD, format!("Value of {GROUP} is a list of names"))),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Texts,
    /// `Delete_Type_Single` or `Delete_Type_Both`.
    #[serde(default)]
    delete_type: Text,
}

const DELETE_TYPES: [(&str, bool); 2] = [("Delete_Type_Single", false), ("Delete_Type_Both", true)];

async fn delete(call: Call, body: Delete) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let both = choice(body.delete_type, "DeleteType", Some(false), &DELETE_TYPES)?;
    let deleted = change(&call, &from, move |people, about, effects| {
        people.delete_friends(&about.actor, about.user, &users, both, effects)
    });
    deleted.await.map(Results::new)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct DeleteAll {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// `Delete_Type_Single` or `Delete_Type_Both`.
    #[serde(default)]
    delete_type: Text,
}

async fn delete_all(call: Call, body: DeleteAll) -> Result<Empty, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let both = choice(body.delete_type, "DeleteType", Some(false), &DELETE_TYPES)?;
    let deleted = change(&call, &from, move |people, about, effects| {
        people.delete_all_friends(&about.actor, about.user, both, effects)
    });
    deleted.await?;
    Ok(Empty {})
}
