//! Blocklists. `black_list_check` is in [`super::checks`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, change, read};
use crate::answer::Refusal;
use crate::field::{Field, Text, Texts};
use crate::items::Results;
use crate::service::RELATIONS;
use crate::table::{Call, Command, command};

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(RELATIONS, "black_list_add", 200, "Blocks users", add),
        command(RELATIONS, "black_list_delete", 200, "Takes users off a blocklist", delete),
        command(RELATIONS, "black_list_get", 200, "A page of a blocklist", get),
    ]
}

type Number = Field<u32>;
type Sequence = Field<u64>;

#[derive(Debug, Deserialize, ToSchema)]
struct Named {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Texts,
}

async fn add(call: Call, body: Named) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let added = change(&call, &from, move |people, about, effects| {
        people.add_blocks(&about.actor, about.user, &users, about.now_ms, effects)
    });
    // Of two reasons that share the code the contract has words for one.
    let known =
        |user: &str, code| (code == BAD && user != from).then_some("Err_SNS_BlackListAdd_Already_Exist");
    let items = added.await?;
    Ok(Results::explained(items, known))
}

async fn delete(call: Call, body: Named) -> Result<Results, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let deleted = change(&call, &from, move |people, about, effects| {
        people.delete_blocks(&about.actor, about.user, &users, effects)
    });
    deleted.await.map(Results::new)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    start_index: Number,
    #[serde(default)]
    max_limited: Number,
    #[serde(default)]
    last_sequence: Sequence,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Page {
    black_list_item: Vec<BlockListItem>,
    /// Where the next page starts; 0: this was the last one.
    start_index: u32,
    /// The contract's spelling.
    curruent_sequence: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct BlockListItem {
    #[serde(rename = "To_Account")]
    user: String,
    /// Unix seconds.
    add_black_time_stamp: u64,
}

async fn get(call: Call, body: Get) -> Result<Page, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let start = body.start_index.required("StartIndex", BAD)?;
    let limit = body.max_limited.required("MaxLimited", BAD)?;
    // Who has the list of this sequence gets it all the same: that it may be left out is said nowhere.
    body.last_sequence.required("LastSequence", BAD)?;
    let page =
        read(&call, from, move |people, about| people.blocks(&about.actor, about.user, start, limit, 0));
    let page = page.await?;
    let one = |(user, add_black_time_stamp)| BlockListItem { user, add_black_time_stamp };
    Ok(Page {
        black_list_item: page.blocks.into_iter().map(one).collect(),
        start_index: page.next,
        curruent_sequence: page.sequence,
    })
}
