//! What a batch of requests asks of others before it is prepared: who is registered and not muted, and who may write to whom.

use nearport_wire::code;

use super::request::{Request, SaidTo};
use super::{Asked, Writer};
use crate::directory::Mutes;
use crate::downs::Downs;
use crate::kept::Audience;
use crate::people::Verdict;
use crate::reply::Failure;

impl Writer {
    /// Refuses what is said by those whom an administrator has muted, and requests whose other side is not registered; one directory
    /// query for all that are not cached. Those who say something have logged in, so the cache has them as a rule.
    pub(super) fn accounts(&self, asked: Vec<Asked>, now_ms: u64, out: &mut Downs) -> Vec<Asked> {
        let metrics = &self.shared.metrics;
        let mut keys = Vec::with_capacity(2 * asked.len());
        for Asked { user, request, .. } in &asked {
            keys.extend(request.said_to().map(|_| user.clone()));
            keys.extend(request.peer().cloned());
        }
        if keys.is_empty() {
            return asked;
        }
        let found = self.shared.accounts.find(&keys);
        if let Err(error) = &found {
            tracing::error!(%error, "cannot look accounts up");
        }
        let mut accounts = found.as_ref().map(|found| found.accounts.iter().copied());
        let mut kept = Vec::with_capacity(asked.len());
        for asked in asked {
            let verdict = match &mut accounts {
                Ok(accounts) => {
                    let mut next = |wanted: bool| wanted.then(|| accounts.next().flatten());
                    let said_to = asked.request.said_to();
                    let speaker = next(said_to.is_some());
                    let peer = next(asked.request.peer().is_some());
                    match (said_to.zip(speaker.flatten()), peer) {
                        (Some((place, speaker)), _) if place.muted(speaker.mutes, now_ms) => {
                            Err(place.refusal())
                        }
                        (_, Some(None)) => {
                            Err(Failure::new(code::BAD_PEER, "the other user is not registered"))
                        }
                        _ => Ok(()),
                    }
                }
                Err(_) if asked.request.said_to().is_none() && asked.request.peer().is_none() => Ok(()),
                Err(_) => {
                    Err(Failure::later(code::INTERNAL, "accounts cannot be looked up, try again", 1000))
                }
            };
            match verdict {
                Ok(()) => kept.push(asked),
                Err(failure) => {
                    self.tell_refused(&asked, &failure);
                    asked.reply_to.fail(&failure, metrics, out);
                }
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
                Err(failure) => {
                    self.tell_refused(&asked, &failure);
                    asked.reply_to.fail(&failure, &self.shared.metrics, out);
                }
            }
        }
        kept
    }
}

impl SaidTo {
    fn muted(self, mutes: Mutes, now_ms: u64) -> bool {
        now_ms
            < match self {
                Self::User => mutes.users_until_ms,
                Self::Group => mutes.groups_until_ms,
            }
    }

    fn refusal(self) -> Failure {
        match self {
            Self::User => Failure::new(code::MUTED, "an administrator has muted you"),
            Self::Group => Failure::new(code::group::MUTED, "an administrator has muted you in all groups"),
        }
    }
}
