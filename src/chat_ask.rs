//! What slash commands ask the server, and how the answers read.

use nearport_chat::key::TOPIC_MARK;
use nearport_client::groups::{
    GroupCreate, GroupEdit, GroupInfo, GroupInviteResult, GroupJoinOption, GroupMember, GroupMemberEdit,
    GroupReception, GroupRole, GroupTopic, GroupTopicCreate, Joined,
};
use nearport_client::people::{
    Conversation, Disturb, Friend, FriendApplicationAnswerType, PeopleResult, Presence, TagValue, UserStatus,
    tag_value::Value,
};
use nearport_client::{Client, Failure, RequestError, Target, text};
use nearport_wire::code::group::NOT_ENABLED;

use crate::chat_command::{Answer, Ask};
use crate::chat_text::shown_text;
use crate::chat_view::name_of;
use crate::cli_group::role_name;

/// Groups, members and others that one command lists.
const LISTED: u32 = 100;

/// Bit of the marks of a conversation (public contract).
const STAR: u64 = 1;

/// What a friendship is asked for with, when the other side has to confirm (public contract).
const WAITS_FOR_THE_OTHER: u32 = 30539;

/// Fields of a profile by the names that people use, and whether they are numbers.
const FIELDS: [(&str, &str, bool); 10] = [
    ("nick", "Tag_Profile_IM_Nick", false),
    ("gender", "Tag_Profile_IM_Gender", false),
    ("birthday", "Tag_Profile_IM_BirthDay", true),
    ("location", "Tag_Profile_IM_Location", false),
    ("signature", "Tag_Profile_IM_SelfSignature", false),
    ("allow", "Tag_Profile_IM_AllowType", false),
    ("language", "Tag_Profile_IM_Language", true),
    ("face", "Tag_Profile_IM_Image", false),
    ("level", "Tag_Profile_IM_Level", true),
    ("role", "Tag_Profile_IM_Role", true),
];

/// Values of the contract by the words that people use.
const VALUES: [(&str, &str, &str); 6] = [
    ("gender", "male", "Gender_Type_Male"),
    ("gender", "female", "Gender_Type_Female"),
    ("gender", "unknown", "Gender_Type_Unknown"),
    ("allow", "any", "AllowType_Type_AllowAny"),
    ("allow", "ask", "AllowType_Type_NeedConfirm"),
    ("allow", "none", "AllowType_Type_DenyAny"),
];

