//! What a core does with groups: it asks for what [`Groups`] says is missing, brings the answers, and hands messages on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nearport_session as session;
use nearport_wire::body::{self, group_event::What as GroupWhat, group_topic_change::How, target::Target};
use nearport_wire::{Class, Kind, Lane};
use prost::Message as _;

use super::groups::{Begin, Entry, Given, Groups, Head, Page, Pull, Stand};
use super::inbox::Mark;
use super::{Asked, Core, CoreConfig, State};
use crate::config::{FROM_NOW, Follow, Receive};
use crate::event::{Event, Message};

/// Messages asked for in one page.
const PULL_ENTRIES: u32 = 100;

/// The error of a server that does not know a request: it has no groups.
const UNKNOWN_REQUEST: u32 = 60009;

/// The groups of a new core.
pub(super) fn groups(config: &CoreConfig) -> Groups<body::Delivery> {
    let begin = match (config.follow, config.cursor) {
        (Follow::SinceJoined, _) => Begin::Joined,
        (_, Some(FROM_NOW)) => Begin::Now,
        _ => Begin::Remembered,
    };
    let stands = config.groups.iter().map(|cursor| Stand {
        group: cursor.group.as_str().into(),
        seq: cursor.seq,
        edit: cursor.edit,
    });
    Groups::new(stands, begin)
}

impl Core {
    /// A session begins at `cursor` of the user's log.
    pub(super) fn begin_following(&mut self, cursor: u64, from_server: bool) {
        self.follows = self.config.follow != Follow::Nothing && self.config.receive == Receive::Everything;
        if self.follows {
            // Only a device that has been here has a cursor of its own.
            let known = if from_server { cursor > 0 } else { true };
            self.groups.begin_session(known);
        }
    }

    /// The user is in another group, or in one less.
    pub(super) fn groups_behind(&mut self) {
        if self.follows {
            self.groups.want_heads();
        }
    }

    /// Topics of a community have come or gone.
    fn take_topics(&mut self, now: Instant, topics: &[body::GroupTopicChange]) {
        for topic in topics.iter().filter(|_| self.follows) {
            match topic.how() {
                How::Created => self.groups.begin(now, &topic.topic, topic.seq),
                How::Destroyed => self.groups.end(&topic.topic),
                How::Changed => {}
            }
        }
    }

    pub(super) fn take_group_push(&mut self, now: Instant, seq: u64, delivery: body::Delivery) {
        let Some(group) = group_of(&delivery).filter(|_| self.follows) else { return };
        if seq == 0 {
            // Topics are sent with their community: what the user does not want of them ends here.
            if self.groups.discards(&group) {
                return;
            }
            let bytes = delivery.encoded_len();
            return self.inbox.hint(Event::Transient(Message::from_delivery(0, delivery)), bytes);
        }
        self.groups.push(now, &group, Entry { seq, edit: delivery.edit, message: delivery });
        self.pass_on_groups();
    }

    pub(super) fn take_group_change(&mut self, now: Instant, group: &str, delivery: body::Delivery) {
        if self.follows {
            let (seq, edit) = (delivery.seq, delivery.edit);
            self.groups.push_change(now, group, Entry { seq, edit, message: delivery });
            self.pass_on_groups();
        }
    }

    /// The answer to an own send named its place in the group; 0: it has none.
    pub(super) fn own_group_message(&mut self, now: Instant, group: &str, seq: u64) {
        if self.follows && seq > 0 {
            self.groups.own(now, group, seq);
            self.pass_on_groups();
        }
    }

    fn pass_on_groups(&mut self) {
        while let Some((group, given)) = self.groups.poll_given() {
            match given {
                Given::Message(Entry { seq, message, .. }) => match self.own_counter(&message) {
                    // Its answer was lost, or is still on its way.
                    Some(counter) => {
                        self.settle_by_log(counter, &message);
                        self.groups.settled(self.inbox.now(), &group);
                        if message.edit > 0 {
                            let bytes = message.encoded_len();
                            self.inbox.hint(Event::changed(Message::from_delivery(0, message)), bytes);
                        }
                    }
                    None => {
                        self.groups.queued(&group, seq);
                        let bytes = message.encoded_len();
                        let event = Event::Message(Message::from_delivery(0, message));
                        self.inbox.of_group(event, bytes, Mark::Group(group, seq));
                    }
                },
                Given::Changed(number, entry) => {
                    self.groups.queued_change(&group, number);
                    let bytes = entry.message.encoded_len();
                    let event = Event::changed(Message::from_delivery(0, entry.message));
                    self.inbox.of_group(event, bytes, Mark::Change(group, number));
                }
            }
        }
    }

