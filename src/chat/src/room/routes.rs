//! Where a room's publishes go: links, not members.

use std::collections::BTreeMap;

use bytes::Bytes;
use nearport_trunk::local::LinkId;
use nearport_trunk::{Down, EdgeId, Topic};
use nearport_wire::{Kind, Lane};

use crate::downs::{Downs, Links};

/// The links with members of one room.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Members of each. In order, so that nothing depends on a hasher.
    members: BTreeMap<LinkId, usize>,
    /// What to send where, made anew when a link comes or goes.
    ways: Vec<Way>,
}

/// One copy of a publish.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    link: LinkId,
    /// For these shards of the link's edge; 0: for its own alone.
    shards: u32,
}

impl Routes {
    /// A member came by this link.
    pub(super) fn add(&mut self, link: LinkId, topic: &Topic, links: &Links) {
        let members = self.members.entry(link).or_default();
        *members += 1;
        if *members == 1 {
            self.plan(topic, links);
        }
    }

    /// A member that came by this link has gone.
    pub(super) fn remove(&mut self, link: LinkId, topic: &Topic, links: &Links) {
        let Some(members) = self.members.get_mut(&link) else { return };
        *members -= 1;
        if *members == 0 {
            self.members.remove(&link);
            self.plan(topic, links);
        }
    }

    /// One copy for each link, but one for all links of an edge that hands on. Which of them carries it depends on the topic, so
    /// that rooms spread over an edge's links.
    fn plan(&mut self, topic: &Topic, links: &Links) {
        let mut edges: BTreeMap<EdgeId, Vec<(LinkId, u32)>> = BTreeMap::new();
        self.ways.clear();
        for link in self.members.keys() {
            match links.sharing(*link) {
                Some(sharing) => {
                    edges.entry(sharing.edge).or_default().push((*link, 1 << (sharing.shard & 31)));
                }
                None => self.ways.push(Way { link: *link, shards: 0 }),
            }
        }
        let spread =
            topic.0.iter().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        for siblings in edges.into_values() {
            let (link, _) = siblings[spread % siblings.len()];
            let shards = siblings.iter().fold(0, |mask, (_, shard)| mask | shard);
            self.ways.push(Way { link, shards: if siblings.len() == 1 { 0 } else { shards } });
        }
    }

    /// Publishes a frame. Returns how many copies it took.
    pub(super) fn publish(
        &self,
        topic: &Topic,
        (lane, kind, id): (Lane, Kind, u64),
        body: &Bytes,
        out: &mut Downs,
    ) -> usize {
        for Way { link, shards } in &self.ways {
            let (topic, body) = (topic.clone(), body.clone());
            let down = match shards {
                0 => Down::Publish { topic, lane, kind, id, body, except: None },
                shards => Down::Share { shards: *shards, topic, lane, kind, id, body },
            };
            out.push(*link, down);
        }
        self.ways.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearport_trunk::local::DownQueue;
    use nearport_trunk::{Sharing, Waker};

    #[test]
    fn links_of_one_edge_get_one_copy_and_others_one_each() {
        let (links, topic) = (Links::default(), Topic::from(&b"room"[..]));
        let queue = || DownQueue::new(Waker::noop());
        let of = |instance, shard| Sharing { edge: EdgeId { node: 1, instance }, shard };
        let local = [links.add(queue()), links.add(queue())];
        let edge: Vec<_> = (0..3).map(|shard| links.add_sharing(queue(), of(7, shard))).collect();
        let other = links.add_sharing(queue(), of(8, 4));
        let mut routes = Routes::default();
        for link in local.iter().chain(&edge).chain([&other]) {
            routes.add(*link, &topic, &links);
            routes.add(*link, &topic, &links);
        }
        assert_eq!(routes.ways.len(), 4);
        let shared: Vec<_> = routes.ways.iter().filter(|way| way.shards != 0).collect();
        assert_eq!((shared.len(), shared[0].shards), (1, 0b111));
        assert!(edge.contains(&shared[0].link));
        assert!(routes.ways.contains(&Way { link: other, shards: 0 }), "alone: its own link says it");
        // The one that carries it goes.
        let carrier = shared[0].link;
        (0..2).for_each(|_| routes.remove(carrier, &topic, &links));
        let shared: Vec<_> = routes.ways.iter().filter(|way| way.shards != 0).collect();
        assert_eq!(shared[0].shards.count_ones(), 2);
        assert_ne!(shared[0].link, carrier);
        // Other topics go by other links.
        let carriers = (0..20).map(|n| {
            let topic = Topic::from(format!("room {n}").as_bytes());
            let mut routes = Routes::default();
            edge.iter().for_each(|link| routes.add(*link, &topic, &links));
            routes.ways[0].link
        });
        let carriers: std::collections::BTreeSet<_> = carriers.collect();
        assert_eq!(carriers.len(), 3);
    }
}
