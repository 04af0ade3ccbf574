//! `profile`: profiles.

use nearport_chat::people::Profile;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::{Text, Texts};
use crate::items::{TagValue, TagsToSet, done, field_value};
use crate::service::PROFILES;
use crate::table::{Call, Command, command};

const BAD: u32 = 40001;
const NOBODY: u32 = 40002;
const NO_ACCOUNT: u32 = 40003;
const INTERNAL: u32 = 40006;
const WRONG_TYPE: u32 = 40610;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(PROFILES, "portrait_set", 200, "Sets fields of a profile", set),
        command(PROFILES, "portrait_get", 200, "Fields of up to 100 profiles", get),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    profile_item: TagsToSet,
}

async fn set(call: Call, body: Set) -> Result<Empty, Refusal> {
    let from = body.from.required("From_Account", BAD)?;
    let mut fields = Vec::new();
    for item in body.profile_item.required("ProfileItem", BAD)? {
        let (tag, value) = item.0.read(BAD)?;
        let value = field_value(&tag, value, WRONG_TYPE)?;
        fields.push((tag, value));
    }
    let pending = call.admin.change_people(&call.asker, &from, NO_ACCOUNT, move |people, about, effects| {
        let fields = people.declared(about.user.app(), fields);
        people.set_profile(&about.actor, about.user, &fields, effects)
    });
    done(pending, INTERNAL).await?;
    Ok(Empty {})
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Get {
    #[serde(default, rename = "To_Account")]
    to: Texts,
    #[serde(default)]
    tag_list: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct Got {
    user_profile_item: Vec<UserProfile>,
    /// Those that are no accounts; not there if all are.
    #[serde(rename = "Fail_Account", skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct UserProfile {
    #[serde(rename = "To_Account")]
    user: String,
    /// Fields that were set and are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_item: Option<Vec<TagValue>>,
    result_code: u32,
    result_info: String,
}

async fn get(call: Call, body: Get) -> Result<Got, Refusal> {
    let users = body.to.optional("To_Account", BAD)?.unwrap_or_default();
    if users.is_empty() {
        return Err(Refusal::new(NOBODY, "To_Account names nobody"));
    }
    let tags = body.tag_list.required("TagList", BAD)?;
    let asker = call.asker.clone();
    let (users, found) = call
        .blocking(INTERNAL, move |admin| {
            let found = admin.profiles(&asker, &users, &tags)?;
            Ok((users, found))
        })
        .await?;
    let one = |(user, profile): (String, Profile)| match profile {
        Ok(fields) => UserProfile {
            user,
            profile_item: Some(fields.into_iter().map(TagValue::of).collect()),
            result_code: 0,
            result_info: String::new(),
        },
        Err(failure) => UserProfile {
            user,
            profile_item: None,
            result_code: failure.code,
            result_info: failure.info.into_owned(),
        },
    };
    let user_profile_item: Vec<_> = users.into_iter().zip(found).map(one).collect();
    let failed = user_profile_item.iter().filter(|item| item.result_code != 0);
    let failed = failed.map(|item| item.user.clone()).collect();
    Ok(Got { user_profile_item, failed })
}