/// Carries out a command. Cancel-safe: dropped early, it may still be carried out.
pub(crate) async fn carry_out(client: &Client, ask: Ask) -> Answer {
    let answer = match ask {
        Ask::SetProfile(field, value) => match tag(&field, &value) {
            Ok(tag) => client.set_profile(vec![tag]).await.map(|()| line(format!("{field} is set"))),
            Err(why) => return Answer::Failed(why),
        },
        Ask::List | Ask::Pin(..) | Ask::Quiet(..) | Ask::Star(..) | Ask::Draft(..) | Ask::Drop(_) => {
            conversations(client, ask).await
        }
        Ask::Recall(..) | Ask::Edit(..) | Ask::Delete(..) | Ask::Clear(_) | Ask::Readers(..) => {
            messages(client, ask).await
        }
        Ask::Groups
        | Ask::Create(..)
        | Ask::Join(..)
        | Ask::Leave(_)
        | Ask::Dismiss(_)
        | Ask::Topics(_)
        | Ask::Topic(..)
        | Ask::About(_) => groups(client, ask).await,
        Ask::Who(_) | Ask::Profile(_) | Ask::Status(_) => people(client, ask).await,
        Ask::Friends
        | Ask::Friend(..)
        | Ask::Unfriend(_)
        | Ask::Requests
        | Ask::AnswerFriend(..)
        | Ask::Blocked
        | Ask::Block(_)
        | Ask::Unblock(_) => friends(client, ask).await,
        _ => members(client, ask).await,
    };
    answer.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

async fn conversations(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    Ok(match ask {
        Ask::Pin(with, pinned) => {
            let what = if pinned { "is on top of the list" } else { "stands where its messages put it" };
            let name = name_of(&with);
            client.pin_conversation(with, pinned).await?;
            line(format!("{name} {what}"))
        }
        Ask::Quiet(with, quiet) => {
            let name = name_of(&with);
            match with {
                // In a group that is a property of the member.
                Target::Group(group) => {
                    let reception = if quiet { GroupReception::Quiet } else { GroupReception::Notify };
                    let edit =
                        GroupMemberEdit { group, reception: reception.into(), ..GroupMemberEdit::default() };
                    client.edit_group_member(edit).await?;
                }
                with => {
                    let mute = if quiet { Disturb::Quiet } else { Disturb::Notify };
                    client.mute_conversations(vec![with], mute).await?;
                }
            }
            line(format!("messages of {name} are {}", if quiet { "not announced" } else { "announced" }))
        }
        Ask::Star(with, star) => {
            let what = if star { "has a star" } else { "has no star" };
            let (name, set, clear) =
                (name_of(&with), if star { STAR } else { 0 }, if star { 0 } else { STAR });
            client.mark_conversations(vec![with], set, clear).await?;
            line(format!("{name} {what}"))
        }
        Ask::Draft(with, text) => {
            let what = if text.is_empty() { "nothing is kept" } else { "that is kept" };
            let name = name_of(&with);
            client.keep_draft(with, &text).await?;
            line(format!("{what} with {name}"))
        }
        Ask::Drop(with) => {
            let name = name_of(&with);
            client.delete_conversations(vec![with]).await?;
            line(format!("{name} is off the list, until its next message"))
        }
        _ => {
            let page = client.conversations("", LISTED).await?;
            let mut lines: Vec<String> = page.conversations.iter().map(conversation).collect();
            lines.push(match (lines.is_empty(), page.complete) {
                (true, _) => "you have no conversations yet: /to NAME".to_owned(),
                (false, true) => format!("{} unread in all", page.unread),
                (false, false) => format!("{} unread in all; there are more conversations", page.unread),
            });
            let with: Vec<_> = page.conversations.into_iter().filter_map(|one| one.with?.target).collect();
            let users = with.iter().filter_map(|with| match with {
                Target::User(name) => Some(name.clone()),
                _ => None,
            });
            let groups = with.iter().filter_map(|with| match with {
                Target::Group(id) => Some(id.clone()),
                _ => None,
            });
            Answer::Told(lines, users.collect(), groups.collect())
        }
    })
}

fn conversation(one: &Conversation) -> String {
    let name = one.with.as_ref().and_then(|with| with.target.as_ref()).map(name_of).unwrap_or_default();
    let pinned = if one.pinned_ms > 0 { " (pinned)" } else { "" };
    let quiet = if one.mute() == Disturb::Quiet { " (quiet)" } else { "" };
    let star = if one.marks & STAR != 0 { " (star)" } else { "" };
    let unread = if one.unread > 0 { format!(" {} unread", one.unread) } else { String::new() };
    let me = if one.mentions.iter().any(|mention| mention.me) { " @you" } else { "" };
    let all = if one.mentions.iter().any(|mention| mention.all) { " @all" } else { "" };
    let draft = if one.draft.is_empty() { String::new() } else { format!("  draft: {}", one.draft) };
    let last = one.last.clone().map(nearport_client::Message::from);
    let last = last.map(|last| match last.from.as_str() {
        "" => shown_text(&last),
        from => format!("{from}: {}", shown_text(&last)),
    });
    format!("{name}{pinned}{star}{quiet}{unread}{me}{all}  {}{draft}", last.unwrap_or_default())
}

async fn messages(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    Ok(match ask {
        Ask::Recall(with, seq, reason) => {
            client.recall(with, seq, &reason).await?;
            told(Vec::new())
        }
        Ask::Edit(with, seq, words) => {
            client.edit(with, seq, text(words).elements).await?;
            told(Vec::new())
        }
        Ask::Delete(with, seqs) => {
            let (asked, done) = (seqs.len(), client.delete(with, seqs).await?);
            match done.invalid.len() {
                0 => line(format!("{asked} deleted, for you alone")),
                not => line(format!("{} deleted, for you alone; {not} are not there", asked - not)),
            }
        }
        Ask::Clear(with) => {
            let upto = client.clear(with, 0).await?;
            line(format!("the history up to #{upto} is deleted, for you alone"))
        }
        Ask::Readers(with, seq) => match client.readers(with, seq, "", LISTED, false).await {
            Ok(readers) => {
                let names = readers.names.join(", ");
                let more = if readers.complete { "" } else { ", …" };
                line(format!("read by {}, not by {}: {names}{more}", readers.read, readers.unread))
            }
            Err(RequestError::NoReceipts) => {
                line("it was not asked who reads that message: /receipts on, for those to come".to_owned())
            }
            Err(error) => return Err(error),
        },
        _ => told(Vec::new()),
    })
}

async fn groups(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    Ok(match ask {
        Ask::Create(kind, name) => {
            let topics = kind == "Community";
            let create = GroupCreate { r#type: kind, name, topics, ..GroupCreate::default() };
            let made = match client.create_group(create.clone()).await {
                // Topics are off in this App: a community all the same.
                Err(RequestError::Failed(Failure::Refused { code: NOT_ENABLED, .. })) if topics => {
                    client.create_group(GroupCreate { topics: false, ..create }).await
                }
                made => made,
            };
            Answer::Enter(made?)
        }
        Ask::Join(id, words) => match client.join_group(&id, &words).await? {
            Joined::Now => Answer::Enter(id),
            Joined::Pending => line(format!("an administrator of {id} has to agree")),
        },
        Ask::Leave(id) => {
            client.quit_group(&id).await?;
            line(format!("you have left {id}"))
        }
        Ask::Dismiss(id) => {
            client.dismiss_group(&id).await?;
            line(format!("{id} is no more"))
        }
        Ask::Topics(id) => {
            let page = client.topics(community(&id), "").await?;
            let one = |topic: &GroupTopic| format!("{}  {}", topic.topic, topic.name);
            let mut lines: Vec<_> = page.items.iter().map(one).collect();
            if lines.is_empty() {
                lines.push("there is no topic yet: /topic NAME makes one".to_owned());
            }
            if page.next.is_some() {
                lines.push(format!("and more: nearport group topics '{}'", community(&id)));
            }
            Answer::Told(lines, Vec::new(), page.items.into_iter().map(|topic| topic.topic).collect())
        }
        Ask::Topic(id, name) => {
            let group = community(&id).to_owned();
            let create = GroupTopicCreate { group, name, ..GroupTopicCreate::default() };
            Answer::Enter(client.create_topic(create).await?)
        }
        Ask::About(id) => {
            let infos = client.group_infos(vec![id]).await?;
            told(infos.iter().flat_map(about).collect())
        }
        _ => {
            let page = client.joined_groups("", LISTED).await?;
            let one = |info: &GroupInfo| format!("{}  {} ({} members)", info.group, info.name, info.members);
            let mut lines: Vec<_> = page.items.iter().map(one).collect();
            if lines.is_empty() {
                lines.push("you are in no group: /create NAME makes one".to_owned());
            }
            if page.next.is_some() {
                lines.push("and more: nearport group list".to_owned());
            }
            let ids = page.items.into_iter().map(|info| info.group);
            Answer::Told(lines, Vec::new(), ids.collect())
        }
    })
}

/// The community of a topic that is talked to, or that itself.
fn community(id: &str) -> &str {
    id.split_once(TOPIC_MARK).map_or(id, |(community, _)| community)
}

fn about(info: &GroupInfo) -> Vec<String> {
    if info.error != 0 {
        return vec![format!("{}: {}", info.group, info.error)];
    }
    let mut lines =
        vec![format!("{}  {}, {} ({} members)", info.group, info.name, info.r#type, info.members)];
    let join = match info.join() {
        GroupJoinOption::GroupJoinFree => "everybody may join",
        GroupJoinOption::GroupJoinApproval => "an administrator decides who joins",
        GroupJoinOption::GroupJoinClosed | GroupJoinOption::GroupJoinDefault => "nobody joins by themselves",
    };
    let owner =
        if info.owner.is_empty() { "it has no owner".to_owned() } else { format!("owner {}", info.owner) };
    let silent = if info.muted_all { ", only administrators speak" } else { "" };
    lines.push(format!("{owner}, {join}{silent}"));
    let texts = [("introduction", &info.introduction), ("announcement", &info.notification)];
    let said = texts.iter().filter(|(_, text)| !text.is_empty());
    lines.extend(said.map(|(what, text)| format!("{what}: {text}")));
    if let Some(own) = &info.own {
        let card = if own.name_card.is_empty() { String::new() } else { format!(" as {}", own.name_card) };
        lines.push(format!("you are {} in it{card}", role_name(own.role())));
    }
    lines
}

async fn members(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    Ok(match ask {
        Ask::Members(id) => {
            let page = client.group_members(&id, &[], "", LISTED).await?;
            let one = |member: &GroupMember| {
                let card = match member.name_card.as_str() {
                    "" => String::new(),
                    card => format!(" \"{card}\""),
                };
                match member.role() {
                    GroupRole::Member | GroupRole::None => format!("{}{card}", member.user),
                    role => format!("{}{card} ({})", member.user, role_name(role)),
                }
            };
            let more = if page.next.is_some() { ", and more" } else { "" };
            let names = page.items.iter().map(one).collect::<Vec<_>>().join(", ");
            let users = page.items.into_iter().map(|member| member.user).collect();
            Answer::Told(vec![format!("{names}{more}")], users, Vec::new())
        }
        Ask::Invite(id, users) => {
            let items = client.invite_to_group(&id, users, "").await?;
            let said = items.iter().map(|item| {
                let what = match item.result() {
                    GroupInviteResult::GroupInviteAdded => "is in the group now",
                    GroupInviteResult::GroupInviteKnown => "was in the group already",
                    GroupInviteResult::GroupInviteWaiting => "has to agree, or an administrator has",
                    GroupInviteResult::GroupInviteFailed => "cannot be invited",
                };
                format!("{} {what}", item.user)
            });
            told(said.collect())
        }
        Ask::Kick(id, users) => {
            let names = users.join(", ");
            client.kick_from_group(&id, users, "").await?;
            line(format!("removed: {names}"))
        }
        Ask::Ban(id, user, seconds) => {
            client.ban_from_group(&id, vec![user.clone()], seconds, "").await?;
            line(format!("{user} is removed and stays out"))
        }
        Ask::Unban(id, users) => {
            let names = users.join(", ");
            client.unban_from_group(&id, users).await?;
            line(format!("may come back: {names}"))
        }
        Ask::Mute(id, users, seconds) => {
            let names = users.join(", ");
            client.mute_group_members(&id, users, seconds).await?;
            line(format!("{} speak: {names}", if seconds == 0 { "may" } else { "may not" }))
        }
        Ask::MuteAll(group, on) => {
            client.edit_group(GroupEdit { group, muted_all: Some(on), ..GroupEdit::default() }).await?;
            line(if on { "only administrators speak now" } else { "everybody may speak" }.to_owned())
        }
        Ask::Role(group, user, role) => {
            let (name, role) = (user.clone(), i32::from(role));
            client
                .edit_group_member(GroupMemberEdit { group, user, role, ..GroupMemberEdit::default() })
                .await?;
            let what =
                if role == i32::from(GroupRole::Admin) { "an administrator" } else { "a plain member" };
            line(format!("{name} is {what}"))
        }
        Ask::Transfer(id, user) => {
            client.transfer_group(&id, &user).await?;
            line(format!("{user} is the owner now"))
        }
        Ask::Rename(group, name) => {
            client.edit_group(GroupEdit { group, name: Some(name), ..GroupEdit::default() }).await?;
            line("it has another name".to_owned())
        }
        Ask::Announce(group, text) => {
            client.edit_group(GroupEdit { group, notification: Some(text), ..GroupEdit::default() }).await?;
            line("it is announced".to_owned())
        }
        Ask::Card(group, card) => {
            let edit = GroupMemberEdit { group, name_card: Some(card), ..GroupMemberEdit::default() };
            client.edit_group_member(edit).await?;
            line("that is what you are called here".to_owned())
        }
        Ask::Applications(id) => {
            let page = client.group_applications(&id, "", LISTED).await?;
            let open = page.items.iter().filter(|item| item.handled_by.is_empty());
            let mut lines: Vec<_> = open
                .map(|item| match (item.inviter.as_str(), item.consent) {
                    ("", _) => format!("{} wants in: {}", item.user, item.text),
                    (inviter, true) => format!("{inviter} invites {}: {}", item.user, item.text),
                    (inviter, false) => format!("{inviter} wants to bring {}: {}", item.user, item.text),
                })
                .collect();
            if lines.is_empty() {
                lines.push("nobody waits".to_owned());
            }
            let users = page.items.into_iter().map(|item| item.user);
            Answer::Told(lines, users.collect(), Vec::new())
        }
        Ask::Decide(id, user, agree) => {
            client.handle_application(&id, &user, agree, "").await?;
            line(format!("{user} is {} {id}", if agree { "in" } else { "not taken by" }))
        }
        // All others are somebody else's.
        _ => told(Vec::new()),
    })
}

async fn people(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    Ok(match ask {
        Ask::Who(users) => told(client.statuses(users).await?.iter().map(status).collect()),
        Ask::Status(words) => {
            client.set_status(&words).await?;
            line(
                if words.is_empty() { "no line beside your name" } else { "that stands beside your name" }
                    .to_owned(),
            )
        }
        Ask::Profile(user) => {
            let profiles = client.profiles(vec![user], Vec::new()).await?;
            let lines = profiles.iter().flat_map(|profile| match profile.code {
                0 if profile.fields.is_empty() => vec![format!("{} says nothing", profile.user)],
                0 => profile.fields.iter().map(field).collect(),
                code => vec![format!("{}: {code}, there is no such account", profile.user)],
            });
            told(lines.collect())
        }
        _ => told(Vec::new()),
    })
}

fn status(status: &UserStatus) -> String {
    let what = match status.presence() {
        _ if status.code != 0 => "does not exist",
        Presence::Online => "is online",
        Presence::PushOnline => "is away, and can be reached",
        Presence::Offline => "is offline",
    };
    format!("{} {what} {}", status.user, status.text)
}

async fn friends(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    let empty = |mut lines: Vec<String>, what: &str| {
        if lines.is_empty() {
            lines.push(what.to_owned());
        }
        lines
    };
    Ok(match ask {
        Ask::Friend(user, words) => line(result(&client.add_friend(&user, &words).await?, "is a friend now")),
        Ask::Unfriend(user) => line(result(&client.delete_friend(&user).await?, "is no friend any more")),
        Ask::AnswerFriend(user, accept) => {
            let (answer, what) = match accept {
                true => (FriendApplicationAnswerType::FriendApplicationAnswerAcceptAndAdd, "is a friend now"),
                false => (FriendApplicationAnswerType::FriendApplicationAnswerReject, "is told no"),
            };
            line(result(&client.answer_friend(&user, answer).await?, what))
        }
        Ask::Block(user) => line(result(&client.block(&user).await?, "is not heard any more")),
        Ask::Unblock(user) => line(result(&client.unblock(&user).await?, "is heard again")),
        Ask::Requests => {
            let page = client.friend_applications(0, LISTED, false).await?;
            // What is listed is read.
            if let Some(newest) = page.applications.iter().filter(|one| !one.read).map(|one| one.id).max() {
                client.mark_applications_read(newest).await?;
            }
            let one = page.applications.iter();
            let lines = one.map(|one| format!("{} asks for your friendship: {}", one.user, one.wording));
            let lines = empty(lines.collect(), "nobody asks");
            let users = page.applications.into_iter().map(|one| one.user);
            Answer::Told(lines, users.collect(), Vec::new())
        }
        Ask::Blocked => {
            let page = client.blocks(0, LISTED, 0).await?;
            let users: Vec<_> = page.blocks.into_iter().map(|block| block.user).collect();
            Answer::Told(empty(users.clone(), "you hear everybody"), users, Vec::new())
        }
        _ => {
            let page = client.friends(0, LISTED).await?;
            let mut lines: Vec<_> = page.friends.iter().map(friend).collect();
            if !page.complete {
                lines.push(format!("{} in all", page.total));
            }
            let users = page.friends.into_iter().map(|friend| friend.user);
            Answer::Told(
                empty(lines, "you have no friends here yet: /friend NAME"),
                users.collect(),
                Vec::new(),
            )
        }
    })
}

fn friend(friend: &Friend) -> String {
    let remark = if friend.remark.is_empty() { String::new() } else { format!(" \"{}\"", friend.remark) };
    let groups =
        if friend.groups.is_empty() { String::new() } else { format!(" ({})", friend.groups.join(", ")) };
    format!("{}{remark}{groups}", friend.user)
}

fn line(line: String) -> Answer {
    told(vec![line])
}

fn told(lines: Vec<String>) -> Answer {
    Answer::Told(lines, Vec::new(), Vec::new())
}

fn result(result: &PeopleResult, done: &str) -> String {
    match result.code {
        0 => format!("{} {done}", result.id),
        WAITS_FOR_THE_OTHER => format!("{} has to agree", result.id),
        code => format!("{}: {code} {}", result.id, result.info),
    }
}

fn field(field: &TagValue) -> String {
    let known = FIELDS.iter().find(|(_, tag, _)| *tag == field.tag).map(|(name, _, _)| *name);
    let name = known.unwrap_or_else(|| {
        field.tag.trim_start_matches("Tag_Profile_IM_").trim_start_matches("Tag_Profile_Custom_")
    });
    match &field.value {
        Some(Value::Number(number)) => format!("{name}: {number}"),
        Some(Value::Text(text)) => {
            let known = VALUES.iter().find(|(field, _, value)| *field == name && value == text);
            format!("{name}: {}", known.map_or(text.as_str(), |(_, word, _)| *word))
        }
        Some(Value::Data(data)) => format!("{name}: {} bytes", data.len()),
        None => format!("{name}: -"),
    }
}

/// A field as it is typed: one of [`FIELDS`], or a tag of the contract.
fn tag(name: &str, value: &str) -> Result<TagValue, String> {
    let known = FIELDS.iter().find(|(known, _, _)| *known == name);
    let tag = match known {
        Some((_, tag, _)) => *tag,
        None if name.starts_with("Tag_Profile_") => name,
        None => {
            let names: Vec<_> = FIELDS.iter().map(|(name, _, _)| *name).collect();
            return Err(format!("the fields are {}, and Tag_Profile_Custom_…", names.join(", ")));
        }
    };
    let value = if known.is_some_and(|(_, _, number)| *number) {
        Value::Number(value.parse().map_err(|_| format!("{name} is a number"))?)
    } else {
        let word = VALUES.iter().find(|(field, word, _)| *field == name && *word == value);
        Value::Text(word.map_or(value, |(_, _, value)| *value).to_owned())
    };
    Ok(TagValue { tag: tag.to_owned(), value: Some(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_as_they_are_typed() {
        for (name, value) in
            [("nick", "Al"), ("gender", "female"), ("birthday", "19991231"), ("allow", "ask")]
        {
            assert_eq!(field(&tag(name, value).unwrap()), format!("{name}: {value}"));
        }
        let custom = tag("Tag_Profile_Custom_Shoe", "43").unwrap();
        assert_eq!((custom.tag.as_str(), field(&custom).as_str()), ("Tag_Profile_Custom_Shoe", "Shoe: 43"));
        assert_eq!(tag("allow", "AllowType_Type_DenyAny").map(|tag| field(&tag)), Ok("allow: none".into()));
        assert!(tag("birthday", "soon").is_err());
        assert!(tag("shoe", "43").unwrap_err().contains("signature"));
    }
}
