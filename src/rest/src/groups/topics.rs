//! `million_group_open_http_svc`: topics of communities, which this server does not have.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::answer::{Empty, Refusal};
use crate::field::Text;
use crate::service::TOPICS;
use crate::table::{Call, Command, command};

/// "Community or topic not enabled", of the public contract.
pub(super) const NOT_ENABLED: u32 = 11000;

pub(super) fn commands() -> Vec<Command> {
    ["create_topic", "get_topic", "modify_topic", "destroy_topic", "import_topic"]
        .into_iter()
        .map(|name| command(TOPICS, name, 200, "Not enabled: communities here have no topics", not_enabled))
        .collect()
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "what such a request has, for the document")]
struct GroupTopic {
    #[serde(default)]
    group_id: Text,
}

async fn not_enabled(_: Call, _: GroupTopic) -> Result<Empty, Refusal> {
    Err(refusal())
}

/// `TopicId` of a request about messages: there may be none.
pub(super) fn none(field: Text, code: u32) -> Result<(), Refusal> {
    match field.optional("TopicId", code)?.is_some_and(|topic| !topic.is_empty()) {
        true => Err(refusal()),
        false => Ok(()),
    }
}

pub(super) fn refusal() -> Refusal {
    Refusal::new(NOT_ENABLED, "topics of communities are not enabled on this server")
}
