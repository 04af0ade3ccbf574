//! Settings of the steering link between edges and processes that locate.

use std::net::SocketAddr;

use nearport_geo::is_id;
use nearport_steer::dial::LOCATORS_MAX;
use nearport_steer::prober::split;
use serde::{Deserialize, Serialize};

/// `steer.*`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in KEYS, where `config explain` finds it")]
pub struct Steer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    pub locators: Vec<String>,
}

impl Steer {
    /// Rules beyond single types.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(pop) = self.pop.as_ref().filter(|pop| !is_id(pop)) {
            return Err((
                "steer.pop",
                format!("`{pop}`: write the id of a PoP in locate.pops, of a-z, 0-9 and -"),
            ));
        }
        if self.capacity == Some(0) {
            return Err(("steer.capacity", "must be at least 1".into()));
        }
        if self.pop.is_none() && (!self.locators.is_empty() || self.capacity.is_some()) {
            let key = if self.locators.is_empty() { "steer.capacity" } else { "steer.locators" };
            return Err((key, "it needs steer.pop beside it: the PoP that this edge belongs to".into()));
        }
        if self.locators.len() > LOCATORS_MAX {
            return Err(("steer.locators", format!("must be at most {LOCATORS_MAX}")));
        }
        match self.locators.iter().find(|locator| split(locator).is_none()) {
            Some(bad) => {
                Err(("steer.locators", format!("`{bad}`: write HOST:PORT of a locator's steer.listen")))
            }
            None => Ok(()),
        }
    }
}
