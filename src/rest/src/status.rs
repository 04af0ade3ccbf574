//! Who is online: `openim/query_online_status`, and `querystate`, its name of old.

use std::collections::BTreeMap;

use nearport_wire::body::{Platform, Presence, UserStatus};
use nearport_wire::code::ACCOUNT_NOT_FOUND;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Refusal;
use crate::field::{Field, Texts};
use crate::service::MESSAGES;
use crate::table::{Call, Command, command};

/// Accounts in one call.
const ACCOUNTS_MAX: usize = 500;
const BAD: u32 = 90001;
const BAD_ACCOUNT: u32 = 90003;
const TOO_MANY: u32 = 90011;
const INTERNAL: u32 = 91000;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(MESSAGES, "query_online_status", 200, "Who is online", query),
        command(MESSAGES, "querystate", 200, "The same, by its name of old", query_state),
    ]
}

type Number = Field<u32>;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Query {
    #[serde(default, rename = "To_Account")]
    to: Texts,
    /// 1: with platforms.
    #[serde(default)]
    is_need_detail: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Queried {
    query_result: Vec<QueryResult>,
    error_list: Vec<QueryError>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct QueryResult {
    #[serde(rename = "To_Account")]
    user: String,
    /// `Online`, `PushOnline` or `Offline`.
    status: &'static str,
    /// The same: clients in the field read either, whichever command they call.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Vec<PlatformDetail>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct PlatformDetail {
    platform: &'static str,
    status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct QueryError {
    #[serde(rename = "To_Account")]
    user: String,
    error_code: u32,
}

async fn query(call: Call, body: Query) -> Result<Queried, Refusal> {
    let detailed = match body.is_need_detail.optional("IsNeedDetail", BAD)? {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(Refusal::new(BAD, "IsNeedDetail is 0 or 1")),
    };
    statuses(call, body.to, detailed).await
}

async fn query_state(call: Call, body: Query) -> Result<Queried, Refusal> {
    statuses(call, body.to, false).await
}

async fn statuses(call: Call, users: Texts, detailed: bool) -> Result<Queried, Refusal> {
    let users = users.required("To_Account", BAD_ACCOUNT)?;
    match users.len() {
        0 => {
            return Err(Refusal::new(
                BAD,
                "Fail to Parse json data of body, Please check it: To_Account is empty",
            ));
        }
        1..=ACCOUNTS_MAX => {}
        _ => return Err(Refusal::new(TOO_MANY, format!("at most {ACCOUNTS_MAX} accounts in one call"))),
    }
    let app = call.asker.app;
    let found = call.blocking(INTERNAL, move |admin| admin.statuses(app, &users)).await;
    // The numbers of the store's failures are those of profiles.
    let found = found.map_err(|refusal| Refusal { code: INTERNAL, ..refusal })?;
    let (known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|status| status.code == 0);
    if known.is_empty() {
        return Err(Refusal::new(ACCOUNT_NOT_FOUND, "none of the accounts exists"));
    }
    let error = |status: UserStatus| QueryError { user: status.user, error_code: status.code };
    Ok(Queried {
        query_result: known.into_iter().map(|status| result(status, detailed)).collect(),
        error_list: unknown.into_iter().map(error).collect(),
    })
}

fn result(status: UserStatus, detailed: bool) -> QueryResult {
    let presence = status.presence();
    let detail = (detailed && presence != Presence::Offline).then(|| details(&status));
    let word = word(presence);
    QueryResult { user: status.user, status: word, state: word, detail }
}

/// A line for each platform that the contract knows; the better one where ours share one of its names.
fn details(status: &UserStatus) -> Vec<PlatformDetail> {
    let mut platforms: BTreeMap<&str, Presence> = BTreeMap::new();
    for at in &status.platforms {
        let name = match at.platform() {
            Platform::Android => "Android",
            Platform::Iphone => "iPhone",
            Platform::Ipad => "iPad",
            Platform::Mac => "Mac",
            Platform::Web => "Web",
            Platform::Windows | Platform::Linux | Platform::Other => "PC",
        };
        let presence = at.presence();
        let known = platforms.entry(name).or_insert(presence);
        if presence == Presence::Online {
            *known = presence;
        }
    }
    let detail = |(platform, presence)| PlatformDetail { platform, status: word(presence) };
    platforms.into_iter().map(detail).collect()
}

fn word(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "Online",
        Presence::PushOnline => "PushOnline",
        Presence::Offline => "Offline",
    }
}

#[cfg(test)]
mod tests {
    use nearport_wire::body::PlatformStatus;

    use super::*;

    #[test]
    fn platforms_go_by_the_contracts_names() {
        let at = |platform: Platform, presence: Presence| PlatformStatus {
            platform: platform.into(),
            presence: presence.into(),
        };
        let status = UserStatus {
            user: "u".to_owned(),
            presence: Presence::Online.into(),
            platforms: vec![
                at(Platform::Windows, Presence::Online),
                at(Platform::Linux, Presence::Online),
                at(Platform::Iphone, Presence::PushOnline),
            ],
            ..UserStatus::default()
        };
        let shown: Vec<_> = details(&status).into_iter().map(|at| (at.platform, at.status)).collect();
        assert_eq!(shown, [("PC", "Online"), ("iPhone", "PushOnline")]);
        let offline = UserStatus { presence: Presence::Offline.into(), ..status };
        assert!(result(offline, true).detail.is_none());
    }
}
