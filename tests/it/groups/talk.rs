//! What comes of an act that is about messages.

use nearport_client::groups::GroupHead;
use nearport_client::live::text_of;
use nearport_client::{
    Content, Event, Failure, HistoryQuery, HistoryRange, Kind, Lane, Mentions, Message, MsgId, PostError,
    Priority, RequestError, SendControl, SendOptions, Sent, Target, Tip, text,
};
use nearport_wire::body::{self, GroupEvent, group_event};
use prost::Message as _;

use super::act::{Act, Hint, Msg, Which, Who};
use super::scene::{Said, Scene};
use crate::contract::{Cell, Got};

/// Place of the class "chat" in the counts of a live room.
const CHAT: usize = 2;

impl Scene<'_> {
    pub(super) async fn talk(&mut self, who: Who, act: Act, want: Option<Cell>) -> Got {
        let (client, with) = (self.client(who).clone(), self.target_of(who));
        match act {
            Act::Say(Msg::Again) => self.say_again(who).await,
            Act::Say(message) => self.say(who, message).await,
            Act::Read => {
                let all = self.history(&client, with).await;
                all.map(|all| words_in(&all)).into()
            }
            Act::Shows(which) => {
                let seq = self.seq(which).await;
                let all = self.history(&client, with).await;
                all.map(|all| state(all.iter().find(|message| message.seq == seq))).into()
            }
            Act::Recall(which) => client.recall(with, self.seq(which).await, "").await.into(),
            Act::Change(which) => {
                let elements = text("changed").elements;
                client.edit(with, self.seq(which).await, elements).await.into()
            }
            Act::Delete(which) => client.delete(with, vec![self.seq(which).await]).await.map(|_| ()).into(),
            Act::Clear => client.clear(with, 0).await.map(|_| ()).into(),
            Act::Confirm(which) => match client.confirm_read(with, vec![self.seq(which).await]).await {
                Ok(confirmed) if confirmed.invalid.is_empty() => Got::Done,
                other => other.map(|_| "nothing").into(),
            },
            Act::Readers => {
                let readers = client.readers(with, self.seq(Which::Last).await, "", 100, false).await;
                let named = |read: nearport_client::Readers| {
                    assert!(self.cast.row.is_none() || read.names.len() == read.read as usize, "{read:?}");
                    format!("{} of {}", read.read, read.read + read.unread)
                };
                readers.map(named).into()
            }
            Act::MarkRead(which) => client.mark_read(with, self.seq(which).await).await.into(),
            Act::Unread => self.head(who).await.map_or(Got::Nobody, |head| head.unread.into()),
            Act::ReadUpTo => self
                .head(who)
                .await
                .map_or(Got::Nobody, |head| self.said.seq.saturating_sub(head.read).into()),
            Act::Listed => self.listed(who).await,
            Act::Tips(kind) => {
                let all = self.history(&client, with).await;
                let tips = |all: Vec<Message>| {
                    all.iter().filter(|message| message.tip().is_some_and(|tip| tip.r#type == kind)).count()
                };
                all.map(tips).into()
            }
            Act::Notices(kind) => {
                let all = self.notices(&client).await;
                let notices = all.iter().filter_map(Message::notice);
                notices.filter(|notice| notice.group == self.id && notice.r#type == kind).count().into()
            }
            Act::Hears => {
                let said = self.said.clone();
                self.comes(who, "a message", want, |event| self.brings(event, &said)).await
            }
            Act::Told(hint) => self.comes(who, "a hint", want, |event| self.is_hint(event, who, hint)).await,
            Act::Pass(ms) => {
                self.pass(ms).await;
                Got::Done
            }
            Act::TipSays(kind) => {
                let all = self.history(&client, with).await;
                let tip = |all: Vec<Message>| {
                    let tip =
                        all.iter().rev().filter_map(Message::tip).find(|tip| tip.r#type == kind).cloned();
                    tip.map_or_else(|| "none".to_owned(), |tip| self.tip_text(&tip))
                };
                all.map(tip).into()
            }
            Act::NoticesAll => self.notices(&client).await.len().into(),
            Act::NoticeSays(kind) => {
                let all = self.notices(&client).await;
                let mut notices = all.iter().rev().filter_map(Message::notice);
                let found = notices.find(|notice| notice.group == self.id && notice.r#type == kind);
                found.map_or_else(
                    || "none".into(),
                    |one| format!("{}: {}", self.role_of(&one.operator), one.text).into(),
                )
            }
            Act::Orders => {
                let all = self.history(&client, with).await;
                let whole = |all: Vec<Message>| {
                    all.windows(2).all(|two| two[1].seq == two[0].seq + 1 && two[1].time_ms >= two[0].time_ms)
                };
                all.map(whole).into()
            }
            Act::MsgKey => {
                let all = self.history(&client, with).await;
                let same =
                    |all: Vec<Message>| all.last().is_some_and(|last| last.msg_key == self.said.msg_key);
                all.map(same).into()
            }
            Act::Mentioned => {
                let all = self.history(&client, with).await;
                all.map(|all| self.mentioned(who, all.iter().rfind(|message| message.tip().is_none()))).into()
            }
            Act::PagedBack(limit) => self.paged_back(who, limit).await,
            Act::Page(limit) => {
                let page = client.history(with, HistoryRange::After(self.since), limit).await;
                page.map(|page| page.messages.len()).into()
            }
            Act::FromLast => {
                let query = HistoryQuery {
                    from_ms: self.said.time_ms,
                    ..HistoryQuery::new(HistoryRange::Newest, 200)
                };
                client.history_of(with, query).await.map(|page| words_in(&page.messages)).into()
            }
            Act::UpToLast => {
                let range = HistoryRange::After(self.since);
                let query = HistoryQuery { to_ms: self.said.time_ms, ..HistoryQuery::new(range, 200) };
                client.history_of(with, query).await.map(|page| words_in(&page.messages)).into()
            }
            Act::ConfirmMany(count) => match client.confirm_read(with, (1..=count).collect()).await {
                Ok(confirmed) if confirmed.invalid.is_empty() => Got::Done,
                other => other.map(|_| "nothing").into(),
            },
            Act::DeleteMany(count) => client.delete(with, (1..=count).collect()).await.map(|_| ()).into(),
            // A group has many.
            Act::PeerRead if self.cast.row.is_some() => Got::Nobody,
            Act::PeerRead => {
                let page = client.history(with, HistoryRange::Newest, 1).await;
                page.map(|page| self.said.seq.saturating_sub(page.peer_read)).into()
            }
            Act::ListedLast => match self.conversation(who).await {
                None => "missing".into(),
                Some(one) => {
                    let id =
                        one.last.and_then(|last| last.message).map(|message| message.client_msg_id.to_vec());
                    (id.as_ref() == Some(&self.said.client_msg_id)).into()
                }
            },
            Act::Heard => self.heard(who).await,
            Act::Flood(count) => self.flood(who, count).await,
            Act::InRate => self.in_rate(who).await,
            other => panic!("{other:?} is not about messages"),
        }
    }

    async fn say(&mut self, who: Who, message: Msg) -> Got {
        let mut options = SendOptions::default();
        let device = self.cast.device(who);
        let mut words = format!("{} of {}", self.cast.count(), self.id);
        let mentions = |users| Some(Mentions { users, all: false });
        match message {
            Msg::Plain => {}
            Msg::Saying(text) => words = text.text(),
            Msg::All => options.mentions = Some(Mentions { users: Vec::new(), all: true }),
            Msg::Mentions(whom) => options.mentions = mentions(vec![self.cast.name(whom).to_owned()]),
            Msg::MentionsMany(count) => {
                options.mentions = mentions((0..count).map(|n| format!("user{n}")).collect());
            }
            Msg::Receipt => options.need_receipt = true,
            Msg::OnlineOnly => options.online_only = true,
            Msg::NoUnread => options.control = Some(SendControl { no_unread: true, no_last_message: false }),
            Msg::Unlisted => options.control = Some(SendControl { no_unread: false, no_last_message: true }),
            Msg::High => options.priority = Priority::High,
            Msg::Low => options.priority = Priority::Low,
            Msg::Lowest => options.priority = Priority::Lowest,
            Msg::Life(seconds) => options.life_time_s = seconds,
            Msg::Again => unreachable!("said elsewhere"),
        }
        let content = text(&*words);
        let id = match device.client.post_with(self.target_of(who), content.clone(), options) {
            Ok(id) => id,
            // The SDK knows what the server would say. Does it?
            Err(PostError::Content(error)) => {
                let got = self.send_raw(who, vec![7; 16], content).await;
                assert_eq!(got.clone().map(|_| ()).map_err(code_of), Err(error.code()), "{got:?}");
                return Got::Code(error.code());
            }
            Err(other) => panic!("not sent: {other}"),
        };
        match self.outcome(who, id).await {
            Ok(sent) => {
                let (by, client_msg_id) = (device.name.clone(), id.as_bytes().to_vec());
                let Sent { seq, time_ms, msg_key, .. } = sent;
                self.said = Said { by, text: words, seq, time_ms, msg_key, client_msg_id };
                Got::Done
            }
            Err(Failure::Refused { code, .. }) => Got::Code(code),
            Err(other) => panic!("no outcome: {other}"),
        }
    }

    async fn outcome(&self, who: Who, id: MsgId) -> Result<Sent, Failure> {
        let find = |events: &[Event]| {
            events.iter().find_map(|event| match event {
                Event::Sent { id: of, sent } if *of == id => Some(Ok(sent.clone())),
                Event::Failed { id: of, failure } if *of == id => Some(Err(failure.clone())),
                _ => None,
            })
        };
        self.cast.device(who).until("an outcome", find).await
    }

    async fn send_raw(&self, who: Who, id: Vec<u8>, content: Content) -> Result<body::Sent, RequestError> {
        let send = body::Send {
            client_msg_id: id.into(),
            to: Some(body::Target { target: Some(self.target_of(who)) }),
            content: Some(content),
            ..body::Send::default()
        };
        let sent = self.client(who).request(Lane::Chat, Kind::SEND, send.encode_to_vec().into()).await?;
        Ok(body::Sent::decode(sent).unwrap())
    }

    /// What was said last, under the same id: "again" if the server knows it.
    async fn say_again(&self, who: Who) -> Got {
        let sent = self.send_raw(who, self.said.client_msg_id.clone(), text(&*self.said.text)).await;
        sent.map(|sent| if sent.duplicate && sent.seq == self.said.seq { "again" } else { "anew" }).into()
    }

    /// Says something else, and counts how often what was said before has come to `who` in front of it.
    async fn heard(&mut self, who: Who) -> Got {
        let before = self.said.clone();
        self.say(Who::Owner, Msg::Plain).await;
        assert_eq!(Box::pin(self.talk(who, Act::Hears, Some(Cell::Says("yes")))).await, Got::from(true));
        let events = self.cast.device(who).events();
        events.iter().filter(|event| self.brings(event, &before)).count().into()
    }

    /// Whether an event is a message that was said.
    fn brings(&self, event: &Event, said: &Said) -> bool {
        match event {
            Event::Message(message) | Event::Transient(message) => {
                self.is_here(message) && message.text() == said.text && message.from == said.by
            }
            Event::Live { frame, .. } => frame.room == self.id && text_of(frame) == Some(&said.text),
            _ => false,
        }
    }

    async fn flood(&mut self, who: Who, count: usize) -> Got {
        let client = self.client(who).clone();
        let ids: Vec<_> = (0..count)
            .map(|n| client.post(self.target_of(who), text(format!("flood {n}"))).unwrap())
            .collect();
        for id in ids {
            match self.outcome(who, id).await {
                Ok(sent) => self.flood.push(sent),
                Err(failure) => panic!("what is above the rate looks sent, too: {failure}"),
            }
        }
        Got::Done
    }

    /// What became of a flood: those that have a place are there, no others are, and they are as many as the rate takes.
    async fn in_rate(&self, who: Who) -> Got {
        let times: Vec<u64> = if self.cast.is_room() {
            self.room_has_counted(who, self.flood.len() as u64 + 1).await
        } else {
            let placed = self.flood.iter().filter(|sent| sent.seq > 0).map(|sent| sent.seq);
            let all = self.history(self.client(who), self.target_of(who)).await.unwrap();
            let kept: Vec<_> = all.iter().filter(|message| message.text().starts_with("flood")).collect();
            let seqs: Vec<_> = kept.iter().map(|message| message.seq).collect();
            let mut placed: Vec<_> = placed.collect();
            placed.sort_unstable();
            assert_eq!(seqs, placed, "what was told to be sent, and has a place, is there");
            kept.iter().map(|message| message.time_ms).collect()
        };
        if times.len() == self.flood.len() && self.cast.row.is_none() {
            return "all".into();
        }
        let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        // One second's worth, and what has come meanwhile.
        let most = 40 + (last - first) * 40 / 1000 + 1;
        match (30..=most).contains(&(times.len() as u64)) {
            true => "within the rate".into(),
            false => format!("{} of {most}", times.len()).into(),
        }
    }

    /// Waits until a live room has counted `wanted` messages, and each of them has come or is counted as missed. Gives the times of
    /// those of a flood that have come.
    async fn room_has_counted(&self, who: Who, wanted: u64) -> Vec<u64> {
        let device = self.cast.device(who);
        device
            .until("the counts of the room", |events| {
                let (mut left_out, mut frames) = (0, Vec::new());
                for event in events {
                    if let Event::Live { frame, missed } = event
                        && frame.room == self.id
                    {
                        // Of a device that reads slowly the server leaves some out, and says so.
                        left_out = missed.left_out.chat;
                        frames.push(frame);
                    }
                }
                let counts = frames.iter().filter_map(|frame| frame.counts.as_ref());
                let (taken, folded) = counts.map(|counts| (counts.taken[CHAT], counts.folded[CHAT])).max()?;
                let flood = frames
                    .iter()
                    .filter(|frame| text_of(frame).is_some_and(|text| text.starts_with("flood")));
                let times: Vec<_> =
                    flood.filter_map(|frame| Some(frame.delivery.as_ref()?.time_ms)).collect();
                (taken == wanted && times.len() as u64 + 1 + folded + left_out == wanted).then_some(times)
            })
            .await
    }

    async fn paged_back(&self, who: Who, limit: u32) -> Got {
        let (client, mut range, mut all) = (self.client(who), HistoryRange::Newest, Vec::new());
        loop {
            let page = match client.history(self.target_of(who), range, limit).await {
                Ok(page) => page,
                Err(error) => return Err::<(), _>(error).into(),
            };
            assert!(page.messages.len() <= limit as usize);
            all.extend(page.messages.into_iter().filter(|message| message.seq > self.since));
            if page.complete || page.next <= self.since {
                break;
            }
            range = HistoryRange::Before(page.next);
        }
        assert!(all.windows(2).all(|two| two[0].seq > two[1].seq), "{all:?}");
        words_in(&all).into()
    }

    fn tip_text(&self, tip: &Tip) -> String {
        let changes = tip.changes.iter().map(|change| format!("{}={}", change.field, change.value));
        let of_member = |change: &body::TipMemberChange| {
            format!("{} muted {}", self.role_of(&change.member), change.mute_s)
        };
        let mut what: Vec<_> = changes.chain(tip.member_changes.iter().map(of_member)).collect();
        if what.is_empty() {
            what.extend(tip.members.iter().map(|member| self.role_of(member).to_owned()));
        }
        format!("{}: {}, {}", self.role_of(&tip.operator), what.join(" "), tip.member_count)
    }

    fn mentioned(&self, who: Who, message: Option<&Message>) -> &'static str {
        match message.and_then(|message| message.mentions.as_ref()) {
            None => "nobody",
            Some(mentions) if mentions.all => "all",
            Some(mentions) if mentions.users.iter().any(|name| name == self.cast.name(who)) => "me",
            Some(_) => "others",
        }
    }

    /// All that the system has told a user, oldest first.
    async fn notices(&self, client: &nearport_client::Client) -> Vec<Message> {
        client.flush().await.unwrap();
        let page = client.history(Target::Notices(true), HistoryRange::Newest, 200).await.unwrap();
        page.messages.into_iter().rev().collect()
    }

    async fn head(&self, who: Who) -> Option<GroupHead> {
        let client = self.client(who);
        client.flush().await.unwrap();
        client.group_heads().await.unwrap().into_iter().find(|head| head.group == self.id)
    }

    /// The conversation as the list of `who` has it.
    async fn conversation(&self, who: Who) -> Option<body::Conversation> {
        let (client, with) = (self.client(who), self.target_of(who));
        client.flush().await.unwrap();
        let page = client.conversations("", 100).await.unwrap();
        page.conversations
            .into_iter()
            .find(|one| one.with.as_ref().and_then(|with| with.target.as_ref()) == Some(&with))
    }

    /// What is unread in it, if it is in the list.
    async fn listed(&self, who: Who) -> Got {
        self.conversation(who).await.map_or_else(|| "missing".into(), |one| one.unread.into())
    }

    fn is_hint(&self, event: &Event, who: Who, hint: Hint) -> bool {
        let here = |with: &Target| *with == self.target_of(who);
        let changed = |event: &GroupEvent, what| event.group == self.id && event.what() == what;
        match (hint, event) {
            (Hint::Recalled, Event::Recalled(message)) | (Hint::Edited, Event::Edited(message)) => {
                self.is_here(message)
            }
            (Hint::Receipt, Event::Receipts { with, .. })
            | (Hint::Hidden, Event::Hidden { with, .. })
            | (Hint::Cleared, Event::Cleared { with, .. }) => here(with),
            (Hint::ReadElsewhere, Event::Read { user, with, .. }) => {
                *user == self.cast.name(who) && here(with)
            }
            (Hint::PeerRead, Event::Read { user, with, .. }) => {
                *user == self.cast.name(Who::Member) && *with == self.target_of(Who::Member)
            }
            (Hint::Tip(kind), Event::Message(message)) => {
                self.is_here(message) && message.tip().is_some_and(|tip| tip.r#type == kind)
            }
            (Hint::Tip(kind), Event::Live { frame, .. }) => {
                let message = frame.delivery.as_ref().and_then(|delivery| delivery.message.as_ref());
                let elements =
                    message.and_then(|message| message.content.as_ref()).map(|content| &content.elements);
                let is_tip = |element: &body::Element| matches!(&element.element, Some(body::element::Element::Tip(tip)) if tip.r#type == kind);
                frame.room == self.id && elements.is_some_and(|all| all.iter().any(is_tip))
            }
            (Hint::Attributes, Event::Group(event)) => changed(event, group_event::What::Attributes),
            (Hint::Counters, Event::Group(event)) => changed(event, group_event::What::Counters),
            (Hint::Came, Event::Live { frame, .. }) => {
                frame.room == self.id && frame.notice.as_ref().is_some_and(|notice| notice.joined_count > 0)
            }
            (Hint::Went, Event::Live { frame, .. }) => {
                frame.room == self.id && frame.notice.as_ref().is_some_and(|notice| notice.left_count > 0)
            }
            _ => false,
        }
    }
}

/// Messages of users, without what the tables themselves need.
fn words_in(messages: &[Message]) -> usize {
    let words =
        |message: &&Message| message.tip().is_none() && !["fence", "tick"].contains(&&*message.text());
    messages.iter().filter(words).count()
}

fn code_of(error: RequestError) -> u32 {
    match error {
        RequestError::Failed(Failure::Refused { code, .. }) => code,
        other => panic!("{other}"),
    }
}

fn state(message: Option<&Message>) -> &'static str {
    match message {
        None => "missing",
        Some(message) if message.recalled.is_some() => "recalled",
        Some(message) if message.changed.is_some() => "changed",
        Some(_) => "kept",
    }
}
