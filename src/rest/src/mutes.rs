//! `openconfigsvr`: who may not speak in the whole App.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Field, Text};
use crate::service::MUTES;
use crate::table::{Call, Command, command};

const READ_MISSING: u32 = 130002;
const READ_BAD: u32 = 130003;
const SET_MISSING: u32 = 130004;
const SET_BAD: u32 = 130005;
const TIMES_MISSING: u32 = 130008;
const INTERNAL: u32 = 130014;

/// Seconds.
type Seconds = Field<u32>;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(MUTES, "setnospeaking", 200, "Keeps a user from sending", set),
        command(MUTES, "getnospeaking", 200, "How long a user is kept from sending", get),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
struct Set {
    #[serde(default, rename = "Set_Account")]
    user: Text,
    #[serde(default, rename = "C2CmsgNospeakingTime")]
    users_s: Seconds,
    #[serde(default, rename = "GroupmsgNospeakingTime")]
    groups_s: Seconds,
}

async fn set(call: Call, body: Set) -> Result<Empty, Refusal> {
    let user = named(body.user, "Set_Account", SET_MISSING, SET_BAD)?;
    let users_s = body.users_s.optional("C2CmsgNospeakingTime", TIMES_MISSING)?;
    let groups_s = body.groups_s.optional("GroupmsgNospeakingTime", TIMES_MISSING)?;
    if users_s.is_none() && groups_s.is_none() {
        return Err(Refusal::new(
            TIMES_MISSING,
            "C2CmsgNospeakingTime and GroupmsgNospeakingTime are missing",
        ));
    }
    let app = call.asker.app;
    call.blocking(INTERNAL, move |admin| admin.set_mutes(app, &user, users_s, groups_s, SET_BAD)).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
struct Get {
    #[serde(default, rename = "Get_Account")]
    user: Text,
}

/// Seconds that are left; 4294967295: for ever.
#[derive(Debug, Serialize, ToSchema)]
struct Got {
    #[serde(rename = "C2CmsgNospeakingTime")]
    users_s: u32,
    #[serde(rename = "GroupmsgNospeakingTime")]
    groups_s: u32,
}

async fn get(call: Call, body: Get) -> Result<Got, Refusal> {
    let user = named(body.user, "Get_Account", READ_MISSING, READ_BAD)?;
    let app = call.asker.app;
    let (users_s, groups_s) = call.blocking(INTERNAL, move |admin| admin.mutes(app, &user, READ_BAD)).await?;
    Ok(Got { users_s, groups_s })
}

/// A name that may be missing, or of another type: two codes.
fn named(field: Text, name: &str, missing: u32, bad: u32) -> Result<String, Refusal> {
    field.optional(name, bad)?.ok_or_else(|| Refusal::new(missing, format!("{name} is missing")))
}
