//! Who is whose friend, and who is in whose blocklist.

use nearport_chat::people::Checked;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, choice, read};
use crate::answer::Refusal;
use crate::field::{Text, Texts};
use crate::service::RELATIONS;
use crate::table::{Call, Command, command};

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(RELATIONS, "friend_check", 200, "Who is whose friend", check_friends),
        command(RELATIONS, "black_list_check", 200, "Who is in whose blocklist", check_blocks),
    ]
}

/// Words of a list.
struct Words {
    both_ways: &'static str,
    /// The other one is in the list of who asks.
    forth: &'static str,
    /// Who asks is in the list of the other one.
    back: &'static str,
    none: &'static str,
    /// Whether both lists are looked at.
    types: [(&'static str, bool); 3],
}

const FRIENDS: Words = Words {
    both_ways: "CheckResult_Type_BothWay",
    forth: "CheckResult_Type_AWithB",
    back: "CheckResult_Type_BWithA",
    none: "CheckResult_Type_NoRelation",
    // The third is a spelling of old documents that clients have taken over.
    types: [
        ("CheckResult_Type_Single", false),
        ("CheckResult_Type_Both", true),
        ("CheckResult_Type_Singal", false),
    ],
};

const BLOCKS: Words = Words {
    both_ways: "BlackCheckResult_Type_BothWay",
    forth: "BlackCheckResult_Type_AWithB",
    back: "BlackCheckResult_Type_BWithA",
    none: "BlackCheckResult_Type_NO",
    types: [
        ("BlackCheckResult_Type_Single", false),
        ("BlackCheckResult_Type_Both", true),
        ("BlackCheckResult_Type_Singal", false),
    ],
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Texts,
    #[serde(default)]
    check_type: Text,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct RelationItem {
    #[serde(rename = "To_Account")]
    user: String,
    relation: &'static str,
    result_code: u32,
    result_info: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CheckedFriends {
    info_item: Vec<RelationItem>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CheckedBlocks {
    black_list_check_item: Vec<RelationItem>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

async fn check_friends(call: Call, body: Check) -> Result<CheckedFriends, Refusal> {
    let (from, users, both) = asked(body, &FRIENDS)?;
    let (users, checked) = read(&call, from, move |people, about| {
        let checked = people.check_friends(&about.actor, about.user, &users, both)?;
        Ok((users, checked))
    })
    .await?;
    let (info_item, failed) = relations(users, checked, &FRIENDS);
    Ok(CheckedFriends { info_item, failed })
}

async fn check_blocks(call: Call, body: Check) -> Result<CheckedBlocks, Refusal> {
    let (from, users, both) = asked(body, &BLOCKS)?;
    let (users, checked) = read(&call, from, move |people, about| {
        let checked = people.check_blocks(&about.actor, about.user, &users, both)?;
        Ok((users, checked))
    })
    .await?;
    let (black_list_check_item, failed) = relations(users, checked, &BLOCKS);
    Ok(CheckedBlocks { black_list_check_item, failed })
}

fn asked(body: Check, words: &Words) -> Result<(String, Vec<String>, bool), Refusal> {
    Ok((
        body.from.required("From_Account", BAD)?,
        body.to.required("To_Account", BAD)?,
        choice(body.check_type, "CheckType", None, &words.types)?,
    ))
}

/// The items, and those that failed.
fn relations(users: Vec<String>, checked: Vec<Checked>, words: &Words) -> (Vec<RelationItem>, Vec<String>) {
    let one = |(user, checked): (String, Checked)| {
        let (relation, result_code, result_info) = match checked {
            Ok((true, true)) => (words.both_ways, 0, String::new()),
            Ok((true, false)) => (words.forth, 0, String::new()),
            Ok((false, true)) => (words.back, 0, String::new()),
            Ok((false, false)) => (words.none, 0, String::new()),
            Err(failure) => (words.none, failure.code, failure.info.into_owned()),
        };
        RelationItem { user, relation, result_code, result_info }
    };
    let items: Vec<_> = users.into_iter().zip(checked).map(one).collect();
    let failed = items.iter().filter(|item| item.result_code != 0).map(|item| item.user.clone()).collect();
    (items, failed)
}
