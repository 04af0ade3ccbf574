//! What an answer about a group says, in the words of the tables.

use nearport_client::groups::{
    GroupApplication, GroupField, GroupInfo, GroupJoinOption, GroupMember, GroupReception, GroupRole,
};
use nearport_client::{Client, Failure, RequestError};
use nearport_wire::body::{self, group_answer::Answer, group_call::Call};

use super::act::{Get, Of, Who};
use super::scene::Scene;
use crate::contract::Got;
use crate::contract::stage::now_s;

impl Scene<'_> {
    pub(super) async fn info(&self, client: &Client, id: &str) -> Result<GroupInfo, RequestError> {
        let info = client.group_infos(vec![id.to_owned()]).await?.remove(0);
        match info.error {
            0 => Ok(info),
            code => Err(refused(code)),
        }
    }

    pub(super) async fn look(&self, client: &Client, get: Get) -> Got {
        // Tips are written behind the answer to what brought them about, and in front of what is asked for then.
        client.flush().await.unwrap();
        let info = match self.info(client, &self.id).await {
            Ok(info) => info,
            Err(error) => return Err::<(), _>(error).into(),
        };
        let now = |ms: u64| (self.began_s..=now_s()).contains(&(ms / 1000));
        match get {
            Get::IdPrefix => {
                let fixed = self.cast.row.as_ref().map_or(0, |row| row.id_prefix.len());
                info.group.chars().take(fixed).collect::<String>().into()
            }
            Get::Type => info.r#type.into(),
            Get::Name => info.name.into(),
            Get::Introduction => info.introduction.into(),
            Get::Notification => info.notification.into(),
            Get::FaceUrl => info.face_url.into(),
            Get::Owner => match info.owner.as_str() {
                "" => "".into(),
                owner => self.role_of(owner).into(),
            },
            Get::CreateTime => now(info.created_ms).into(),
            Get::InfoSeq => info.info_seq.into(),
            Get::LastInfoTime => (info.info_ms > info.created_ms).into(),
            Get::LastMsgTime => match info.last_message_ms {
                0 => "none".into(),
                ms => (ms == self.said.time_ms).into(),
            },
            Get::NextMsgSeq => (info.next_seq - self.said.seq).into(),
            Get::MemberNum => u64::from(info.members).into(),
            Get::MaxMemberNum => u64::from(info.members_max).into(),
            Get::ApplyJoinOption => option_name(info.join(), "DisableApply").into(),
            Get::InviteJoinOption => option_name(info.invite(), "DisableInvite").into(),
            Get::ShutUpAllMember => if info.muted_all { "On" } else { "Off" }.into(),
            Get::Custom(key) => value_of(&info.fields, key).into(),
        }
    }

    pub(super) async fn member(
        &self,
        client: &Client,
        whom: Who,
    ) -> Result<Option<GroupMember>, RequestError> {
        let ask = body::GroupMembersPage {
            group: self.id.clone(),
            users: self.users(whom),
            ..body::GroupMembersPage::default()
        };
        match client.group_call(Call::Members(ask), true).await? {
            Answer::Members(mut page) => Ok(page.members.pop()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn of(&self, whom: Who, member: GroupMember, of: Of) -> Got {
        match of {
            Of::Account => (member.user == self.cast.name(whom)).into(),
            Of::Role => role_name(member.role()).into(),
            Of::JoinTime => (self.began_s..=now_s()).contains(&(member.joined_ms / 1000)).into(),
            Of::MsgFlag => match member.reception() {
                GroupReception::Default => "none",
                GroupReception::Notify => "AcceptAndNotify",
                GroupReception::Quiet => "AcceptNotNotify",
                GroupReception::Discard => "Discard",
            }
            .into(),
            Of::ShutUpUntil => (member.muted_until_s > now_s()).into(),
            Of::NameCard => member.name_card.into(),
            Of::Custom(key) => value_of(&member.fields, key).into(),
        }
    }

    pub(super) fn record(&self, whom: Who, applications: Vec<GroupApplication>) -> String {
        let found = applications.into_iter().find(|one| one.user == self.cast.name(whom));
        found.map_or_else(
            || "none".to_owned(),
            |one| match (one.handled_by.as_str(), one.agreed) {
                ("", _) => format!("{}, open", one.text),
                (by, agreed) => {
                    let how = if agreed { "agreed" } else { "refused" };
                    format!("{}, {how} by {}: {}", one.text, self.role_of(by), one.answer)
                }
            },
        )
    }

    /// Whom of the cast a name is of.
    pub(super) fn role_of<'n>(&self, name: &'n str) -> &'n str {
        name.rsplit('-').next().unwrap_or_default()
    }
}

fn refused(code: u32) -> RequestError {
    let (info, retry_after) = (String::new(), std::time::Duration::ZERO);
    RequestError::Failed(Failure::Refused { code, info, retry_after })
}

fn value_of(fields: &[GroupField], key: &str) -> String {
    let found = fields.iter().find(|field| field.key == key);
    found.map_or_else(|| "none".into(), |field| String::from_utf8(field.value.to_vec()).unwrap())
}

pub(super) fn role_name(role: GroupRole) -> &'static str {
    match role {
        GroupRole::None => "NotMember",
        GroupRole::Member => "Member",
        GroupRole::Admin => "Admin",
        GroupRole::Owner => "Owner",
    }
}

fn option_name(option: GroupJoinOption, closed: &'static str) -> &'static str {
    match option {
        GroupJoinOption::GroupJoinDefault => panic!("a group has an option"),
        GroupJoinOption::GroupJoinFree => "FreeAccess",
        GroupJoinOption::GroupJoinApproval => "NeedPermission",
        GroupJoinOption::GroupJoinClosed => closed,
    }
}
