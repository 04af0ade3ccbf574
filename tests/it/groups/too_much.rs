//! What comes of an act that asks for too much, or that cannot be read.

use nearport_client::groups::{
    GroupAttribute, GroupAttributesWrite, GroupCounter, GroupCountersWrite, GroupCreate, GroupNewMember,
};
use nearport_client::{Content, HistoryRange, Kind, Lane, RequestError, text};
use nearport_wire::body::{self, amend, group_call::Call};
use prost::Message as _;

use super::act::{Act, Who};
use super::scene::Scene;
use crate::contract::{Got, Text};

/// So many names of nobody.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("nobody{n}")).collect()
}

fn attributes(from: usize, count: usize, value: Text) -> Vec<GroupAttribute> {
    let attribute = |n| GroupAttribute { key: format!("key{n}"), value: value.text() };
    (from..from + count).map(attribute).collect()
}

/// Puts bytes that are no UTF-8 where a text stands.
fn spoil(mut body: Vec<u8>, text: &str) -> Vec<u8> {
    let at = body.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
    // A lone surrogate, as a careless encoder writes it.
    body[at..at + 3].copy_from_slice(&[0xed, 0xa0, 0x80]);
    body
}

impl Scene<'_> {
    pub(super) async fn too_much(&self, who: Who, act: Act) -> Got {
        let (client, id) = (self.client(who), self.id.clone());
        let write = |items, version| GroupAttributesWrite { group: id.clone(), items, version, how: 0 };
        match act {
            Act::Empty => self.raw(who, Kind::GROUP, body::GroupCall::default().encode_to_vec()).await,
            Act::Unknown => self.raw(who, Kind(0x3f), Vec::new()).await,
            Act::NoElement => self.raw(who, Kind::SEND, self.send(who, Content::default())).await,
            Act::NoText => {
                self.raw(who, Kind::SEND, spoil(self.send(who, text("spoilt text")), "spoilt")).await
            }
            Act::NoTextName => {
                let edit =
                    body::GroupEdit { group: id, name: Some("spoilt".into()), ..body::GroupEdit::default() };
                let call = body::GroupCall { call: Some(Call::Edit(edit)) };
                self.raw(who, Kind::GROUP, spoil(call.encode_to_vec(), "spoilt")).await
            }
            Act::MakeWithMany(count) => {
                let new = |user| GroupNewMember { user, admin: false, fields: Vec::new() };
                let members = names(count).into_iter().map(new).collect();
                let kind = self.cast.kind.into();
                let create =
                    GroupCreate { r#type: kind, name: "other".into(), members, ..GroupCreate::default() };
                client.create_group(create).await.map(|_| ()).into()
            }
            Act::InviteMany(count) => {
                let items = client.invite_to_group(&id, names(count), "").await;
                items
                    .map(|items| if items.iter().all(|item| item.result == 0) { "failed" } else { "some" })
                    .into()
            }
            Act::KickMany(count) => client.kick_from_group(&id, names(count), "").await.into(),
            Act::BanMany(count) => client.ban_from_group(&id, names(count), 60, "").await.into(),
            Act::RolesOfMany(count) => {
                client.group_roles(&id, names(count)).await.map(|roles| roles.len()).into()
            }
            Act::InfosOfMany(count) => {
                client.group_infos(vec![id; count]).await.map(|infos| infos.len()).into()
            }
            Act::MembersPage(limit) => {
                let (mut after, mut count) = (String::new(), 0);
                loop {
                    let page = match client.group_members(&id, &[], &after, limit).await {
                        Ok(page) => page,
                        Err(error) => return Err::<(), _>(error).into(),
                    };
                    count += page.items.len();
                    match page.next {
                        Some(next) => after = next,
                        None => return count.into(),
                    }
                }
            }
            Act::AttributesMany(count, value) => {
                let write = write(attributes(0, count, value), None);
                client.write_group_attributes(write).await.map(|_| ()).into()
            }
            Act::AttributesTwice(count, value) => {
                let first = write(attributes(0, count, value), None);
                let got: Got = client.write_group_attributes(first).await.map(|_| ()).into();
                match got {
                    Got::Done => {
                        let second = write(attributes(count, count, value), None);
                        client.write_group_attributes(second).await.map(|_| ()).into()
                    }
                    got => got,
                }
            }
            Act::AttributeTimes(count) => {
                // All at once, so that they fall into one second, or two.
                let one = |_| client.write_group_attributes(write(attributes(0, 1, Text::Of("v")), None));
                let mut asked: Vec<_> = (0..count).map(|n| Box::pin(one(n))).collect();
                let mut got = Got::Done;
                let all = std::future::poll_fn(|context| {
                    asked.retain_mut(|one| match one.as_mut().poll(context) {
                        std::task::Poll::Ready(result) => {
                            let result: Got = result.map(|_| ()).into();
                            if result != Got::Done {
                                got = result;
                            }
                            false
                        }
                        std::task::Poll::Pending => true,
                    });
                    if asked.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                });
                all.await;
                got
            }
            Act::AttributeAt(version) => {
                let write = write(attributes(0, 1, Text::Of("v")), Some(version));
                client.write_group_attributes(write).await.map(|_| ()).into()
            }
            Act::CountersMany(count) => {
                let items = (0..count).map(|n| GroupCounter { key: format!("key{n}"), value: 1 }).collect();
                let write = GroupCountersWrite { group: id, items, how: 0 };
                client.write_group_counters(write).await.map(|_| ()).into()
            }
            Act::MuteTimes(whom, count) => {
                let users = vec![self.cast.name(whom).to_owned()];
                for n in 0..count {
                    let seconds = if n % 2 == 0 { 60 } else { 0 };
                    client.mute_group_members(&id, users.clone(), seconds).await.unwrap();
                }
                Got::Done
            }
            Act::ShownFuture => {
                let groups = vec![body::ShownGroup { group: id, seq: u64::MAX }];
                let amend = body::Amend { amend: Some(amend::Amend::Shown(body::Shown { groups })) };
                self.raw(who, Kind::AMEND, amend.encode_to_vec()).await
            }
            Act::Holes => {
                let page = client.history(self.target_of(who), HistoryRange::After(1 << 40), 20).await;
                page.map(|page| page.messages.len()).into()
            }
            other => panic!("{other:?} is not too much"),
        }
    }

    /// An encoded SEND.
    fn send(&self, who: Who, content: Content) -> Vec<u8> {
        let to = Some(body::Target { target: Some(self.target_of(who)) });
        let content = Some(content);
        body::Send { client_msg_id: vec![9; 16].into(), to, content, ..body::Send::default() }.encode_to_vec()
    }

    async fn raw(&self, who: Who, kind: Kind, body: Vec<u8>) -> Got {
        let answer: Result<_, RequestError> = self.client(who).request(Lane::Chat, kind, body.into()).await;
        answer.map(|_| ()).into()
    }
}
