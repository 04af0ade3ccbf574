//! What a device's user does in a group: makes it, joins, leaves, takes back, changes, confirms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearport_client::core::{Answer, Core, Reply};
use nearport_client::{
    Event, Failure, GroupCursor, Kind, Lane, Priority, RequestId, SendOptions, group, text,
};
use nearport_wire::body::{self, amend::Amend, group_call::Call};
use prost::Message as _;

use crate::checker::{Seen, State};
use crate::history::{EDITED, MsgId, What};
use crate::plan::Act;
use crate::rng::Rng;

/// The group of a world.
pub(crate) const GROUP: &str = "hikers";
/// The live room of a world.
pub(crate) const ROOM: &str = "stage";

/// No such group yet: asked again later.
const NO_GROUP: u32 = 10010;
/// The id is taken, by oneself: made by an attempt before.
const MADE: [u32; 2] = [10021, 10025];
const AGAIN: Duration = Duration::from_millis(700);

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Create,
    Join,
    Leave,
    Amend {
        seq: u64,
        recalled: bool,
    },
    /// What a message to a user says.
    EditPair,
    Confirm(Vec<u64>),
}

/// What outlives a life of the software.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Which group the user makes, and whether that is done.
    pub(crate) makes: Option<&'static str>,
    pub(crate) made: bool,
    /// The user wants to be in the group.
    pub(super) wants_in: bool,
    /// In a live room at each start.
    pub(crate) room: bool,
    /// What the disk knows of groups.
    pub(crate) cursors: Vec<GroupCursor>,
}

impl Standing {
    /// While the device is off.
    pub(super) fn want(&mut self, act: Act) {
        match act {
            Act::Join => self.wants_in = true,
            Act::Leave => self.wants_in = false,
            Act::Recall | Act::Edit | Act::EditPair => {}
        }
    }
}

/// Of one life.
#[derive(Debug, Default)]
pub(super) struct Groups {
    asked: BTreeMap<RequestId, Asked>,
    /// Own messages of this life, and to which group.
    sent: BTreeMap<MsgId, &'static str>,
    /// Places of own messages that were acknowledged.
    own: Vec<u64>,
    /// Own messages of this life to users, and what they said when they were sent.
    to_users: BTreeMap<MsgId, (Arc<str>, Arc<str>)>,
    /// Of those the ones with a place.
    pairs: Vec<(Arc<str>, u64, Arc<str>)>,
    /// Edits of them.
    edits: u64,
    recalled: BTreeSet<u64>,
    /// When to ask again what could not be done.
    again: Option<Instant>,
}

fn seen(group: &'static str, seen: Seen) -> What {
    What::Group { group: group.into(), seen }
}

impl Groups {
    pub(super) fn begin(&mut self, now: Instant, core: &mut Core, standing: &Standing) {
        if standing.room {
            core.enter_live_room(ROOM);
        }
        self.ask_what_lacks(now, core, standing);
    }

    fn ask_what_lacks(&mut self, now: Instant, core: &mut Core, standing: &Standing) {
        if let (Some(name), false) = (standing.makes, standing.made) {
            let live = name == ROOM;
            let create = body::GroupCreate {
                r#type: if live { "AVChatRoom" } else { "Public" }.into(),
                name: name.into(),
                group: name.into(),
                join: if live {
                    body::GroupJoinOption::GroupJoinDefault
                } else {
                    body::GroupJoinOption::GroupJoinFree
                }
                .into(),
                ..body::GroupCreate::default()
            };
            self.call(now, core, Call::Create(create), Asked::Create);
        }
        if standing.wants_in && !self.asked.values().any(|asked| *asked == Asked::Join) {
            let join = body::GroupJoin { group: GROUP.into(), text: String::new() };
            self.call(now, core, Call::Join(join), Asked::Join);
        }
    }

