//! Follows. The contract's documents name two paths for them, `follow/follow_add` and `sns/follow_add`: both are there.

use nearport_chat::directory::people::Follows;
use nearport_chat::people::{Checked, FollowCounts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BAD, INTERNAL, change, read};
use crate::answer::Refusal;
use crate::field::{Field, Object, Text, Texts};
use crate::items::Results;
use crate::service::{FOLLOWS, RELATIONS, Service};
use crate::table::{Call, Command, command};

/// Most in a page.
const PAGE_MAX: u32 = 1000;

pub(super) fn commands() -> Vec<Command> {
    let of = |service: Service| {
        [
            command(service, "follow_add", 200, "Follows users", add),
            command(service, "follow_delete", 200, "Ceases to follow users", delete),
            command(service, "follow_get", 200, "A page of followers, or of those who are followed", get),
            command(service, "follow_check", 200, "Who follows whom", check),
            command(service, "follow_get_info", 200, "Numbers of followers", info),
        ]
    };
    [RELATIONS, FOLLOWS].into_iter().flat_map(of).collect()
}

type Number = Field<u32>;
type Followed = Field<Vec<Object<ToFollow>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
struct ToFollow {
    #[serde(default, rename = "To_Account")]
    to: Text,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Change {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    follow_item: Followed,
    /// The same as plain names.
    #[serde(default, rename = "To_Account")]
    to: Texts,
}

impl Change {
    fn read(self) -> Result<(String, Vec<String>), Refusal> {
        let from = self.from.required("From_Account", BAD)?;
        let users = match self.follow_item.optional("FollowItem", BAD)? {
            Some(items) => {
                let users = items.into_iter().map(|Object(item)| item.to.required("To_Account", BAD));
                users.collect::<Result<_, _>>()?
            }
            None => self.to.required("FollowItem", BAD)?,
        };
        Ok((from, users))
    }
}

async fn add(call: Call, body: Change) -> Result<Results, Refusal> {
    let (from, users) = body.read()?;
    let added = change(&call, &from, move |people, about, effects| {
        people.add_follows(&about.actor, about.user, &users, about.now_ms, effects)
    });
    added.await.map(Results::new)
}

async fn delete(call: Call, body: Change) -> Result<Results, Refusal> {
    let (from, users) = body.read()?;
    let deleted = change(&call, &from, move |people, about, effects| {
        people.delete_follows(&about.actor, about.user, &users, effects)
    });
    deleted.await.map(Results::new)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// 1: followers, 2: those who are followed, 3: both.
    #[serde(default)]
    follow_type: Number,
    #[serde(default)]
    start_cursor: Text,
    #[serde(default)]
    want_num: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Page {
    follow_item: Vec<FollowItem>,
    /// For the next page; empty: this was the last one.
    next_cursor: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FollowItem {
    #[serde(rename = "To_Account")]
    user: String,
    /// Unix seconds.
    follow_time: u64,
}

async fn get(call: Call, body: Get) -> Result<Page, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let which = match body.follow_type.required("FollowType", BAD)? {
        1 => Follows::Followers,
        2 => Follows::Following,
        3 => Follows::Mutual,
        _ => return Err(Refusal::new(BAD, "FollowType is 1, 2 or 3")),
    };
    let after = body.start_cursor.optional("StartCursor", BAD)?.unwrap_or_default();
    let limit = body.want_num.optional("WantNum", BAD)?.unwrap_or_default();
    if limit > PAGE_MAX {
        return Err(Refusal::new(BAD, format!("WantNum is at most {PAGE_MAX}")));
    }
    let page = read(&call, from, move |people, about| {
        people.follows(&about.actor, about.user, which, &after, limit)
    });
    let page = page.await?;
    let one = |(user, follow_time)| FollowItem { user, follow_time };
    Ok(Page { follow_item: page.follows.into_iter().map(one).collect(), next_cursor: page.next })
}

#[derive(Debug, Deserialize, ToSchema)]
struct Named {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default, rename = "To_Account")]
    to: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CheckedAll {
    result_item: Vec<FollowChecked>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FollowChecked {
    #[serde(rename = "To_Account")]
    user: String,
    result_code: u32,
    result_info: String,
    /// 0: none, 1: follows `From_Account`, 2: is followed, 3: both.
    follow_type: u32,
}

async fn check(call: Call, body: Named) -> Result<CheckedAll, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let (users, checked) = read(&call, from, move |people, about| {
        let checked = people.check_follows(&about.actor, about.user, &users)?;
        Ok((users, checked))
    })
    .await?;
    let one = |(user, checked): (String, Checked)| match checked {
        Ok((follows, followed)) => {
            let follow_type = 2 * u32::from(follows) + u32::from(followed);
            FollowChecked { user, result_code: 0, result_info: String::new(), follow_type }
        }
        Err(failure) => FollowChecked {
            user,
            result_code: failure.code,
            result_info: failure.info.into_owned(),
            follow_type: 0,
        },
    };
    let result_item: Vec<_> = users.into_iter().zip(checked).map(one).collect();
    let failed = result_item.iter().filter(|item| item.result_code != 0);
    let failed = failed.map(|item| item.user.clone()).collect();
    Ok(CheckedAll { result_item, failed })
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Infos {
    follow_info: Vec<FollowInfo>,
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct FollowInfo {
    #[serde(rename = "To_Account")]
    user: String,
    result_code: u32,
    result_info: String,
    follower_count: u64,
    following_count: u64,
    mutual_following_count: u64,
}

async fn info(call: Call, body: Named) -> Result<Infos, Refusal> {
    // Who asks is the administrator: it is read, and says nothing.
    body.from.optional("From_Account", BAD)?;
    let users = body.to.required("To_Account", BAD)?;
    let app = call.asker.app;
    let (users, counted) = call
        .blocking(INTERNAL, move |admin| {
            let counted = admin.count_follows(app, &users)?;
            Ok((users, counted))
        })
        .await?;
    let one = |(user, counted)| {
        let (counts, result_code, result_info) = match counted {
            Ok(counts) => (counts, 0, String::new()),
            Err(failure) => {
                let failure: nearport_chat::Failure = failure;
                (FollowCounts::default(), failure.code, failure.info.into_owned())
            }
        };
        FollowInfo {
            user,
            result_code,
            result_info,
            follower_count: counts.followers,
            following_count: counts.following,
            mutual_following_count: counts.mutual,
        }
    };
    let follow_info: Vec<_> = users.into_iter().zip(counted).map(one).collect();
    let failed = follow_info.iter().filter(|item| item.result_code != 0);
    let failed = failed.map(|item| item.user.clone()).collect();
    Ok(Infos { follow_info, failed })
}
