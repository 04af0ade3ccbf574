//! `ConfigSvc`: from which addresses callbacks come.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Refusal;
use crate::service::CONFIG;
use crate::table::{Call, Command, command};

pub(crate) fn commands() -> Vec<Command> {
    vec![command(CONFIG, "GetIPList", 200, "Addresses that callbacks come from", get)]
}

#[derive(Debug, Deserialize, ToSchema)]
struct AddressesGet {}

/// Addresses, and networks as `192.0.2.0/24`.
#[derive(Debug, Serialize, ToSchema)]
struct Addresses {
    #[serde(rename = "IPList")]
    addresses: Vec<String>,
}

async fn get(call: Call, _body: AddressesGet) -> Result<Addresses, Refusal> {
    Ok(Addresses { addresses: (call.callbacks_from)(call.asker.app) })
}
