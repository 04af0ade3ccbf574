//! Which links have sessions that hear a topic.

use std::collections::HashMap;

use nearport_trunk::Topic;
use nearport_trunk::local::LinkId;

/// For each topic that is not a user's: the links with sessions that joined it, and how many. Short: as many as links.
#[derive(Debug, Default)]
pub(super) struct Interest(HashMap<Topic, Vec<(LinkId, usize)>>);

impl Interest {
    /// One more session on `link` hears `topic`.
    pub(super) fn gain(&mut self, topic: &Topic, link: LinkId) {
        let links = self.0.entry(topic.clone()).or_default();
        match links.iter_mut().find(|(known, _)| *known == link) {
            Some((_, count)) => *count += 1,
            None => links.push((link, 1)),
        }
    }

    /// One session less. Nothing is kept of a topic that nobody hears.
    pub(super) fn lose(&mut self, topic: &Topic, link: LinkId) {
        let Some(links) = self.0.get_mut(topic) else { return };
        if let Some(at) = links.iter().position(|(known, _)| *known == link) {
            links[at].1 -= 1;
            if links[at].1 == 0 {
                links.remove(at);
            }
        }
        if links.is_empty() {
            self.0.remove(topic);
        }
    }

    /// The links on which somebody hears `topic`, each once.
    pub(super) fn links(&self, topic: &Topic) -> impl Iterator<Item = LinkId> {
        self.0.get(topic).into_iter().flatten().map(|(link, _)| *link)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
