//! `nearport group`: groups, for scripts. Each command logs in as a user, does one thing and prints JSON.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use nearport_client::groups::{
    GroupApplication, GroupCreate, GroupInfo, GroupInviteResult, GroupJoinOption, GroupMember,
    GroupNewMember, GroupRole, GroupTopic, GroupTopicCreate, Joined, Page,
};
use nearport_client::{Client, FROM_NOW, Receive, RequestError};
use serde_json::{Value, json};

use crate::cli::{Failure, runtime};
use crate::cli_client::{LoginArgs, farewell};
use crate::cli_message::print_line;
use crate::duration;

/// Entries of one page.
const PAGE: u32 = 100;

/// Members whom one request invites.
const INVITED: usize = 100;

/// Groups: create, join, list, look at, change.
#[derive(Debug, Args)]
pub(crate) struct Group {
    #[command(subcommand)]
    command: Command,
}

/// What every command needs.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    login: LoginArgs,
    /// The device that asks; it shows nothing.
    #[arg(long, default_value = "cli-group")]
    device: String,
    /// Longest wait for the answer.
    #[arg(long, default_value = "15s", value_parser = duration::parse)]
    timeout: Duration,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a group; prints its id.
    Create {
        #[command(flatten)]
        common: Common,
        /// Work, Public, Meeting, AVChatRoom, Community, or a type of the operator's.
        #[arg(long = "type", default_value = "Work")]
        kind: String,
        /// Id; without one the server makes one.
        #[arg(long)]
        id: Option<String>,
        /// Members from the beginning.
        #[arg(long, value_delimiter = ',')]
        members: Vec<String>,
        /// Who may join: free, approval or closed [default: as the type has it].
        #[arg(long, value_parser = parse_option)]
        join: Option<GroupJoinOption>,
        /// Whom members may invite: free, approval or closed [default: as the type has it].
        #[arg(long, value_parser = parse_option)]
        invite: Option<GroupJoinOption>,
        /// A community with topics.
        #[arg(long)]
        topics: bool,
        /// Name that people see.
        name: String,
    },
    /// Join a group, or apply for it.
    Join {
        #[command(flatten)]
        common: Common,
        /// For who decides.
        #[arg(long, default_value = "")]
        text: String,
        /// Which group.
        group: String,
    },
    /// Leave a group.
    Quit {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
    },
    /// End a group.
    Dismiss {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
    },
    /// The groups that the user is in, one line each.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// What is known about groups, one line each.
    Info {
        #[command(flatten)]
        common: Common,
        /// Which groups, at most 50.
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// The members of a group, one line each.
    Members {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
    },
    /// The topics of a community, one line each.
    Topics {
        #[command(flatten)]
        common: Common,
        /// Which community.
        group: String,
    },
    /// Make a topic of a community; prints its id, which `send --group` and `chat --group` take.
    Topic {
        #[command(flatten)]
        common: Common,
        /// Id; without one the server makes one.
        #[arg(long)]
        id: Option<String>,
        /// Which community.
        group: String,
        /// Name that people see.
        name: String,
    },
    /// Destroy topics of a community; prints one line for each.
    Untopic {
        #[command(flatten)]
        common: Common,
        /// Which community.
        group: String,
        /// Which topics.
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Invite users; prints one line for each.
    Invite {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
        /// Whom.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Remove members.
    Kick {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
        /// Whom.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Silence members for a time; 0s: not any more.
    Mute {
        #[command(flatten)]
        common: Common,
        /// How long.
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
        time: Duration,
        /// Which group.
        group: String,
        /// Whom.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Make another member the owner.
    Transfer {
        #[command(flatten)]
        common: Common,
        /// Which group.
        group: String,
        /// Whom.
        #[arg(value_name = "USER")]
        heir: String,
    },
    /// Applications and invitations that wait for a decision, one line each.
    Applications {
        #[command(flatten)]
        common: Common,
        /// Which group; without one, one's own invitations.
        group: Option<String>,
    },
    /// Decide about somebody who applied, or about an invitation of one's own.
    Decide {
        #[command(flatten)]
        common: Common,
        /// Say no.
        #[arg(long)]
        refuse: bool,
        /// Which group.
        group: String,
        /// Who applied, or oneself.
        applicant: String,
    },
}

fn parse_option(text: &str) -> Result<GroupJoinOption, String> {
    match text {
        "free" => Ok(GroupJoinOption::GroupJoinFree),
        "approval" => Ok(GroupJoinOption::GroupJoinApproval),
        "closed" => Ok(GroupJoinOption::GroupJoinClosed),
        _ => Err("write free, approval or closed".to_owned()),
    }
}

impl Group {
    pub(crate) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let common = self.command.common();
            let timeout = common.timeout;
            let client = common.login.clone().login(&common.device, |config| {
                config.cursor = Some(FROM_NOW);
                config.receive = Receive::Nothing;
            });
            let client = client.await?;
            let done = tokio::time::timeout(timeout, self.command.carry_out(&client)).await;
            farewell(&client).await;
            done.with_context(|| format!("no answer within {}", duration::format(timeout)))??;
            Ok(())
        })
    }
}

impl Command {
    fn common(&self) -> &Common {
        match self {
            Self::Create { common, .. }
            | Self::Join { common, .. }
            | Self::Quit { common, .. }
            | Self::Dismiss { common, .. }
            | Self::List { common }
            | Self::Info { common, .. }
            | Self::Members { common, .. }
            | Self::Topics { common, .. }
            | Self::Topic { common, .. }
            | Self::Untopic { common, .. }
            | Self::Invite { common, .. }
            | Self::Kick { common, .. }
            | Self::Mute { common, .. }
            | Self::Transfer { common, .. }
            | Self::Applications { common, .. }
            | Self::Decide { common, .. } => common,
        }
    }

    async fn carry_out(&self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Create { kind, id, members, join, invite, topics, name, .. } => {
                let member =
                    |user: &String| GroupNewMember { user: user.clone(), ..GroupNewMember::default() };
                let create = GroupCreate {
                    r#type: kind.clone(),
                    name: name.clone(),
                    group: id.clone().unwrap_or_default(),
                    join: join.unwrap_or_default().into(),
                    invite: invite.unwrap_or_default().into(),
                    members: members.iter().map(member).collect(),
                    topics: *topics,
                    ..GroupCreate::default()
                };
                let group = client.create_group(create).await?;
                print_line(&json!({ "group": group }))?;
            }
            Self::Join { text, group, .. } => {
                let pending = client.join_group(group, text).await? == Joined::Pending;
                print_line(&json!({ "group": group, "pending": pending }))?;
            }
            Self::Quit { group, .. } => done(client.quit_group(group).await)?,
            Self::Dismiss { group, .. } => done(client.dismiss_group(group).await)?,
            Self::List { .. } => {
                let mut after = String::new();
                loop {
                    let page = client.joined_groups(&after, PAGE).await?;
                    for info in &page.items {
                        print_line(&describe(info))?;
                    }
                    match page.next {
                        Some(next) => after = next,
                        None => return Ok(()),
                    }
                }
            }
            Self::Info { groups, .. } => {
                for info in client.group_infos(groups.clone()).await? {
                    print_line(&describe(&info))?;
                }
            }
            Self::Members { group, .. } => {
                let mut after = String::new();
                loop {
                    let Page { items, next } = client.group_members(group, &[], &after, PAGE).await?;
                    items.iter().try_for_each(|member| print_line(&describe_member(member)))?;
                    match next {
                        Some(next) => after = next,
                        None => return Ok(()),
                    }
                }
            }
            Self::Topics { group, .. } => {
                let mut after = String::new();
                loop {
                    let Page { items, next } = client.topics(group, &after).await?;
                    items.iter().try_for_each(|topic| print_line(&describe_topic(topic)))?;
                    match next {
                        Some(next) => after = next,
                        None => return Ok(()),
                    }
                }
            }
            Self::Topic { id, group, name, .. } => {
                let create = GroupTopicCreate {
                    group: group.clone(),
                    name: name.clone(),
                    topic: id.clone().unwrap_or_default(),
                    ..GroupTopicCreate::default()
                };
                print_line(&json!({ "topic": client.create_topic(create).await? }))?;
            }
            Self::Untopic { group, topics, .. } => {
                for item in client.destroy_topics(group, topics.clone()).await? {
                    print_line(&json!({ "topic": item.topic, "error": item.error }))?;
                }
            }
            Self::Invite { group, users, .. } => {
                for users in users.chunks(INVITED) {
                    for item in client.invite_to_group(group, users.to_vec(), "").await? {
                        let result = match item.result() {
                            GroupInviteResult::GroupInviteAdded => "added",
                            GroupInviteResult::GroupInviteKnown => "known",
                            GroupInviteResult::GroupInviteWaiting => "waiting",
                            GroupInviteResult::GroupInviteFailed => "failed",
                        };
                        print_line(&json!({ "user": item.user, "result": result }))?;
                    }
                }
            }
            Self::Kick { group, users, .. } => {
                done(client.kick_from_group(group, users.clone(), "").await)?;
            }
            Self::Mute { time, group, users, .. } => {
                let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                done(client.mute_group_members(group, users.clone(), seconds).await)?;
            }
            Self::Transfer { group, heir, .. } => done(client.transfer_group(group, heir).await)?,
            Self::Applications { group, .. } => {
                let group = group.as_deref().unwrap_or_default();
                let mut after = String::new();
                loop {
                    let Page { items, next } = client.group_applications(group, &after, PAGE).await?;
                    items.iter().try_for_each(|item| print_line(&describe_application(item)))?;
                    match next {
                        Some(next) => after = next,
                        None => return Ok(()),
                    }
                }
            }
            Self::Decide { refuse, group, applicant, .. } => {
                done(client.handle_application(group, applicant, !refuse, "").await)?;
            }
        }
        Ok(())
    }
}

