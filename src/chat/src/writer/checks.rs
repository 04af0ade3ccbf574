//! What a batch of requests asks of others before it is prepared: who is registered.

use nearport_wire::code;

use super::{Asked, Writer};
use crate::downs::Downs;
use crate::reply::Failure;

impl Writer {
    /// Refuses requests whose other side is not registered; one directory query for all that are not cached.
    pub(super) fn registered(&self, asked: Vec<Asked>, out: &mut Downs) -> Vec<Asked> {
        let metrics = &self.shared.metrics;
        let peers: Vec<_> = asked.iter().filter_map(|asked| asked.request.peer()).cloned().collect();
        if peers.is_empty() {
            return asked;
        }
        let found = self.shared.accounts.find(&peers);
        if let Err(error) = &found {
            tracing::error!(%error, "cannot look accounts up");
        }
        let mut known = found.as_ref().map(|found| found.valid_from_s.iter());
        let mut kept = Vec::with_capacity(asked.len());
        for asked in asked {
            let verdict = match (&mut known, asked.request.peer()) {
                (_, None) => Ok(()),
                (Ok(known), Some(_)) => match known.next() {
                    Some(Some(_)) => Ok(()),
                    _ => Err(Failure::new(code::BAD_PEER, "the other user is not registered")),
                },
                (Err(_), Some(_)) => {
                    Err(Failure::later(code::INTERNAL, "accounts cannot be looked up, try again", 1000))
                }
            };
            match verdict {
                Ok(()) => kept.push(asked),
                Err(failure) => asked.reply_to.fail(&failure, metrics, out),
            }
        }
        kept
    }
}
