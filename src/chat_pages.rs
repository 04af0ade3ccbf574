//! Pages of history in `chat`: what waits while one is on its way, how far the screen reaches, and where `/older` and `/newer` go on.

use nearport_client::{Event, HistoryPage, HistoryQuery, HistoryRange};

/// Events kept while a page of history is on its way; beyond it the shell asks for no more.
const HELD_MAX: usize = 4096;

/// Of the conversation on the screen.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Events wait until the page of history is drawn above them.
    held: Option<Vec<Event>>,
    /// The page that was asked for.
    asked: HistoryRange,
    /// Largest seq of the conversation that is on the screen.
    shown_seq: u64,
    /// Between which messages the pages stand that were looked at last: the first that was shown (0: there is none before it), the
    /// last. `None`: no page has come yet.
    looked: Option<(u64, u64)>,
}

impl Pages {
    pub(crate) fn new() -> Self {
        Self { held: None, asked: HistoryRange::Newest, shown_seq: 0, looked: None }
    }

    /// Another conversation is on the screen now, and nothing of it yet.
    pub(crate) fn clear(&mut self) {
        (self.shown_seq, self.looked) = (0, None);
    }

    pub(crate) fn shown_seq(&self) -> u64 {
        self.shown_seq
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.held.is_some()
    }

    pub(crate) fn wants_events(&self) -> bool {
        self.held.as_ref().is_none_or(|held| held.len() < HELD_MAX)
    }

    /// A page is asked for; events wait until it is there.
    pub(crate) fn ask(&mut self, range: HistoryRange) {
        self.asked = range;
        self.held.get_or_insert_default();
    }

    /// Gives an event back that need not wait.
    pub(crate) fn hold(&mut self, event: Event) -> Option<Event> {
        match &mut self.held {
            None => Some(event),
            Some(held) => {
                held.push(event);
                None
            }
        }
    }

    /// The page is there, or never will be: what waited for it.
    pub(crate) fn release(&mut self) -> Vec<Event> {
        self.held.take().unwrap_or_default()
    }

    /// The messages before those that were shown, or why there are none.
    pub(crate) fn older(&self, count: u32) -> Result<HistoryQuery, &'static str> {
        match self.looked {
            None => Ok(HistoryQuery::new(HistoryRange::Newest, count)),
            Some((0 | 1, _)) => Err("that was the first message"),
            Some((first, _)) => Ok(HistoryQuery::new(HistoryRange::Before(first), count)),
        }
    }

    /// The messages behind those that were shown, or why there are none.
    pub(crate) fn newer(&self, count: u32) -> Result<HistoryQuery, &'static str> {
        match self.looked {
            None => Ok(HistoryQuery::new(HistoryRange::Newest, count)),
            Some((_, last)) if last >= self.shown_seq => Err("that was the newest message"),
            Some((_, last)) => Ok(HistoryQuery::new(HistoryRange::After(last), count)),
        }
    }

    /// Whether a message is not on the screen yet. Online-only ones have no number.
    pub(crate) fn is_new(&self, seq: u64) -> bool {
        seq == 0 || seq > self.shown_seq
    }

    /// A message is drawn as it comes.
    pub(crate) fn arrive(&mut self, seq: u64) {
        let before = self.shown_seq;
        self.shown_seq = before.max(seq);
        // Behind pages that reach to the newest message it goes on from there. In between may be own ones, which come as answers.
        if let Some((_, last)) = self.looked.as_mut().filter(|(_, last)| *last >= before) {
            *last = self.shown_seq;
        }
    }

    /// The page that was asked for is there. Puts its messages in order, and says what stands above and below them.
    pub(crate) fn turn(&mut self, page: &mut HistoryPage) -> (Option<&'static str>, Option<&'static str>) {
        if !matches!(self.asked, HistoryRange::After(_)) {
            page.messages.reverse();
        }
        let first = page.messages.first().map(|message| message.seq);
        let last = page.messages.last().map(|message| message.seq);
        // A page may have fewer messages than places: the next one begins where it says.
        let next = if page.complete { 0 } else { page.next };
        match self.asked {
            HistoryRange::Newest => {
                self.shown_seq = self.shown_seq.max(page.head);
                self.looked = Some((if page.complete { 0 } else { first.unwrap_or(next) }, page.head));
                (None, first.is_none().then_some("no messages yet"))
            }
            HistoryRange::Before(before) => {
                self.looked = Some((if page.complete { 0 } else { next.max(1) }, last.unwrap_or(before)));
                let below = match first {
                    None if page.complete => "that was the first message",
                    None => "nothing for you there: /older goes on",
                    Some(_) => "so far; /older and /newer go on, new messages follow",
                };
                (first.map(|_| "earlier:"), Some(below))
            }
            HistoryRange::After(after) => {
                let upto = if page.complete { page.head } else { next.max(last.unwrap_or(after)) };
                self.looked = Some((first.unwrap_or(after), upto));
                // What waits may be on this page.
                self.shown_seq = self.shown_seq.max(last.unwrap_or(0));
                let below = match (first, page.complete) {
                    (None, true) => "nothing there",
                    (_, true) => "that is the newest message",
                    (_, false) => "so far; /newer goes on",
                };
                (first.map(|_| "later:"), Some(below))
            }
        }
    }
}
