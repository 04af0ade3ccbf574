//! Friend groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, change, choice, read};
use crate::answer::Refusal;
use crate::field::{Field, Text, Texts};
use crate::items::{Names, OneOrMore, ResultItem, Results};
use crate::service::RELATIONS;
use crate::table::{Call, Command, command};

/// Who is to be put into a group is not a friend.
const NOT_A_FRIEND: u32 = 32216;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(RELATIONS, "group_add", 200, "Makes friend groups", add),
        command(RELATIONS, "group_delete", 200, "Takes friend groups away", delete),
        command(RELATIONS, "group_get", 200, "Friend groups", get),
    ]
}

type Sequence = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Add {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    group_name: Names,
    /// Friends for each of the groups.
    #[serde(default, rename = "To_Account")]
    to: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Added {
    /// With `To_Account` in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_item: Option<Vec<ResultItem>>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
    current_sequence: u64,
}

async fn add(call: Call, body: Add) -> Result<Added, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let OneOrMore(names) = body.group_name.required("GroupName", BAD)?;
    let users = body.to.optional("To_Account", BAD)?;
    let with_users = users.is_some();
    let added = change(&call, &from, move |people, about, effects| {
        let users = users.unwrap_or_default();
        people.add_friend_groups(&about.actor, about.user, &names, &users, effects)
    });
    let items = added.await?;
    let current_sequence = items.head.groups_seq;
    let stranger = |_: &str, code| (code == NOT_A_FRIEND).then_some("Err_SNS_GroupAdd_ToTinyId_Not_Friend");
    let Results { result_item, failed } = Results::explained(items, stranger);
    Ok(Added { result_item: with_users.then_some(result_item), failed, current_sequence })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    group_name: Names,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    current_sequence: u64,
}

async fn delete(call: Call, body: Delete) -> Result<Deleted, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let OneOrMore(names) = body.group_name.required("GroupName", BAD)?;
    let deleted = change(&call, &from, move |people, about, effects| {
        people.delete_friend_groups(&about.actor, about.user, &names, effects)
    });
    let items = deleted.await?;
    Ok(Deleted { current_sequence: items.head.groups_seq })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// Without `GroupName`: if nothing has changed since this sequence, no group is said.
    #[serde(default)]
    last_sequence: Sequence,
    /// `Need_Friend_Type_Yes`: with the names of friends.
    #[serde(default)]
    need_friend: Text,
    #[serde(default)]
    group_name: Names,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Groups {
    result_item: Vec<FriendGroup>,
    current_sequence: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FriendGroup {
    group_name: String,
    friend_number: usize,
    /// If they were asked for.
    #[serde(rename = "To_Account", skip_serializing_if = "Option::is_none")]
    users: Option<Vec<String>>,
}

async fn get(call: Call, body: Get) -> Result<Groups, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let known = body.last_sequence.optional("LastSequence", BAD)?.unwrap_or_default();
    let types = [("Need_Friend_Type_No", false), ("Need_Friend_Type_Yes", true)];
    let members = choice(body.need_friend, "NeedFriend", Some(false), &types)?;
    let names = body.group_name.optional("GroupName", BAD)?.map_or_else(Vec::new, |OneOrMore(names)| names);
    let found = read(&call, from, move |people, about| {
        people.friend_groups(&about.actor, about.user, &names, members, known)
    });
    let found = found.await?;
    let one = |(group_name, friend_number, users)| FriendGroup {
        group_name,
        friend_number,
        users: members.then_some(users),
    };
    Ok(Groups { result_item: found.groups.into_iter().map(one).collect(), current_sequence: found.sequence })
}
