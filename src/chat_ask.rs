//! What slash commands ask the server, and how the answers read.

use nearport_client::groups::{GroupCreate, GroupInviteResult, GroupRole, Joined};
use nearport_client::people::{PeopleResult, Presence, TagValue};
use nearport_client::{Client, RequestError, text};
use nearport_wire::body::tag_value::Value;

use crate::chat_view::{Answer, Ask};
use crate::cli_group::role_name;

/// Groups or members that one command lists.
const LISTED: u32 = 100;

/// What a friendship is asked for with, when the other side has to confirm (public contract).
const WAITS_FOR_THE_OTHER: u32 = 30539;

/// Carries out a command. Cancel-safe: dropped early, it may still be carried out.
pub(crate) async fn carry_out(client: &Client, ask: Ask) -> Answer {
    match answer(client, ask).await {
        Ok(answer) => answer,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

async fn answer(client: &Client, ask: Ask) -> Result<Answer, RequestError> {
    let line = |line: String| Ok(Answer::Lines(vec![line]));
    match ask {
        Ask::Groups => {
            let page = client.joined_groups("", LISTED).await?;
            let mut lines: Vec<_> = page
                .items
                .iter()
                .map(|info| format!("{}  {} ({} members)", info.group, info.name, info.members))
                .collect();
            if lines.is_empty() {
                lines.push("you are in no group: /create NAME makes one".to_owned());
            }
            if page.next.is_some() {
                lines.push("and more: nearport group list".to_owned());
            }
            Ok(Answer::Lines(lines))
        }
        Ask::Create(name) => {
            let create = GroupCreate { r#type: "Work".into(), name, ..GroupCreate::default() };
            Ok(Answer::Enter(client.create_group(create).await?))
        }
        Ask::Join(id) => match client.join_group(&id, "").await? {
            Joined::Now => Ok(Answer::Enter(id)),
            Joined::Pending => line(format!("an administrator of {id} has to agree")),
        },
        Ask::Leave(id) => {
            client.quit_group(&id).await?;
            line(format!("you have left {id}"))
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
            Ok(Answer::Lines(said.collect()))
        }
        Ask::Members(id) => {
            let page = client.group_members(&id, &[], "", LISTED).await?;
            let names = page.items.iter().map(|member| match member.role() {
                GroupRole::Member | GroupRole::None => member.user.clone(),
                role => format!("{} ({})", member.user, role_name(role)),
            });
            let more = if page.next.is_some() { ", and more" } else { "" };
            line(format!("{}{more}", names.collect::<Vec<_>>().join(", ")))
        }
        Ask::Recall(with, seq) => {
            client.recall(with, seq, "").await?;
            Ok(Answer::Lines(Vec::new()))
        }
        Ask::Edit(with, seq, words) => {
            client.edit(with, seq, text(words).elements).await?;
            Ok(Answer::Lines(Vec::new()))
        }
        Ask::Readers(with, seq) => {
            let readers = client.readers(with, seq, "", LISTED, false).await?;
            let names = readers.names.join(", ");
            line(format!("read by {}, not by {}: {names}", readers.read, readers.unread))
        }
        Ask::Who(user) => {
            let statuses = client.statuses(vec![user]).await?;
            let lines = statuses.iter().map(|status| {
                let what = match status.presence() {
                    _ if status.code != 0 => "does not exist",
                    Presence::Online => "is online",
                    Presence::PushOnline => "is away, and can be reached",
                    Presence::Offline => "is offline",
                };
                format!("{} {what} {}", status.user, status.text)
            });
            Ok(Answer::Lines(lines.collect()))
        }
        Ask::Profile(user) => {
            let profiles = client.profiles(vec![user], Vec::new()).await?;
            let lines = profiles.iter().flat_map(|profile| {
                let none = profile.fields.is_empty().then(|| format!("{} says nothing", profile.user));
                none.into_iter().chain(profile.fields.iter().map(field))
            });
            Ok(Answer::Lines(lines.collect()))
        }
        Ask::Friend(user) => line(result(&client.add_friend(&user, "").await?, "is a friend now")),
        Ask::Block(user) => line(result(&client.block(&user).await?, "is not heard any more")),
        Ask::Unblock(user) => line(result(&client.unblock(&user).await?, "is heard again")),
    }
}

fn result(result: &PeopleResult, done: &str) -> String {
    match result.code {
        0 => format!("{} {done}", result.id),
        WAITS_FOR_THE_OTHER => format!("{} has to agree", result.id),
        code => format!("{}: {code} {}", result.id, result.info),
    }
}

fn field(field: &TagValue) -> String {
    let name = field.tag.trim_start_matches("Tag_Profile_IM_").trim_start_matches("Tag_Profile_Custom_");
    match &field.value {
        Some(Value::Number(number)) => format!("{name}: {number}"),
        Some(Value::Text(text)) => format!("{name}: {text}"),
        Some(Value::Data(data)) => format!("{name}: {} bytes", data.len()),
        None => format!("{name}: -"),
    }
}