    pub(super) fn act(
        &mut self,
        now: Instant,
        core: &mut Core,
        standing: &mut Standing,
        act: Act,
        rng: &mut Rng,
    ) {
        match act {
            Act::Join => {
                standing.wants_in = true;
                self.ask_what_lacks(now, core, standing);
            }
            Act::Leave => {
                standing.wants_in = false;
                let quit = body::GroupRef { group: GROUP.into() };
                self.call(now, core, Call::Quit(quit), Asked::Leave);
            }
            Act::EditPair => {
                if self.pairs.is_empty() {
                    return;
                }
                let (to, seq, words) = self.pairs[rng.index(self.pairs.len())].clone();
                self.edits += 1;
                let with = Some(body::Target { target: Some(nearport_client::user(&*to)) });
                let elements = text(format!("{words}{EDITED}{}", self.edits)).elements;
                let edit = Amend::Edit(body::Edit { with, seq, elements, cloud_custom_data: None });
                self.amend(now, core, edit, Asked::EditPair);
            }
            Act::Recall | Act::Edit => {
                let recalled = act == Act::Recall;
                let own: Vec<u64> =
                    self.own.iter().copied().filter(|seq| !self.recalled.contains(seq)).collect();
                if own.is_empty() {
                    return;
                }
                let seq = own[rng.index(own.len())];
                let with = Some(body::Target { target: Some(group(GROUP)) });
                let amend = if recalled {
                    self.recalled.insert(seq);
                    Amend::Recall(body::Recall { with, seq, reason: String::new() })
                } else {
                    let words = format!("other words for {seq}");
                    let elements = text(words).elements;
                    Amend::Edit(body::Edit { with, seq, elements, cloud_custom_data: None })
                };
                self.amend(now, core, amend, Asked::Amend { seq, recalled });
            }
        }
    }

    /// The options of a send; marks some as to be confirmed.
    pub(super) fn options(to: &'static str, rng: &mut Rng) -> SendOptions {
        let mut options = SendOptions::default();
        if to == ROOM {
            let all = [Priority::High, Priority::Normal, Priority::Normal, Priority::Low];
            options.priority = all[rng.index(all.len())];
        } else {
            options.need_receipt = rng.chance(300);
        }
        options
    }

    pub(super) fn sent(&mut self, id: MsgId, to: &'static str, words: Arc<str>) -> What {
        self.sent.insert(id, to);
        seen(to, Seen::Invoke { id, content: words })
    }

    /// A message went out to a user.
    pub(super) fn sent_to_user(&mut self, id: MsgId, to: &str, words: &Arc<str>) {
        self.to_users.insert(id, (to.into(), words.clone()));
    }

    /// It has a place.
    pub(super) fn stored_for_user(&mut self, id: &MsgId, seq: u64) {
        if let Some((to, words)) = self.to_users.remove(id) {
            self.pairs.push((to, seq, words));
        }
    }

    /// The outcome of a message, if it went to a group.
    pub(super) fn outcome(&mut self, event: &Event) -> Option<What> {
        match event {
            Event::Sent { id, sent } => {
                let to = *self.sent.get(id.as_bytes())?;
                if to == GROUP && sent.seq > 0 {
                    self.own.push(sent.seq);
                }
                Some(seen(to, Seen::Ok { id: *id.as_bytes(), seq: sent.seq }))
            }
            Event::Failed { id, failure } => {
                let to = *self.sent.get(id.as_bytes())?;
                match failure {
                    Failure::Refused { .. } => Some(seen(to, Seen::Fail { id: *id.as_bytes() })),
                    _ => Some(What::Info { id: *id.as_bytes() }),
                }
            }
            _ => None,
        }
    }

    /// What an event tells of a group, if it does.
    pub(super) fn take(
        &mut self,
        event: &Event,
        core: &mut Core,
        rng: &mut Rng,
        now: Instant,
        out: &mut Vec<What>,
    ) -> bool {
        match event {
            Event::Message(message) if message.group().is_some() => {
                let (id, seq) = (id_of(&message.client_msg_id), message.seq);
                out.push(seen(GROUP, Seen::Shown { id, seq, state: state_of(message) }));
                if message.need_receipt && rng.chance(500) {
                    let with = Some(body::Target { target: Some(group(GROUP)) });
                    let receipts = Amend::Receipts(body::Receipts { with, seqs: vec![seq] });
                    self.amend(now, core, receipts, Asked::Confirm(vec![seq]));
                }
                if rng.chance(50) {
                    let _ = core.flush(now);
                }
            }
            Event::Edited(message) | Event::Recalled(message) if message.group().is_some() => {
                out.push(seen(GROUP, Seen::Changed { seq: message.seq, state: state_of(message) }));
            }
            Event::Live { frame, missed } => {
                let sum = |numbers: &nearport_client::LiveNumbers| {
                    numbers.system + numbers.gift + numbers.chat + numbers.like
                };
                let counts = frame.counts.clone().unwrap_or_default();
                let message = frame.delivery.as_ref().and_then(|delivery| delivery.message.as_ref());
                out.push(seen(
                    ROOM,
                    Seen::Live {
                        // Tips of the room are nobody's.
                        id: message
                            .filter(|message| !message.from.is_empty())
                            .map(|message| id_of(&message.client_msg_id)),
                        since_ms: counts.since_ms,
                        taken: counts.taken.iter().sum(),
                        folded: counts.folded.iter().sum(),
                        missed: sum(&missed.folded) + sum(&missed.left_out),
                    },
                ));
            }
            _ => return false,
        }
        true
    }

