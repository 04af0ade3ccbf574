//! What a batch of requests asks of others before it is prepared: who is registered, and who may write to whom.

use nearport_wire::code;

use super::request::Request;
use super::{Asked, Writer};
use crate::downs::Downs;
use crate::kept::Audience;
use crate::people::Verdict;
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

    /// Refuses messages to users who do not take them from their senders. Those that go nowhere without their sender's knowing are kept
    /// for the sender alone.
    pub(super) fn allowed(&self, asked: Vec<Asked>, out: &mut Downs) -> Vec<Asked> {
        let pair = |asked: &Asked| match &asked.request {
            Request::Send(_) => asked.request.peer().map(|peer| (asked.user.clone(), peer.clone())),
            _ => None,
        };
        let pairs: Vec<_> = asked.iter().filter_map(pair).collect();
        if pairs.is_empty() {
            return asked;
        }
        let verdicts = self.shared.people.may_all_message(&pairs);
        if let Err(error) = &verdicts {
            tracing::error!(%error, "cannot look relations up");
        }
        let mut verdicts = verdicts.as_ref().map(|verdicts| verdicts.iter());
        let mut kept = Vec::with_capacity(asked.len());
        for mut asked in asked {
            let is_send = matches!(asked.request, Request::Send(_)) && asked.request.peer().is_some();
            let verdict = match &mut verdicts {
                _ if !is_send => Ok(Audience::All),
                Ok(verdicts) => match verdicts.next() {
                    Some(Verdict::Silently) => Ok(Audience::Sender),
                    Some(verdict) => verdict.failure().map_or(Ok(Audience::All), Err),
                    None => Ok(Audience::All),
                },
                Err(_) => {
                    Err(Failure::later(code::INTERNAL, "relations cannot be looked up, try again", 1000))
                }
            };
            match verdict {
                Ok(audience) => {
                    asked.audience = audience;
                    kept.push(asked);
                }
                Err(failure) => asked.reply_to.fail(&failure, &self.shared.metrics, out),
            }
        }
        kept
    }
}
