//! Friends, applications, blocklists and friend groups.

use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::{self, FriendAddType, FriendApplicationAnswerType, FriendRelation};
use nearport_wire::code;

use super::{done, results};
use crate::actor::Actor;
use crate::key::UserKey;
use crate::people::{
    self, AddFriend, AddFriends, Checked, Effects, People, UpdateFriend, codes, profiles, reads,
};
use crate::reply::Failure;

pub(super) fn carry_out(
    people: &People,
    actor: &Actor<'_>,
    user: &UserKey,
    call: Call,
    now_ms: u64,
    effects: &mut Effects,
) -> Result<Answer, Failure> {
    match call {
        Call::FriendAdd(call) => {
            let single = call.r#type() == FriendAddType::Single;
            let item = |item: body::FriendAddItem| AddFriend {
                user: item.user,
                source: item.source,
                wording: item.wording,
                remark: item.remark,
                group: item.group,
            };
            let items = call.items.into_iter().map(item).collect();
            let call = AddFriends { items, single, force: false };
            people.add_friends(actor, user, &call, now_ms, effects).map(results)
        }
        Call::FriendUpdate(call) => {
            let update = |item: body::FriendUpdateItem| {
                Ok(UpdateFriend {
                    user: item.user,
                    fields: profiles::from_wire(item.fields, codes::RELATION_BAD)?,
                    groups: item.set_groups.then_some(item.groups),
                })
            };
            let updates = call.items.into_iter().map(update).collect::<Result<Vec<_>, Failure>>()?;
            people.update_friends(actor, user, &updates, now_ms, effects).map(results)
        }
        Call::FriendDelete(call) => {
            people.delete_friends(actor, user, &call.users, call.both, effects).map(results)
        }
        Call::FriendDeleteAll(call) => {
            people.delete_all_friends(actor, user, call.both, effects).map(|_| done())
        }
        Call::FriendCheck(call) => {
            let checked = people.check_friends(actor, user, &call.users, call.both)?;
            Ok(checks(&call.users, checked))
        }
        Call::FriendList(call) => {
            let known = (call.standard, call.custom);
            let page = people.friends(actor, user, call.start, call.limit, known)?;
            Ok(Answer::Friends(reads::page_to_wire(&page)))
        }
        Call::FriendGet(call) => {
            let infos = people.friend_infos(actor, user, &call.users, &call.tags)?;
            let one = |(name, info): (&String, people::FriendInfo)| match info {
                Ok((known, fields)) => body::FriendInfo {
                    user: name.clone(),
                    friend: Some(reads::friend_to_wire(&known)),
                    profile: fields.iter().map(|(tag, value)| profiles::to_wire(tag, value)).collect(),
                    code: 0,
                },
                Err(failure) => {
                    body::FriendInfo { user: name.clone(), code: failure.code, ..body::FriendInfo::default() }
                }
            };
            let items = call.users.iter().zip(infos).map(one).collect();
            Ok(Answer::FriendInfos(body::FriendInfos { items }))
        }
        Call::ApplicationList(call) => {
            let page = people.applications(actor, user, call.before, call.limit, call.sent)?;
            let one = |(other, row): &(String, _)| application(other, row, page.read, call.sent);
            Ok(Answer::Applications(body::FriendApplicationPage {
                applications: page.applications.iter().map(one).collect(),
                next: page.next,
                unread: page.unread,
                sequence: page.sequence,
            }))
        }
        Call::ApplicationAnswer(call) => {
            let answer = match call.r#type() {
                FriendApplicationAnswerType::FriendApplicationAnswerAccept => people::Answer::Accept,
                FriendApplicationAnswerType::FriendApplicationAnswerAcceptAndAdd => {
                    people::Answer::AcceptAndAdd
                }
                FriendApplicationAnswerType::FriendApplicationAnswerReject => people::Answer::Reject,
            };
            let answer = (answer, call.remark.as_str(), call.group.as_str());
            people.answer_applications(actor, user, &call.users, answer, now_ms, effects).map(results)
        }
        Call::ApplicationRead(call) => {
            people.read_applications(actor, user, call.id, effects).map(|()| done())
        }
        Call::ApplicationDelete(call) => {
            people.delete_applications(actor, user, &call.users, call.sent, effects).map(results)
        }
        Call::BlockAdd(call) => people.add_blocks(actor, user, &call.users, now_ms, effects).map(results),
        Call::BlockDelete(call) => people.delete_blocks(actor, user, &call.users, effects).map(results),
        Call::BlockCheck(call) => {
            let checked = people.check_blocks(actor, user, &call.users, call.both)?;
            Ok(checks(&call.users, checked))
        }
        Call::BlockList(call) => {
            let page = people.blocks(actor, user, call.start, call.limit, call.sequence)?;
            let one = |(user, added_s)| body::Block { user, added_s };
            Ok(Answer::Blocks(body::BlockPage {
                blocks: page.blocks.into_iter().map(one).collect(),
                next: page.next,
                sequence: page.sequence,
                total: page.total,
            }))
        }
        Call::FriendGroupAdd(call) => {
            people.add_friend_groups(actor, user, &call.names, &call.users, effects).map(results)
        }
        Call::FriendGroupDelete(call) => {
            people.delete_friend_groups(actor, user, &call.names, effects).map(results)
        }
        Call::FriendGroupList(call) => {
            let found = people.friend_groups(actor, user, &call.names, call.members, call.sequence)?;
            let one = |(name, count, users)| body::FriendGroup {
                name,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                users,
            };
            let groups = found.groups.into_iter().map(one).collect();
            Ok(Answer::FriendGroups(body::FriendGroups { groups, sequence: found.sequence }))
        }
        Call::FriendGroupRename(call) => {
            people.rename_friend_group(actor, user, (&call.name, &call.new_name), effects).map(results)
        }
        Call::FriendGroupMembers(call) => {
            let change = (&call.add[..], &call.remove[..]);
            people.set_friend_group_members(actor, user, &call.name, change, effects).map(results)
        }
        _ => Err(Failure::new(code::UNKNOWN_REQUEST, "this server does not offer it")),
    }
}

fn application(
    other: &str,
    row: &crate::directory::people::ApplicationRow,
    read: u64,
    sent: bool,
) -> body::FriendApplication {
    let id = if sent { row.sent_id } else { row.id };
    reads::application_to_wire(other, row, id, !sent && row.id <= read)
}

fn checks(names: &[String], checked: Vec<Checked>) -> Answer {
    let one = |(name, checked): (&String, Checked)| {
        let (relation, code) = match checked {
            Ok((true, true)) => (FriendRelation::Both, 0),
            Ok((true, false)) => (FriendRelation::AWithB, 0),
            Ok((false, true)) => (FriendRelation::BWithA, 0),
            Ok((false, false)) => (FriendRelation::None, 0),
            Err(failure) => (FriendRelation::None, failure.code),
        };
        body::RelationItem { user: name.clone(), relation: relation as i32, code }
    };
    Answer::FriendChecks(body::FriendChecks { items: names.iter().zip(checked).map(one).collect() })
}
