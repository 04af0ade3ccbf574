//! What an edge has asked over a link and has no answer for yet.
//!
//! Two things need it. A link that breaks leaves requests that nobody will answer: their sessions are told at once, the same
//! way as if there had been no room. And one session must not fill a link: it has credit for [`CREDIT_ITEMS`] requests and
//! [`CREDIT_BYTES`], gets it back with each answer, and its surplus is refused to it alone.

use std::collections::BTreeMap;
use std::collections::HashMap;

use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane, body, code};
use prost::Message as _;

use crate::{Down, SessionId, Up};

/// Requests of one session under way: what an edge lets a client have without an answer.
pub(crate) const CREDIT_ITEMS: usize = 256;

/// Their bytes, with the fixed cost of each.
pub(crate) const CREDIT_BYTES: usize = 1 << 20;

/// When clients may ask again after a link broke. The next one takes a moment.
pub(crate) const RETRY_AFTER_MS: u32 = 500;

#[derive(Debug, Default)]
struct Open {
    /// A hello has no answer.
    opening: bool,
    /// Requests without one, in a handful of entries.
    requests: Vec<(Lane, u64, usize)>,
    bytes: usize,
}

/// Books of one link. Only sessions with something under way have a place in it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    sessions: HashMap<SessionId, Open>,
}

impl Books {
    /// Enters what is about to be sent. `false`: a request of a session that has used up its credit, to be refused.
    pub(crate) fn enter(&mut self, up: &Up, cost: usize) -> bool {
        match up {
            Up::Open { session, .. } => self.sessions.entry(*session).or_default().opening = true,
            Up::Frame { session, lane, id, .. } => {
                let open = self.sessions.entry(*session).or_default();
                // A single request always fits: it is smaller than the credit.
                if open.requests.len() >= CREDIT_ITEMS || open.bytes + cost > CREDIT_BYTES {
                    return false;
                }
                open.bytes += cost;
                open.requests.push((*lane, *id, cost));
            }
            Up::Close { session, .. } => {
                self.sessions.remove(session);
            }
            Up::Ack { .. } | Up::Adopt { .. } => {}
        }
        true
    }

    /// There was no room for it: the shard answers.
    pub(crate) fn take_back(&mut self, up: &Up) {
        match up {
            Up::Open { session, .. } => self.change(*session, |open| open.opening = false),
            Up::Frame { session, lane, id, .. } => self.answered(*session, *lane, *id),
            Up::Close { .. } | Up::Ack { .. } | Up::Adopt { .. } => {}
        }
    }

    /// Strikes out what has been answered.
    pub(crate) fn settle(&mut self, down: &Down) {
        match down {
            Down::Accept { session, .. } => self.change(*session, |open| open.opening = false),
            Down::Reply { session, lane, id, .. } => self.answered(*session, *lane, *id),
            Down::Reject { session, .. } | Down::Kick { session, .. } => {
                self.sessions.remove(session);
            }
            Down::Adopted { .. }
            | Down::Publish { .. }
            | Down::Share { .. }
            | Down::Join { .. }
            | Down::Leave { .. } => {}
        }
    }

    /// The link is over: answers everything that is under way, in the order of sessions and their requests.
    pub(crate) fn close(&mut self, downs: &mut Vec<Down>) {
        let sessions: BTreeMap<_, _> = std::mem::take(&mut self.sessions).into_iter().collect();
        for (session, open) in sessions {
            if open.opening {
                downs.push(Down::Reject {
                    session,
                    code: CloseCode::UNAVAILABLE,
                    reason: "the core has gone: come back in a moment".to_owned(),
                    retry_after_ms: RETRY_AFTER_MS,
                });
            }
            for (lane, id, _) in open.requests {
                let error = body::Error {
                    code: code::TOO_MANY_REQUESTS,
                    info: "the core has gone, and may have taken this: send it again".to_owned(),
                    retry_after_ms: RETRY_AFTER_MS,
                };
                let body = error.encode_to_vec().into();
                downs.push(Down::Reply { session, lane, kind: Kind::ERROR, id, body });
            }
        }
    }

