//! `nearport`: what this server has beside the contract. Settings of an App by its own administrators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Refusal;
use crate::field::{Field, Object, Text, Texts};
use crate::service::NEARPORT;
use crate::table::{Call, Command, command};

const BAD: u32 = 60003;
const INTERNAL: u32 = 60008;

pub(crate) fn commands() -> Vec<Command> {
    vec![
        command(NEARPORT, "app_settings_get", 200, "Settings of the App", get),
        command(NEARPORT, "app_settings_set", 5, "Sets or unsets settings of the App", set),
    ]
}

#[derive(Debug, Deserialize, ToSchema)]
struct SettingsGet {}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct AppSettings {
    setting_list: Vec<AppSetting>,
}

/// A setting as it holds now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct AppSetting {
    name: &'static str,
    value: String,
    /// `process`: that of all Apps; `file`: the file of settings has it for this App; `live`: it was set while the server runs.
    origin: &'static str,
    /// The App's administrators may set it.
    may_set: bool,
    takes: String,
    doc: &'static str,
}

fn listed(shown: Vec<nearport_chat::apps::Shown>) -> AppSettings {
    let one = |shown: nearport_chat::apps::Shown| AppSetting {
        name: shown.setting.name,
        value: shown.value,
        origin: shown.origin.name(),
        may_set: shown.setting.by_app,
        takes: shown.setting.kind.takes(),
        doc: shown.setting.doc,
    };
    AppSettings { setting_list: shown.into_iter().map(one).collect() }
}

async fn get(call: Call, _body: SettingsGet) -> Result<AppSettings, Refusal> {
    let app = call.asker.app;
    Ok(listed(call.blocking(INTERNAL, move |admin| admin.app_settings(app)).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct SettingsSet {
    /// To set.
    #[serde(default)]
    setting_list: NewSettings,
    /// Names of those that are to be as for all Apps again.
    #[serde(default)]
    unset_list: Texts,
}

type NewSettings = Field<Vec<Object<NewSetting>>>;

#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct NewSetting {
    #[serde(default)]
    name: Text,
    /// As text, whatever its type.
    #[serde(default)]
    value: Text,
}

async fn set(call: Call, body: SettingsSet) -> Result<AppSettings, Refusal> {
    let mut changes = Vec::new();
    for Object(item) in body.setting_list.optional("SettingList", BAD)?.unwrap_or_default() {
        let name = item.name.required("Name", BAD)?;
        changes.push((name, Some(item.value.required("Value", BAD)?)));
    }
    let unset = body.unset_list.optional("UnsetList", BAD)?.unwrap_or_default();
    changes.extend(unset.into_iter().map(|name| (name, None)));
    let (asker, peer) = (call.asker.clone(), call.peer);
    let set = move |admin: &nearport_chat::admin::Admin| admin.set_app_settings(&asker, peer, &changes);
    Ok(listed(call.blocking(INTERNAL, set).await?))
}
