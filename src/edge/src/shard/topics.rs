//! Who on this shard listens to what.

use std::collections::HashMap;

use nearport_trunk::Topic;

/// Topic → connections that joined. Joining and leaving are O(1) whatever the size of the topic; the order of
/// members does not depend on a hash, so a simulated shard is repeatable.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    members: HashMap<Topic, Vec<u32>>,
}

/// The topics of one connection, with its place in each member list.
#[derive(Debug, Default)]
pub(crate) struct Joined(Vec<(Topic, u32)>);

impl Topics {
    /// Adds `conn`; a second time changes nothing.
    pub(crate) fn join(&mut self, conn: u32, joined: &mut Joined, topic: Topic) {
        if joined.0.iter().any(|(have, _)| *have == topic) {
            return;
        }
        let members = self.members.entry(topic.clone()).or_default();
        joined.0.push((topic, u32::try_from(members.len()).expect("connections are numbered by u32")));
        members.push(conn);
    }

    /// Removes `conn` from one topic. `moved` is called if another member took its place in the list and must
    /// learn its new place: see [`Joined::moved`].
    pub(crate) fn leave(&mut self, joined: &mut Joined, topic: &Topic, moved: impl FnOnce(u32, &Topic, u32)) {
        let Some(at) = joined.0.iter().position(|(have, _)| have == topic) else { return };
        let (topic, place) = joined.0.swap_remove(at);
        let Some(members) = self.members.get_mut(&topic) else { return };
        members.swap_remove(place as usize);
        match members.get(place as usize) {
            Some(other) => moved(*other, &topic, place),
            None if members.is_empty() => drop(self.members.remove(&topic)),
            None => {}
        }
    }

    /// The members of a topic.
    pub(crate) fn members(&self, topic: &Topic) -> &[u32] {
        self.members.get(topic).map_or(&[], Vec::as_slice)
    }

    /// Topics with at least one member.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }
}

impl Joined {
    /// Another member left and this one took its place in the list.
    pub(crate) fn moved(&mut self, topic: &Topic, place: u32) {
        if let Some((_, have)) = self.0.iter_mut().find(|(have, _)| have == topic) {
            *have = place;
        }
    }

    /// Any topic that is still joined.
    pub(crate) fn first(&self) -> Option<Topic> {
        self.0.first().map(|(topic, _)| topic.clone())
    }
}

#[cfg(test)]
mod tests {
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
}
