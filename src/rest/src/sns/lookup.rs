//! Friends with their fields: all in pages, or those that are named.

use nearport_chat::people::{FriendInfo, Known};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, read};
use crate::answer::Refusal;
use crate::field::{Field, Text, Texts};
use crate::items::TagValue;
use crate::service::RELATIONS;
use crate::table::{Call, Command, command};

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(RELATIONS, "friend_get", 200, "A page of friends", get),
        command(RELATIONS, "friend_get_list", 200, "Friends by name", get_list),
    ]
}

type Number = Field<u32>;
type Sequence = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    start_index: Number,
    #[serde(default)]
    standard_sequence: Sequence,
    #[serde(default)]
    custom_sequence: Sequence,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Page {
    user_data_item: Vec<UserData>,
    standard_sequence: u64,
    custom_sequence: u64,
    /// Friends in all.
    friend_num: u32,
    /// 1: this was the last page.
    complete_flag: u32,
    /// Where the next page starts; 0 behind the last one.
    next_start_index: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UserData {
    #[serde(rename = "To_Account")]
    user: String,
    value_item: Vec<TagValue>,
}

async fn get(call: Call, body: Get) -> Result<Page, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let start = body.start_index.required("StartIndex", BAD)?;
    let standard = body.standard_sequence.optional("StandardSequence", BAD)?.unwrap_or_default();
    let custom = body.custom_sequence.optional("CustomSequence", BAD)?.unwrap_or_default();
    let page = read(&call, from, move |people, about| {
        people.friends(&about.actor, about.user, start, 0, (standard, custom))
    });
    let page = page.await?;
    let one = |known: Known| UserData { user: known.name.clone(), value_item: values(known) };
    Ok(Page {
        user_data_item: page.friends.into_iter().map(one).collect(),
        standard_sequence: page.head.standard_seq,
        custom_sequence: page.head.custom_seq,
        friend_num: page.head.friends,
        complete_flag: page.complete.into(),
        next_start_index: if page.complete { 0 } else { page.next },
    })
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GetList {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Texts,
    /// Of profiles and of friendships.
    #[serde(default)]
    tag_list: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct List {
    info_item: Vec<FriendItem>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FriendItem {
    #[serde(rename = "To_Account")]
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sns_profile_item: Option<Vec<TagValue>>,
    result_code: u32,
    result_info: String,
}

async fn get_list(call: Call, body: GetList) -> Result<List, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let tags = body.tag_list.required("TagList", BAD)?;
    let (users, infos) = read(&call, from, move |people, about| {
        let infos = people.friend_infos(&about.actor, about.user, &users, &tags)?;
        Ok((users, infos))
    })
    .await?;
    let one = |(user, info): (String, FriendInfo)| match info {
        Ok((known, profile)) => {
            let items = profile.into_iter().map(TagValue::of).chain(values(known)).collect();
            FriendItem { user, sns_profile_item: Some(items), result_code: 0, result_info: String::new() }
        }
        Err(failure) => FriendItem {
            user,
            sns_profile_item: None,
            result_code: failure.code,
            result_info: match failure.code {
                BAD => "Err_SNS_FriendGetList_Friend_Not_Exist".to_owned(),
                _ => failure.info.into_owned(),
            },
        },
    };
    let info_item: Vec<_> = users.into_iter().zip(infos).map(one).collect();
    let failed = info_item.iter().filter(|item| item.result_code != 0);
    let failed = failed.map(|item| item.user.clone()).collect();
    Ok(List { info_item, failed })
}

/// The fields of a friendship that have a value.
fn values(known: Known) -> Vec<TagValue> {
    let Known { name: _, row, groups, custom } = known;
    let mut values = Vec::new();
    if let Some(row) = row {
        if !groups.is_empty() {
            values.push(TagValue::new("Tag_SNS_IM_Group", groups));
        }
        let texts = [
            ("Tag_SNS_IM_Remark", row.remark),
            ("Tag_SNS_IM_AddSource", row.source),
            ("Tag_SNS_IM_AddWording", row.wording),
        ];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        values.extend(texts.map(|(tag, text)| TagValue::new(tag, text)));
        if row.added_s > 0 {
            values.push(TagValue::new("Tag_SNS_IM_AddTime", row.added_s));
        }
    }
    values.extend(custom.into_iter().map(TagValue::of));
    values
}
