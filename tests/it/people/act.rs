//! What the tables try between people, and what comes of it.

use nearport_client::people::{FriendApplicationAnswerType as Answered, Presence, TagValue};
use nearport_client::{Event, HistoryRange, PeopleEvent, Platform, RequestError, Target, group, text, user};
use nearport_wire::body::{
    self, UserStatus, people_answer::Answer, people_call::Call, people_event, tag_value::Value,
};

use crate::contract::stage::{Device, Stage};
use crate::contract::{Cell, Got, Text};

/// Who acts, or on whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Ann,
    Ben,
    Cat,
    /// Ann, on another device.
    AnnToo,
    /// There is no such user.
    Nobody,
    /// A name that cannot be: of zero width.
    Zero,
}

pub(super) use Who::{Ann, AnnToo, Ben, Cat, Nobody, Zero};

/// A conversation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Conv {
    With(Who),
    /// A group of that id, which need not exist.
    Group(&'static str),
    /// So many users, who need not exist.
    Many(usize),
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    // ---- profiles ----
    Set(&'static str, Held),
    Get(Who, &'static str),
    /// Of so many users.
    GetMany(usize),

    // ---- friends ----
    Add(Who),
    AddOneWay(Who),
    AddSaying(Who, Text),
    AddRemark(Who, Text),
    AddFrom(Who, &'static str),
    /// So many at once.
    AddMany(usize),
    Remark(Who, Text),
    FieldOf(Who, &'static str, Held),
    Part(Who),
    /// Friends of one's own.
    Friends,
    /// "both", "mine", "theirs" or "none".
    Tie(Who),
    /// How many applications came in and wait.
    Applications,
    Answers(Who, Answered),
    /// Whether an event about an application comes.
    Asked,
    Block(Who),
    Unblock(Who),
    Blocked,
    /// Makes a friend group.
    Circle(Text),
    /// Puts somebody into a friend group.
    Into(&'static str, Who),
    /// Looks a friend up.
    LookUp(Who),

    // ---- messages ----
    Write(Who),
    /// Messages of a conversation.
    Reads(Who),
    /// Whether the newest message of somebody comes.
    Hears(Who),

    // ---- presence ----
    /// "Online", "PushOnline", "Offline".
    Status(Who),
    /// How each kind of device of somebody is: waited for, as whoever watches is told of it.
    Platforms(Who),
    /// Sets the line beside the state.
    Busy(Text),
    TextOf(Who),
    Watch(Who),
    /// Whether an event says that somebody is so.
    Told(Who, &'static str),
    StatusOfMany(usize),
    /// Another session of one's own, on a device of that name and kind.
    On(&'static str, Platform),
    /// Ends that session without a word about it.
    Drop(&'static str),
    /// Logs out, and ends it.
    LogOut(&'static str),

    // ---- conversations ----
    Pin(Conv, bool),
    Mark(Conv, u64),
    Quiet(Conv),
    Draft(Conv, Text),
    Delete(Conv),
    Shelf(Text),
    /// So many conversation groups.
    Shelves(usize),
    DropShelf(&'static str),
    OnShelf(&'static str, Conv),
    /// Names of who is in the list, the first one first.
    List,
    /// In pages of so many.
    Listed(u32),
    /// A conversation of the list: unread, pinned, marks, quiet, draft, on shelves.
    Shown(Conv),
    Total,
    Read(Who),
    /// Whether an event says that the list has changed.
    Moved,
}

/// A value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    Words(Text),
    Number(u64),
    Nothing,
}

/// One row: what the contract says, the steps, and what comes of the last one.
pub(super) type Row = (&'static str, &'static [(Who, Act)], Cell);

/// People who have just come, and nobody knows each other.
pub(super) struct Scene<'a> {
    stage: &'a Stage,
    tag: String,
    people: Vec<Device>,
    further: Vec<(String, Device)>,
}

impl<'a> Scene<'a> {
    pub(super) async fn new(stage: &'a Stage, tag: &str) -> Self {
        let mut people = Vec::new();
        for name in ["ann", "ben", "cat"] {
            people.push(stage.login(&format!("{name}-{tag}")).await);
        }
        Self { stage, tag: tag.to_owned(), people, further: Vec::new() }
    }

    pub(super) async fn end(self) {
        for device in self.people.into_iter().chain(self.further.into_iter().map(|(_, device)| device)) {
            device.close().await;
        }
    }

    fn name(&self, who: Who) -> String {
        match who {
            Ann | AnnToo => format!("ann-{}", self.tag),
            Ben => format!("ben-{}", self.tag),
            Cat => format!("cat-{}", self.tag),
            Nobody => "nobody-at-all".into(),
            Zero => "an\u{200b}n".into(),
        }
    }

    fn who(&self, name: &str) -> &'static str {
        ["ann", "ben", "cat"].into_iter().find(|who| name == format!("{who}-{}", self.tag)).unwrap_or("other")
    }

    pub(super) fn device(&self, who: Who) -> &Device {
        match who {
            Ann => &self.people[0],
            Ben => &self.people[1],
            Cat => &self.people[2],
            AnnToo => {
                &self.further.iter().find(|(name, _)| name == "too").expect("Ann's second device is on").1
            }
            Nobody | Zero => panic!("{who:?} does nothing"),
        }
    }

    fn with(&self, conv: Conv) -> Vec<body::Target> {
        let one = |target| vec![body::Target { target: Some(target) }];
        match conv {
            Conv::With(who) => one(user(self.name(who))),
            Conv::Group(id) => one(group(id)),
            Conv::Many(count) => {
                (0..count).map(|n| body::Target { target: Some(user(format!("u{n}"))) }).collect()
            }
        }
    }

    async fn call(&self, who: Who, call: Call) -> Result<Answer, RequestError> {
        self.device(who).client.people_call(call).await
    }

    /// Done, or the code of the call or of its first item.
    async fn done(&self, who: Who, call: Call) -> Got {
        match self.call(who, call).await {
            Ok(Answer::Results(results)) => match results.items.first() {
                Some(item) if item.code > 0 => Got::Code(item.code),
                _ => Got::Done,
            },
            other => other.map(|_| ()).into(),
        }
    }

    pub(super) async fn act(&mut self, who: Who, act: Act, want: Option<Cell>) -> Got {
        match act {
            Act::On(name, platform) => {
                let device = self.stage.login_on(&self.name(who), name, platform).await;
                self.further.push((name.to_owned(), device));
                Got::Done
            }
            Act::Drop(name) | Act::LogOut(name) => {
                let at = self.further.iter().position(|(known, _)| known == name).expect("it is on");
                let (_, device) = self.further.remove(at);
                if matches!(act, Act::LogOut(_)) {
                    device.client.people_call(Call::LogOut(body::LogOut {})).await.unwrap();
                }
                device.close().await;
                Got::Done
            }
            Act::Set(..) | Act::Get(..) | Act::GetMany(_) => self.profile(who, act).await,
            Act::Write(to) => {
                let sent = self.device(who).client.send(user(self.name(to)), text("hello")).await;
                sent.map(|_| ()).into()
            }
            Act::Reads(of) => {
                let page =
                    self.device(who).client.history(user(self.name(of)), HistoryRange::Newest, 50).await;
                page.map(|page| page.messages.len()).into()
            }
            Act::Hears(from) => {
                let from = self.name(from);
                let find = |event: &Event| matches!(event, Event::Message(message) if message.from == from);
                self.comes(who, want, find).await
            }
            Act::Asked => {
                let find = |event: &Event| {
                    matches!(
                        event,
                        Event::People(PeopleEvent { event: Some(people_event::Event::Application(_)) })
                    )
                };
                self.comes(who, want, find).await
            }
            Act::Moved => {
                let find = |event: &Event| {
                    matches!(
                        event,
                        Event::People(PeopleEvent { event: Some(people_event::Event::Conversation(_)) })
                    )
                };
                self.comes(who, want, find).await
            }
            Act::Told(of, how) => {
                let name = self.name(of);
                let is = |status: &UserStatus| status.user == name && presence(status.presence()) == how;
                self.comes(who, want, |event| status_of(event).is_some_and(is)).await
            }
            Act::Platforms(of) => self.platforms(who, of, want).await,
            Act::Status(_) | Act::Busy(_) | Act::TextOf(_) | Act::Watch(_) | Act::StatusOfMany(_) => {
                self.presence(who, act).await
            }
            Act::Pin(..)
            | Act::Mark(..)
            | Act::Quiet(_)
            | Act::Draft(..)
            | Act::Delete(_)
            | Act::Shelf(_)
            | Act::Shelves(_)
            | Act::DropShelf(_)
            | Act::OnShelf(..)
            | Act::List
            | Act::Listed(_)
            | Act::Shown(_)
            | Act::Total
            | Act::Read(_) => self.conversation(who, act).await,
            act => self.relation(who, act).await,
        }
    }

    async fn comes(&self, who: Who, want: Option<Cell>, find: impl Fn(&Event) -> bool) -> Got {
        let device = self.device(who);
        if want == Some(Cell::Says("yes")) {
            device.until("an event", |events| events.iter().any(&find).then_some(())).await;
            return true.into();
        }
        // The outcome of what one says comes behind all that there was before.
        let id = device.client.post(user(&*device.name), text("fence")).unwrap();
        let sent = |events: &[Event]| {
            events.iter().any(|event| matches!(event, Event::Sent { id: of, .. } if *of == id)).then_some(())
        };
        device.until("a fence", sent).await;
        device.events().iter().any(find).into()
    }

    /// A session that has ended is out of the count a moment later, and that is told.
    async fn platforms(&self, who: Who, of: Who, want: Option<Cell>) -> Got {
        let (watcher, name) = (self.device(who), self.name(of));
        let now = watcher.client.subscribe_statuses(vec![name.clone()]).await.unwrap();
        let is = |status: &UserStatus| want.is_none_or(|want| Got::from(platforms(status)) == want);
        if is(&now[0]) {
            return platforms(&now[0]).into();
        }
        let find = |events: &[Event]| {
            let told = events.iter().filter_map(status_of).filter(|status| status.user == name);
            told.last().filter(|status| is(status)).map(platforms)
        };
        watcher.until(&format!("{want:?} of {name}, first {now:?}"), find).await.into()
    }

    async fn profile(&self, who: Who, act: Act) -> Got {
        match act {
            Act::Set(tag, held) => {
                let fields = vec![field(tag, held)];
                self.done(who, Call::ProfileSet(body::ProfileSet { fields })).await
            }
            Act::Get(of, tag) => {
                let (users, tags) = (vec![self.name(of)], vec![tag.to_owned()]);
                let profiles = self.device(who).client.profiles(users, tags).await;
                let shown = |profiles: Vec<body::UserProfile>| {
                    profiles[0].fields.first().map_or_else(|| "none".into(), shown)
                };
                profiles.map(shown).into()
            }
            Act::GetMany(count) => {
                let users = (0..count).map(|_| self.name(who)).collect();
                self.device(who).client.profiles(users, Vec::new()).await.map(|all| all.len()).into()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn relation(&self, who: Who, act: Act) -> Got {
        let client = &self.device(who).client;
        let add = |items: Vec<body::FriendAddItem>, single: bool| {
            Call::FriendAdd(body::FriendAdd { items, r#type: i32::from(single) })
        };
        let item = |whom| body::FriendAddItem { user: self.name(whom), ..body::FriendAddItem::default() };
        let update = |whom, fields| {
            let user = self.name(whom);
            let item = body::FriendUpdateItem { user, fields, ..body::FriendUpdateItem::default() };
            Call::FriendUpdate(body::FriendUpdate { items: vec![item] })
        };
        let call = match act {
            Act::Add(whom) => add(vec![item(whom)], false),
            Act::AddOneWay(whom) => add(vec![item(whom)], true),
            Act::AddSaying(whom, wording) => {
                add(vec![body::FriendAddItem { wording: wording.text(), ..item(whom) }], false)
            }
            Act::AddRemark(whom, remark) => {
                add(vec![body::FriendAddItem { remark: remark.text(), ..item(whom) }], false)
            }
            Act::AddFrom(whom, source) => {
                add(vec![body::FriendAddItem { source: source.into(), ..item(whom) }], false)
            }
            Act::AddMany(count) => add(vec![body::FriendAddItem::default(); count], false),
            Act::Remark(whom, remark) => update(whom, vec![field("Tag_SNS_IM_Remark", Held::Words(remark))]),
            Act::FieldOf(whom, tag, held) => update(whom, vec![field(tag, held)]),
            Act::Part(whom) => {
                Call::FriendDelete(body::FriendDelete { users: vec![self.name(whom)], both: true })
            }
            Act::Answers(whom, how) => Call::ApplicationAnswer(body::FriendApplicationAnswer {
                users: vec![self.name(whom)],
                r#type: how.into(),
                ..body::FriendApplicationAnswer::default()
            }),
            Act::Block(whom) => Call::BlockAdd(body::BlockAdd { users: vec![self.name(whom)] }),
            Act::Unblock(whom) => Call::BlockDelete(body::BlockDelete { users: vec![self.name(whom)] }),
            Act::Circle(name) => {
                Call::FriendGroupAdd(body::FriendGroupAdd { names: vec![name.text()], users: Vec::new() })
            }
            Act::Into(name, whom) => Call::FriendGroupMembers(body::FriendGroupMembers {
                name: name.into(),
                add: vec![self.name(whom)],
                remove: Vec::new(),
            }),
            Act::Friends => return client.friends(0, 0).await.map(|page| page.friends.len()).into(),
            Act::Applications => {
                return client
                    .friend_applications(0, 0, false)
                    .await
                    .map(|page| page.applications.len())
                    .into();
            }
            Act::Blocked => {
                return match self.call(who, Call::BlockList(body::BlockList::default())).await {
                    Ok(Answer::Blocks(page)) => page.blocks.len().into(),
                    other => panic!("{other:?}"),
                };
            }
            Act::Tie(whom) => {
                let check = body::FriendCheck { users: vec![self.name(whom)], both: true };
                return match self.call(who, Call::FriendCheck(check)).await {
                    Ok(Answer::FriendChecks(checks)) => match checks.items[0].relation() {
                        _ if checks.items[0].code > 0 => Got::Code(checks.items[0].code),
                        body::FriendRelation::None => "none".into(),
                        body::FriendRelation::AWithB => "mine".into(),
                        body::FriendRelation::BWithA => "theirs".into(),
                        body::FriendRelation::Both => "both".into(),
                    },
                    other => panic!("{other:?}"),
                };
            }
            Act::LookUp(whom) => {
                let get = body::FriendGet { users: vec![self.name(whom)], tags: Vec::new() };
                return match self.call(who, Call::FriendGet(get)).await {
                    Ok(Answer::FriendInfos(infos)) => match &infos.items[0] {
                        info if info.code > 0 => Got::Code(info.code),
                        info => info
                            .friend
                            .as_ref()
                            .map(|friend| friend.remark.clone())
                            .unwrap_or_default()
                            .into(),
                    },
                    other => panic!("{other:?}"),
                };
            }
            other => panic!("{other:?}"),
        };
        self.done(who, call).await
    }

    async fn presence(&self, who: Who, act: Act) -> Got {
        let client = &self.device(who).client;
        match act {
            Act::Status(of) | Act::TextOf(of) => match client.statuses(vec![self.name(of)]).await {
                Ok(statuses) if statuses[0].code > 0 => Got::Code(statuses[0].code),
                Ok(statuses) if matches!(act, Act::TextOf(_)) => statuses[0].text.clone().into(),
                other => other.map(|statuses| presence(statuses[0].presence())).into(),
            },
            Act::StatusOfMany(count) => {
                let users = (0..count).map(|_| self.name(who)).collect();
                client.statuses(users).await.map(|all| all.len()).into()
            }
            Act::Busy(words) => self.done(who, Call::StatusSet(body::StatusSet { text: words.text() })).await,
            Act::Watch(of) => client.subscribe_statuses(vec![self.name(of)]).await.map(|_| ()).into(),
            other => panic!("{other:?}"),
        }
    }

    async fn conversation(&self, who: Who, act: Act) -> Got {
        let client = &self.device(who).client;
        let call = match act {
            Act::Pin(conv, pinned) => {
                Call::ConversationPin(body::ConversationPin { with: self.with(conv), pinned })
            }
            Act::Mark(conv, set) => {
                Call::ConversationMark(body::ConversationMark { with: self.with(conv), set, clear: 0 })
            }
            Act::Quiet(conv) => {
                let mute = body::Disturb::Quiet.into();
                Call::ConversationMute(body::ConversationMute { with: self.with(conv), mute })
            }
            Act::Draft(conv, words) => Call::ConversationDraft(body::ConversationDraft {
                with: self.with(conv).into_iter().next(),
                text: words.text(),
            }),
            Act::Delete(conv) => Call::ConversationDelete(body::ConversationDelete { with: self.with(conv) }),
            Act::Shelf(name) => {
                let (name, with) = (name.text(), Vec::new());
                Call::ConversationGroupCreate(body::ConversationGroupCreate { name, with })
            }
            Act::Shelves(count) => {
                let mut got = Got::Done;
                for n in 0..count {
                    let create =
                        body::ConversationGroupCreate { name: format!("shelf{n}"), with: Vec::new() };
                    got = self.done(who, Call::ConversationGroupCreate(create)).await;
                }
                return got;
            }
            Act::DropShelf(name) => {
                Call::ConversationGroupDelete(body::ConversationGroupDelete { name: name.into() })
            }
            Act::OnShelf(name, conv) => Call::ConversationGroupMembers(body::ConversationGroupMembers {
                name: name.into(),
                add: self.with(conv),
                remove: Vec::new(),
            }),
            Act::List => return self.listed(who, 100).await.into(),
            Act::Listed(limit) => return self.listed(who, limit).await.into(),
            Act::Total => return client.unread_total().await.into(),
            Act::Read(whom) => {
                let with = user(self.name(whom));
                let head = client.history(with.clone(), HistoryRange::Newest, 1).await.unwrap().head;
                return client.mark_read(with, head).await.into();
            }
            Act::Shown(conv) => {
                let get = body::ConversationGet { with: self.with(conv) };
                return match self.call(who, Call::ConversationGet(get)).await {
                    Ok(Answer::Conversations(page)) => {
                        page.conversations.first().map_or_else(|| "missing".into(), fields_of).into()
                    }
                    other => other.map(|_| ()).into(),
                };
            }
            other => panic!("{other:?}"),
        };
        self.done(who, call).await
    }

    /// Who is in the list, in its order, read in pages.
    async fn listed(&self, who: Who, limit: u32) -> String {
        let client = &self.device(who).client;
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = client.conversations(&after, limit).await.unwrap();
            assert!(page.conversations.len() <= limit as usize);
            for one in &page.conversations {
                match one.with.as_ref().and_then(|with| with.target.as_ref()) {
                    Some(Target::User(name)) => names.push(self.who(name)),
                    other => panic!("{other:?}"),
                }
            }
            if page.complete {
                return names.join(" ");
            }
            after = page.next;
        }
    }
}

/// What the list says of a conversation, as far as it is not as it was in the beginning.
fn fields_of(one: &body::Conversation) -> String {
    let mut fields = vec![format!("{} unread", one.unread)];
    let mut note = |yes: bool, what: String| fields.extend(yes.then_some(what));
    note(one.pinned_ms > 0, "pinned".into());
    note(one.marks > 0, format!("marks {}", one.marks));
    note(one.mute() == body::Disturb::Quiet, "quiet".into());
    note(!one.draft.is_empty(), format!("draft {}", one.draft));
    note(!one.groups.is_empty(), format!("on {}", one.groups.join(" ")));
    fields.join(", ")
}

fn field(tag: &str, held: Held) -> TagValue {
    let value = match held {
        Held::Words(text) => Some(Value::Text(text.text())),
        Held::Number(number) => Some(Value::Number(number)),
        Held::Nothing => None,
    };
    TagValue { tag: tag.into(), value }
}

fn shown(field: &TagValue) -> String {
    match &field.value {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// How somebody is, if that is what an event tells.
pub(super) fn status_of(event: &Event) -> Option<&UserStatus> {
    match event {
        Event::People(PeopleEvent { event: Some(people_event::Event::Status(status)) }) => Some(status),
        _ => None,
    }
}

fn platforms(status: &UserStatus) -> String {
    let one = |of: &body::PlatformStatus| format!("{:?} {}", of.platform(), presence(of.presence()));
    status.platforms.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Online => "Online",
        Presence::PushOnline => "PushOnline",
        Presence::Offline => "Offline",
    }
}