    /// What was taken last is shown.
    pub(super) fn shown_so_far(&mut self) {
        match self.inbox.shown_so_far() {
            Mark::Group(group, seq) => self.groups.show(self.inbox.now(), &group, seq),
            Mark::Change(group, number) => self.groups.show_change(&group, number),
            Mark::None | Mark::Log(_) => {}
        }
    }

    /// Asks for what is missing, and says what was shown.
    pub(super) fn pump_groups(&mut self, now: Instant) {
        if !self.follows || self.state != State::Live {
            return;
        }
        self.tell_shown(now, false);
        // What comes would only wait.
        while self.inbox.has_room() {
            let Some(pull) = self.groups.next_pull(now) else { return };
            let Some(session) = &mut self.session else { return };
            let (kind, body) = question(&pull);
            match session.request(now, Lane::Bulk, kind, &body) {
                Some(id) => {
                    self.asked.insert(id, Asked::Pull(pull));
                }
                None => return self.groups.put_back(&pull),
            }
        }
    }

    pub(super) fn tell_shown(&mut self, now: Instant, at_once: bool) {
        if !self.follows {
            return;
        }
        let Some(shown) = self.groups.take_shown(now, at_once) else { return };
        let groups =
            shown.iter().map(|(group, seq)| body::ShownGroup { group: group.as_ref().into(), seq: *seq });
        let amend = body::amend::Amend::Shown(body::Shown { groups: groups.collect() });
        let body = body::Amend { amend: Some(amend) }.encode_to_vec();
        let id =
            self.session.as_mut().and_then(|session| session.request(now, Lane::Chat, Kind::AMEND, &body));
        match id {
            Some(id) => {
                self.asked.insert(id, Asked::Shown(shown));
            }
            None => self.groups.told(now, &shown, false),
        }
    }

    pub(super) fn take_shown_answer(
        &mut self,
        now: Instant,
        shown: &[(Arc<str>, u64)],
        result: &Result<Bytes, session::Failure>,
    ) {
        // A refusal would be the same the next time; at worst this device shows something again in its next life.
        let for_good =
            matches!(result, Err(session::Failure::Refused { retry_after, .. }) if retry_after.is_zero());
        self.groups.told(now, shown, result.is_ok() || for_good);
    }

    pub(super) fn take_pull(&mut self, now: Instant, pull: &Pull, result: Result<Bytes, session::Failure>) {
        let failure = match result {
            Ok(answer) => match self.take_pulled(now, pull, answer) {
                Ok(()) => return self.pass_on_groups(),
                // From a server that is younger, or broken: asked again, in longer and longer intervals.
                Err(_) => session::Failure::Timeout,
            },
            Err(failure) => failure,
        };
        let (retry_after, for_good) = match &failure {
            session::Failure::Refused { code: UNKNOWN_REQUEST, .. } => {
                self.follows = false;
                return;
            }
            session::Failure::Refused { retry_after, .. } => (*retry_after, retry_after.is_zero()),
            session::Failure::Timeout => (Duration::ZERO, false),
        };
        match pull {
            Pull::Heads => self.groups.heads_failed(now, retry_after),
            Pull::Messages { group, .. } | Pull::Changes { group, .. } => {
                self.groups.pull_failed(now, group, retry_after, for_good);
            }
        }
        self.suspect(now, &failure);
    }

    fn take_pulled(&mut self, now: Instant, pull: &Pull, answer: Bytes) -> Result<(), prost::DecodeError> {
        match pull {
            Pull::Heads => {
                let answer = body::GroupAnswer::decode(answer)?.answer;
                let heads = match answer {
                    Some(body::group_answer::Answer::Heads(heads)) => heads,
                    _ => body::GroupHeads::default(),
                };
                self.groups.topics_are_cut(heads.topics_cut);
                let heads = heads.items.into_iter().map(|head| Head {
                    group: head.group.into(),
                    seq: head.seq,
                    edit: head.edit,
                    // A server that is older says no more than the number.
                    shown: (head.known || head.shown > 0).then_some(head.shown),
                    joined: head.joined.max(head.history_after),
                    discarded: head.discarded,
                });
                self.groups.take_heads(now, heads.collect(), true);
            }
            Pull::Messages { group, .. } => {
                self.groups.take_page(now, group, page_of(body::HistoryPage::decode(answer)?));
            }
            Pull::Changes { group, .. } => {
                self.groups.take_changes(now, group, page_of(body::HistoryPage::decode(answer)?));
            }
        }
        Ok(())
    }

    pub(super) fn groups_timeout(&self) -> Option<Instant> {
        self.groups.poll_timeout().filter(|_| self.follows)
    }
}