    /// The answers to what was asked for.
    pub(super) fn answers(
        &mut self,
        now: Instant,
        core: &mut Core,
        standing: &mut Standing,
        out: &mut Vec<What>,
    ) -> bool {
        let mut any = false;
        while let Some(answer) = core.poll_answer() {
            any = true;
            let Answer::Request { id, result } = answer else { continue };
            let Some(asked) = self.asked.remove(&id) else { continue };
            let code = match &result {
                Ok(_) => 0,
                Err(Failure::Refused { code, .. }) => *code,
                Err(_) => u32::MAX,
            };
            match asked {
                Asked::Create if code == 0 || MADE.contains(&code) => {
                    standing.made = true;
                    core.groups_changed(now);
                }
                Asked::Join | Asked::Leave if code == 0 => core.groups_changed(now),
                Asked::Create => self.again = Some(now + AGAIN),
                Asked::Join if code == NO_GROUP || code == u32::MAX => self.again = Some(now + AGAIN),
                Asked::Join | Asked::Leave => {}
                Asked::Amend { seq, recalled } if code == 0 => {
                    out.push(seen(GROUP, Seen::Amended { seq, recalled }))
                }
                Asked::Amend { .. } | Asked::EditPair => {}
                Asked::Confirm(seqs) => {
                    let Ok(Reply::Body(body)) = result else { continue };
                    let invalid = body::Amended::decode(body).unwrap_or_default().invalid;
                    let read = seqs.into_iter().filter(|seq| !invalid.contains(seq));
                    out.extend(read.map(|seq| seen(GROUP, Seen::Confirmed { seq })));
                }
            }
        }
        any
    }

    /// Asks again what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, core: &mut Core, standing: &Standing) {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.ask_what_lacks(now, core, standing);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.again
    }

    /// What was asked for and has no answer.
    pub(super) fn unrest(&self, core: &Core) -> Option<String> {
        if !self.asked.is_empty() {
            return Some(format!("waits for {:?}", self.asked));
        }
        core.lacks_groups().then(|| "lacks something of its groups".to_owned())
    }

    fn call(&mut self, now: Instant, core: &mut Core, call: Call, asked: Asked) {
        let body = body::GroupCall { call: Some(call) }.encode_to_vec();
        // Full: not asked, and so nothing is awaited.
        if let Ok(id) = core.request_other(now, Lane::Bulk, Kind::GROUP, body.into(), true) {
            self.asked.insert(id, asked);
        }
    }

    fn amend(&mut self, now: Instant, core: &mut Core, amend: Amend, asked: Asked) {
        let body = body::Amend { amend: Some(amend) }.encode_to_vec();
        if let Ok(id) = core.request_other(now, Lane::Chat, Kind::AMEND, body.into(), true) {
            self.asked.insert(id, asked);
        }
    }
}

fn id_of(client_msg_id: &[u8]) -> MsgId {
    MsgId::try_from(client_msg_id).unwrap_or_default()
}

fn state_of(message: &nearport_client::Message) -> State {
    let text = message.text();
    let none = message.tip().is_some() || message.recalled.is_some();
    State { edit: message.edit, recalled: message.recalled.is_some(), content: (!none).then(|| text.into()) }
}

/// As [`state_of`], of what the ledger keeps.
pub(crate) fn stored_state(edit: u64, kept: &[u8]) -> (MsgId, State) {
    let message = body::Message::decode(kept).unwrap_or_default();
    let delivery = body::Delivery { message: Some(message), edit, ..body::Delivery::default() };
    let message = nearport_client::Message::from(delivery);
    (id_of(&message.client_msg_id), state_of(&message))
}
