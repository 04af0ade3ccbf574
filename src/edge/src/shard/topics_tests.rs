use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

proptest! {
    #[test]
    fn members_equal_a_set_after_any_joins_and_leaves(
        steps in proptest::collection::vec((any::<bool>(), 0u32..12, 0u8..3), 0..200),
    ) {
        let mut topics = Topics::default();
        let mut joined: Vec<Joined> = (0..12).map(|_| Joined::default()).collect();
        let mut model = vec![BTreeSet::new(); 3];
        for (join, conn, topic) in steps {
            let key = Topic::from(&[topic][..]);
            if join {
                topics.join(conn, &mut joined[conn as usize], key);
                model[topic as usize].insert(conn);
            } else {
                let mut mine = std::mem::take(&mut joined[conn as usize]);
                topics.leave(&mut mine, &key, |other, topic, place| joined[other as usize].moved(topic, place));
                joined[conn as usize] = mine;
                model[topic as usize].remove(&conn);
            }
            for (topic, want) in (0u8..).zip(&model) {
                let mut got = topics.members(&Topic::from(&[topic][..])).to_vec();
                got.sort_unstable();
                prop_assert_eq!(&got, &want.iter().copied().collect::<Vec<_>>());
            }
        }
        prop_assert_eq!(topics.len(), model.iter().filter(|set| !set.is_empty()).count());
    }
}

/// What goes round in one topic, and what each connection has got, by its number of the frame.
#[derive(Default)]
struct Room {
    topics: Topics,
    joined: Vec<Joined>,
    got: Vec<Vec<u8>>,
    /// What each has to have got.
    want: Vec<Vec<u8>>,
    sent: u8,
}

fn room() -> Topic {
    Topic::from(&b"room"[..])
}

impl Room {
    fn join(&mut self, conn: usize) {
        self.topics.join(u32::try_from(conn).unwrap(), &mut self.joined[conn], room());
    }

    fn leave(&mut self, conn: usize) {
        let mut mine = std::mem::take(&mut self.joined[conn]);
        let joined = &mut self.joined;
        self.topics.leave(&mut mine, &room(), |other, topic, place| {
            joined[other as usize].moved(topic, place);
        });
        self.joined[conn] = mine;
        // What was on its way is not for who has left.
        self.want[conn] = self.got[conn].clone();
    }

    fn send(&mut self) {
        self.sent += 1;
        assert!(self.topics.send_round(&room(), Class::Chat, vec![self.sent].into()));
        for (joined, want) in self.joined.iter().zip(&mut self.want) {
            if joined.first().is_some() {
                want.push(self.sent);
            }
        }
    }

    fn visit(&mut self, count: usize) -> usize {
        let mut visited = BTreeSet::new();
        self.topics.visit(count, |conn, _, frame| {
            visited.insert(conn);
            self.got[conn as usize].push(frame[0]);
        });
        visited.len()
    }
}

proptest! {
    #[test]
    fn each_member_gets_what_came_while_it_was_one_once_and_in_order(
        steps in proptest::collection::vec((0u8..8, 0usize..9), 0..150),
    ) {
        let mut room = Room {
            joined: (0..9).map(|_| Joined::default()).collect(),
            got: vec![Vec::new(); 9],
            want: vec![Vec::new(); 9],
            ..Room::default()
        };
        for (step, n) in steps {
            match step {
                0..3 => room.join(n),
                3 => room.leave(n),
                4 | 5 => room.send(),
                _ => prop_assert!(room.visit(n) <= n),
            }
            let rounds = room.topics.members.values().filter_map(|members| members.round.as_ref());
            prop_assert_eq!(room.topics.visits_left(), rounds.map(|round| round.at).sum::<usize>());
        }
        while room.topics.has_rounds() {
            room.visit(2);
        }
        prop_assert_eq!(&room.got, &room.want);
        prop_assert_eq!((room.topics.pending, room.topics.visits_left()), (0, 0));
        prop_assert!(room.topics.members.values().all(|members| members.round.is_none()), "nothing is kept");
    }
}

#[test]
fn what_comes_during_a_round_costs_no_visit_of_its_own() {
    let mut topics = Topics::default();
    let mut joined: Vec<Joined> = (0..100).map(|_| Joined::default()).collect();
    for (conn, joined) in (0..).zip(&mut joined) {
        topics.join(conn, joined, room());
    }
    let (mut visits, mut given) = (0, 0);
    for _ in 0..50 {
        topics.send_round(&room(), Class::Chat, Bytes::from_static(b"x"));
        let mut last = None;
        topics.visit(10, |conn, _, _| {
            visits += usize::from(last.replace(conn) != Some(conn));
            given += 1;
        });
    }
    while topics.has_rounds() {
        topics.visit(100, |_, _, _| given += 1);
    }
    assert_eq!((given, visits), (5_000, 500), "ten visits a turn, ten frames each in the end");
}

#[test]
fn when_much_waits_likes_are_left_out_first() {
    let mut topics = Topics::default();
    let (mut joined, mut other) = (Joined::default(), Joined::default());
    topics.join(1, &mut joined, room());
    let frame = Bytes::from(vec![0; 1024 - FRAME_COST]);
    let mut fill = |class| (0..1000).take_while(|_| topics.send_round(&room(), class, frame.clone())).count();
    assert_eq!([Class::Like, Class::Chat, Class::Gift, Class::System].map(&mut fill), [128, 64, 32, 32]);
    assert_eq!(Class::ALL.map(fill), [0; 4]);
    assert!(topics.send_round(&Topic::from(&b"nobody"[..]), Class::Like, frame.clone()), "nobody lacks it");
    topics.join(2, &mut other, Topic::from(&b"other"[..]));
    assert!(topics.send_round(&Topic::from(&b"other"[..]), Class::Like, frame), "another room has its own");
    let mut given = [0; 2];
    while topics.has_rounds() {
        topics.visit(1, |conn, _, _| given[conn as usize - 1] += 1);
    }
    assert_eq!((given, topics.pending), ([256, 1], 0));
}
