//! Steps over the conversations of an App, in memory.

use std::ops::Bound;

use nearport_chat::key::{AppId, ConvKey, Talk};
use nearport_chat::ledger::Walked;

use super::image::Image;

impl Image {
    pub(super) fn walk(
        &self,
        app: AppId,
        talk: Talk,
        after: Option<&ConvKey>,
        since_ms: u64,
        looks: usize,
    ) -> Walked {
        let prefix = talk.prefix(app);
        let convs = std::iter::successors(self.conv_above(after), |conv| self.conv_above(Some(conv)));
        let convs = convs.skip_while(|conv| *conv.as_bytes() < prefix[..]);
        let convs = convs.take_while(|conv| conv.as_bytes().starts_with(&prefix));
        let looked: Vec<&ConvKey> = convs.take(looks.max(1)).collect();
        let is_new = |conv: &&ConvKey| self.heads(conv).time_ms >= since_ms;
        let next = looked.last().filter(|_| looked.len() >= looks).copied().cloned();
        Walked { convs: looked.into_iter().filter(is_new).cloned().collect(), next }
    }

    /// The first conversation above `after` that ever had a message: it has one still, or a floor.
    fn conv_above(&self, after: Option<&ConvKey>) -> Option<&ConvKey> {
        let behind = after.map_or(Bound::Unbounded, |conv| Bound::Excluded((conv.clone(), u64::MAX)));
        let kept = self.messages.range((behind, Bound::Unbounded)).next().map(|((conv, _), _)| conv);
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let trimmed =
            self.floors.range::<ConvKey, _>((behind, Bound::Unbounded)).next().map(|(conv, _)| conv);
        kept.into_iter().chain(trimmed).min()
    }
}