fn done(outcome: Result<(), RequestError>) -> anyhow::Result<()> {
    outcome?;
    Ok(print_line(&json!({ "done": true }))?)
}

fn describe(info: &GroupInfo) -> Value {
    if info.error != 0 {
        return json!({ "group": info.group, "error": info.error });
    }
    let mut object = json!({
        "group": info.group,
        "type": info.r#type,
        "name": info.name,
        "introduction": info.introduction,
        "notification": info.notification,
        "owner": info.owner,
        "created": info.created_ms,
        "members": info.members,
        "members_max": info.members_max,
        "next_seq": info.next_seq,
        "join": option_name(info.join()),
        "invite": option_name(info.invite()),
        "muted_all": info.muted_all,
    });
    if let Some(own) = &info.own {
        object["role"] = role_name(own.role()).into();
    }
    object
}

fn describe_topic(topic: &GroupTopic) -> Value {
    json!({
        "topic": topic.topic,
        "name": topic.name,
        "introduction": topic.introduction,
        "notification": topic.notification,
        "created": topic.created_ms,
        "next_seq": topic.next_seq,
        "read": topic.own.map(|own| own.read),
        "muted_all": topic.muted_all,
    })
}

fn describe_member(member: &GroupMember) -> Value {
    json!({
        "user": member.user,
        "role": role_name(member.role()),
        "name_card": member.name_card,
        "joined": member.joined_ms,
        "muted_until": member.muted_until_s,
    })
}

fn describe_application(item: &GroupApplication) -> Value {
    json!({
        "user": item.user,
        "inviter": item.inviter,
        "time": item.time_ms,
        "text": item.text,
        "consent": item.consent,
        "handled_by": item.handled_by,
        "agreed": item.agreed,
    })
}

/// As the public contract calls it.
pub(crate) fn role_name(role: GroupRole) -> &'static str {
    match role {
        GroupRole::None => "NotMember",
        GroupRole::Member => "Member",
        GroupRole::Admin => "Admin",
        GroupRole::Owner => "Owner",
    }
}

fn option_name(option: GroupJoinOption) -> &'static str {
    match option {
        GroupJoinOption::GroupJoinDefault => "default",
        GroupJoinOption::GroupJoinFree => "free",
        GroupJoinOption::GroupJoinApproval => "approval",
        GroupJoinOption::GroupJoinClosed => "closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_by_their_names() {
        for name in ["free", "approval", "closed"] {
            assert_eq!(parse_option(name).map(option_name), Ok(name));
        }
        assert!(parse_option("open").is_err());
    }
}
