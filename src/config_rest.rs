//! Settings of what back ends of Apps call.

use nearport_edge::Cidr;
use serde::{Deserialize, Serialize};

use crate::cidrs;

/// `rest.*`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Rest {
    pub enabled: bool,
    #[serde(with = "cidrs")]
    pub allow: Vec<Cidr>,
    pub app_calls_per_s: u32,
    pub command_rates: bool,
    pub docs: bool,
}

impl Default for Rest {
    fn default() -> Self {
        Self { enabled: true, allow: Vec::new(), app_calls_per_s: 0, command_rates: true, docs: true }
    }
}
