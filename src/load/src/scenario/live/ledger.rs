//! The books of a live room: what each member got, and what the room says that there was.

use nearport_client::live::{Class, LiveCounts};

type Numbers = [u64; Class::COUNT];

fn numbers(from: &[u64]) -> Numbers {
    let mut out = Numbers::default();
    out.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    out
}

/// Frames that went out, by class: what was taken less what was folded.
fn out(taken: &Numbers, folded: &Numbers) -> Numbers {
    std::array::from_fn(|at| taken[at].saturating_sub(folded[at]))
}

/// One member.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// What had gone out before it joined; `None`: it has not joined.
    before: Option<Numbers>,
    got: Numbers,
    /// The messages that it got, a bit for each.
    messages: Vec<u64>,
    /// Frames that the room had sent by the last one that came.
    last: u64,
    duplicated: u64,
    reordered: u64,
}

impl Member {
    /// It has joined, and was answered with these counts.
    pub(super) fn begin(&mut self, counts: &LiveCounts) {
        let before = out(&numbers(&counts.taken), &numbers(&counts.folded));
        self.before = Some(before);
    }

    /// A frame came; `message` is the number of one of ours.
    pub(super) fn take(&mut self, class: Class, message: Option<u64>, counts: &LiveCounts) {
        if let Some(message) = message {
            let (word, bit) = (usize::try_from(message / 64).unwrap_or(usize::MAX), 1 << (message % 64));
            if self.messages.len() <= word {
                self.messages.resize(word + 1, 0);
            }
            if self.messages[word] & bit != 0 {
                self.duplicated += 1;
                return;
            }
            self.messages[word] |= bit;
        }
        // A frame that came before the answer to the join, which is counted there already or not yet: the totals tell.
        self.got[class.index()] += 1;
        let sent = out(&numbers(&counts.taken), &numbers(&counts.folded)).iter().sum();
        if sent <= self.last {
            self.reordered += 1;
        }
        self.last = self.last.max(sent);
    }

    /// Something came after the books were closed: only what is not the first of its kind still counts.
    pub(super) fn late(&mut self, message: u64) {
        let word = usize::try_from(message / 64).unwrap_or(usize::MAX);
        let known = self.messages.get(word).is_some_and(|word| word & (1 << (message % 64)) != 0);
        self.duplicated += u64::from(known);
    }

    /// What it has not got of what went out since it joined.
    fn missing(&self, sent: &Numbers) -> u64 {
        let Some(before) = &self.before else { return 0 };
        (0..Class::COUNT).map(|at| sent[at].saturating_sub(before[at]).saturating_sub(self.got[at])).sum()
    }

    /// Got although it was before, or was nothing.
    fn surplus(&self, sent: &Numbers) -> u64 {
        let Some(before) = &self.before else { return self.got.iter().sum() };
        (0..Class::COUNT).map(|at| self.got[at].saturating_sub(sent[at].saturating_sub(before[at]))).sum()
    }
}

/// What the room says, by whoever has heard most.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    taken: Numbers,
    folded: Numbers,
    /// By the first that was heard.
    begin: Option<(Numbers, Numbers)>,
    /// Members before this one miss nothing of what was known when they were looked at.
    checked: usize,
}

/// The end of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) missing: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
}

impl Ledger {
    /// Somebody has heard these counts.
    pub(super) fn hear(&mut self, counts: &LiveCounts) {
        let (taken, folded) = (numbers(&counts.taken), numbers(&counts.folded));
        self.begin.get_or_insert((taken, folded));
        if taken.iter().sum::<u64>() > self.taken.iter().sum() {
            (self.taken, self.folded, self.checked) = (taken, folded, 0);
        }
    }

    /// Takes over what another one has heard.
    pub(super) fn learn(&mut self, other: &Self) {
        let sum = |(taken, _): &(Numbers, Numbers)| taken.iter().sum::<u64>();
        self.begin = [self.begin, other.begin].into_iter().flatten().min_by_key(sum);
        if sum(&(other.taken, other.folded)) > sum(&(self.taken, self.folded)) {
            (self.taken, self.folded, self.checked) = (other.taken, other.folded, 0);
        }
    }

