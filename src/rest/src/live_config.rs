//! `live_config`: the token that the App's back end is told by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Field, Text};
use crate::service::LIVE_CONFIG;
use crate::table::{Call, Command, command};

const BAD: u32 = 60003;
const INTERNAL: u32 = 60008;

/// Yes or no.
type Switch = Field<bool>;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(LIVE_CONFIG, "set_callback_token", 5, "Sets the token that callbacks are signed with", set),
        command(LIVE_CONFIG, "get_callback_token", 200, "The token that callbacks are signed with", get),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Set {
    /// Empty: there is none any more.
    #[serde(default)]
    token: Text,
    /// Whether callbacks are signed with it.
    #[serde(default)]
    is_token_enable: Switch,
}

async fn set(call: Call, body: Set) -> Result<Empty, Refusal> {
    let token = body.token.required("Token", BAD)?;
    let sign = body.is_token_enable.required("IsTokenEnable", BAD)?;
    if sign && token.is_empty() {
        return Err(Refusal::new(BAD, "Token is empty, nothing can be signed with it"));
    }
    let (asker, peer) = (call.asker.clone(), call.peer);
    let set = move |admin: &nearport_chat::admin::Admin| {
        admin.set_callback_token(&asker, peer, token.clone(), sign)
    };
    call.blocking(INTERNAL, set).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
struct Get {}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Got {
    response: CallbackToken,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CallbackToken {
    /// That of the App; empty: it has none of its own.
    token: String,
}

async fn get(call: Call, _body: Get) -> Result<Got, Refusal> {
    let app = call.asker.app;
    let token = call.blocking(INTERNAL, move |admin| admin.callback_token(app)).await?;
    Ok(Got { response: CallbackToken { token } })
}