/// The request that a pull stands for.
fn question(pull: &Pull) -> (Kind, Vec<u8>) {
    let (group, after, changes_after) = match pull {
        Pull::Heads => {
            let call = body::group_call::Call::Heads(body::GroupHeadsCall::default());
            return (Kind::GROUP, body::GroupCall { call: Some(call) }.encode_to_vec());
        }
        Pull::Messages { group, after } => (group, Some(*after), None),
        Pull::Changes { group, after } => (group, None, Some(*after)),
    };
    let with = Some(body::Target { target: Some(Target::Group(group.as_ref().into())) });
    let history =
        body::History { with, after, changes_after, limit: PULL_ENTRIES, ..body::History::default() };
    (Kind::HISTORY, history.encode_to_vec())
}

/// A page speaks for what lies in front of its `next`, and for no more: its `head` is read after it, and a message that was stored
/// in between is not in it.
fn page_of(page: body::HistoryPage) -> Page<body::Delivery> {
    let (upto, entries) = (page.next, page.deliveries.into_iter());
    let entries = entries.map(|delivery| Entry { seq: delivery.seq, edit: delivery.edit, message: delivery });
    Page { entries: entries.collect(), upto, complete: page.complete }
}

fn group_of(delivery: &body::Delivery) -> Option<Arc<str>> {
    match delivery.message.as_ref()?.to.as_ref()?.target.as_ref()? {
        Target::Group(group) => Some(group.as_str().into()),
        _ => None,
    }
}

impl Core {
    /// Something else of interest. What is not known is from a younger server.
    pub(super) fn take_hint(&mut self, now: Instant, hint: Bytes) {
        let bytes = hint.len();
        let Ok(body::Event { event: Some(event) }) = body::Event::decode(hint) else { return };
        match event {
            body::event::Event::GroupChange(body::GroupChange { group, delivery: Some(delivery) }) => {
                self.take_group_change(now, &group, delivery);
            }
            body::event::Event::Receipted(body::Receipted { with, user, seqs }) => {
                if let Some(with) = with.and_then(|with| with.target) {
                    self.inbox.hint(Event::Receipts { with, user, seqs }, bytes);
                }
            }
            body::event::Event::Hidden(body::Hidden { with, seqs }) => {
                if let Some(with) = with.and_then(|with| with.target) {
                    self.inbox.hint(Event::Hidden { with, seqs }, bytes);
                }
            }
            body::event::Event::Cleared(body::Cleared { with, seq }) => {
                if let Some(with) = with.and_then(|with| with.target) {
                    self.inbox.hint(Event::Cleared { with, seq }, bytes);
                }
            }
            body::event::Event::People(people) => self.inbox.hint(Event::People(people), bytes),
            body::event::Event::Group(group) => {
                let others = [GroupWhat::Joined, GroupWhat::Gone];
                if others.contains(&group.what()) {
                    self.groups_behind();
                }
                self.take_topics(now, &group.topics);
                self.inbox.hint(Event::Group(group), bytes);
            }
            body::event::Event::GroupChange(_) => {}
        }
    }

    pub(super) fn take_live_frame(&mut self, class: u64, frame: Bytes) {
        let bytes = frame.len();
        let Ok(frame) = body::LiveFrame::decode(frame) else { return };
        let missed = self.live_rooms.take(&frame.room, Class::of(class), frame.counts.as_ref());
        self.inbox.hint(Event::Live { frame, missed }, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_was_stored_behind_a_complete_page_is_not_jumped_over() {
        let delivery = body::Delivery { seq: 10, ..body::Delivery::default() };
        let page = body::HistoryPage {
            deliveries: vec![delivery],
            complete: true,
            head: 11,
            next: 10,
            ..body::HistoryPage::default()
        };
        let (mut groups, now) = (groups_at("g", 9), Instant::now());
        groups.begin_session(true);
        assert_eq!(groups.next_pull(now), Some(Pull::Heads));
        let head = Head { group: "g".into(), seq: 11, edit: 0, shown: Some(9), joined: 0, discarded: false };
        groups.take_heads(now, vec![head], true);
        assert!(matches!(groups.next_pull(now), Some(Pull::Messages { after: 9, .. })));
        groups.take_page(now, "g", page_of(page));
        let push = body::Delivery { seq: 11, ..body::Delivery::default() };
        groups.push(now, "g", Entry { seq: 11, edit: 0, message: push });
        let given = std::iter::from_fn(|| groups.poll_given()).map(|(_, given)| match given {
            Given::Message(entry) => entry.seq,
            Given::Changed(..) => 0,
        });
        assert_eq!(given.collect::<Vec<_>>(), [10, 11]);
    }

    fn groups_at(group: &str, seq: u64) -> Groups<body::Delivery> {
        Groups::new([Stand { group: group.into(), seq, edit: 0 }], Begin::Remembered)
    }
}