    fn answered(&mut self, session: SessionId, lane: Lane, id: u64) {
        self.change(session, |open| {
            if let Some(at) = open.requests.iter().position(|request| (request.0, request.1) == (lane, id)) {
                let (.., cost) = open.requests.remove(at);
                open.bytes -= cost;
            }
        });
    }

    fn change(&mut self, session: SessionId, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.sessions.get_mut(&session) {
            change(open);
            if !open.opening && open.requests.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn frame(session: u64, id: u64, bytes: usize) -> Up {
        let body = Bytes::from(vec![0; bytes]);
        Up::Frame { session: SessionId(session), lane: Lane::Chat, kind: Kind::SEND, id, body }
    }

    fn reply(session: u64, id: u64) -> Down {
        let (session, body) = (SessionId(session), Bytes::new());
        Down::Reply { session, lane: Lane::Chat, kind: Kind::REPLY, id, body }
    }

    fn enter(books: &mut Books, up: &Up) -> bool {
        books.enter(up, up.cost())
    }

    #[test]
    fn one_sessions_surplus_is_refused_to_it_alone_and_its_credit_comes_back() {
        let mut books = Books::default();
        let taken = (0..300).filter(|id| enter(&mut books, &frame(1, *id, 10))).count();
        assert_eq!(taken, CREDIT_ITEMS);
        assert!(enter(&mut books, &frame(2, 1, 10)), "another session");
        books.settle(&reply(1, 77));
        assert!(enter(&mut books, &frame(1, 300, 10)));
        assert!(!enter(&mut books, &frame(1, 301, 10)));
        let large = (0..300).filter(|id| enter(&mut books, &frame(3, *id, 16_000))).count();
        assert!(large * 16_096 <= CREDIT_BYTES && large > 60, "{large}");
    }

    #[test]
    fn what_is_under_way_at_the_end_is_answered_and_nothing_else() {
        let mut books = Books::default();
        let open = Up::Open {
            session: SessionId(9),
            hello: Bytes::new(),
            peer: "[::1]:1".parse().unwrap(),
            vouched: None,
        };
        enter(&mut books, &open);
        for up in [frame(2, 1, 0), frame(1, 5, 0), frame(1, 4, 0), frame(3, 1, 0), frame(4, 1, 0)] {
            enter(&mut books, &up);
        }
        books.settle(&reply(1, 5));
        books.take_back(&frame(4, 1, 0));
        enter(&mut books, &Up::Close { session: SessionId(3), lost_ms: None });
        let mut downs = Vec::new();
        books.close(&mut downs);
        let told: Vec<_> = downs
            .iter()
            .map(|down| match down {
                Down::Reply { session, id, kind: Kind::ERROR, .. } => (session.0, *id),
                Down::Reject { session, code: CloseCode::UNAVAILABLE, .. } => (session.0, 0),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [(1, 4), (2, 1), (9, 0)]);
        downs.clear();
        books.close(&mut downs);
        assert!(downs.is_empty(), "told once");
    }

    proptest! {
        #[test]
        fn every_request_is_answered_once_by_whoever(
            steps in proptest::collection::vec((0..4u64, 0..40u64, any::<bool>()), 0..200),
        ) {
            let (mut books, mut open) = (Books::default(), std::collections::BTreeSet::new());
            for (session, id, asks) in steps {
                if asks {
                    if open.insert((session, id)) {
                        prop_assert!(enter(&mut books, &frame(session, id, 8)));
                    }
                } else {
                    open.remove(&(session, id));
                    books.settle(&reply(session, id));
                }
            }
            let mut downs = Vec::new();
            books.close(&mut downs);
            let told: std::collections::BTreeSet<_> = downs.iter().map(|down| match down {
                Down::Reply { session, id, .. } => (session.0, *id),
                other => panic!("{other:?}"),
            }).collect();
            prop_assert_eq!(told.len(), downs.len());
            prop_assert_eq!(told, open);
        }
    }
}