    /// What the room has taken of a class since the first was heard.
    pub(super) fn taken(&self, class: Class) -> u64 {
        let begin = self.begin.map_or(0, |(taken, _)| taken[class.index()]);
        self.taken[class.index()].saturating_sub(begin)
    }

    /// Taken and folded, by class, since then.
    pub(super) fn since(&self) -> (Numbers, Numbers) {
        let (taken, folded) = self.begin.unwrap_or_default();
        let since =
            |now: &Numbers, then: &Numbers| std::array::from_fn(|at| now[at].saturating_sub(then[at]));
        (since(&self.taken, &taken), since(&self.folded, &folded))
    }

    /// Whether nobody misses anything. Looks at each member once, as long as nothing new is heard.
    pub(super) fn is_complete(&mut self, members: &[Member]) -> bool {
        let sent = out(&self.taken, &self.folded);
        while members.get(self.checked).is_some_and(|member| member.missing(&sent) == 0) {
            self.checked += 1;
        }
        self.checked == members.len()
    }

    pub(super) fn close(&self, members: &[Member]) -> Closed {
        let sent = out(&self.taken, &self.folded);
        Closed {
            missing: members.iter().map(|member| member.missing(&sent)).sum(),
            duplicated: members.iter().map(|member| member.duplicated + member.surplus(&sent)).sum(),
            reordered: members.iter().map(|member| member.reordered).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(taken: Numbers, folded: Numbers) -> LiveCounts {
        LiveCounts { taken: taken.to_vec(), folded: folded.to_vec(), ..LiveCounts::default() }
    }

    #[test]
    fn what_was_folded_is_not_missing_and_what_went_out_is() {
        let (mut ledger, mut members) = (Ledger::default(), [Member::default(), Member::default()]);
        let start = counts([3, 0, 5, 0], [0, 0, 1, 0]);
        for member in &mut members {
            member.begin(&start);
            ledger.hear(&start);
        }
        let frames = [(0, [3, 0, 6, 0]), (1, [3, 0, 7, 4]), (2, [3, 0, 8, 4])];
        for (message, taken) in frames {
            let counts = counts(taken, [0, 0, 1, 4]);
            members[0].take(Class::Chat, Some(message), &counts);
            ledger.hear(&counts);
            if message != 1 {
                members[1].take(Class::Chat, Some(message), &counts);
            }
        }
        assert!(!ledger.is_complete(&members));
        assert_eq!(ledger.close(&members), Closed { missing: 1, duplicated: 0, reordered: 0 });
        assert_eq!(ledger.since(), ([0, 0, 3, 4], [0, 0, 0, 4]));
        members[1].take(Class::Chat, Some(1), &counts([3, 0, 7, 4], [0, 0, 1, 4]));
        members[1].take(Class::Chat, Some(2), &counts([3, 0, 8, 4], [0, 0, 1, 4]));
        assert!(ledger.is_complete(&members));
        assert_eq!(ledger.close(&members), Closed { missing: 0, duplicated: 1, reordered: 1 });
    }

    #[test]
    fn what_one_has_heard_another_misses() {
        let (mut early, mut late) = (Ledger::default(), Ledger::default());
        let mut members = [Member::default()];
        early.hear(&counts([1, 0, 1, 0], [0; 4]));
        early.hear(&counts([1, 0, 5, 0], [0, 0, 1, 0]));
        let joined = counts([1, 0, 2, 0], [0; 4]);
        members[0].begin(&joined);
        late.hear(&joined);
        assert!(late.is_complete(&members));
        late.learn(&early);
        assert!(!late.is_complete(&members));
        assert_eq!((late.close(&members).missing, late.since()), (2, ([0, 0, 4, 0], [0, 0, 1, 0])));
        early.learn(&late);
        assert_eq!(early.since(), late.since());
    }
}
