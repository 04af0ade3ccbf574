//! `million_group_open_http_svc`: topics of communities.

use nearport_chat::key::TOPIC_MARK;
use nearport_wire::body::{
    GroupTopic, GroupTopicCreate, GroupTopicEdit, GroupTopicNames, GroupTopicsPage, group_answer::Answer,
    group_call::Call as GroupCall,
};
use nearport_wire::code::group as code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shape::{BigNumber, Wanted, group_id, on_off, reception_name, until};
use super::{ask, bad, done, gone};
use crate::answer::{Empty, Refusal};
use crate::field::{Text, Texts};
use crate::service::TOPICS;
use crate::table::{Call, Command, command};

const BAD: u32 = code::BAD_PARAMETER;

pub(super) fn commands() -> Vec<Command> {
    vec![
        command(TOPICS, "create_topic", 200, "Makes a topic of a community", create),
        command(TOPICS, "get_topic", 200, "Topics of a community, and how an account stands to them", get),
        command(TOPICS, "modify_topic", 200, "Changes the profile of a topic", modify),
        command(TOPICS, "destroy_topic", 200, "Destroys topics", destroy),
        command(TOPICS, "import_topic", 200, "Brings a topic over", import),
    ]
}

/// Where a message is that a request with `GroupId` and `TopicId` is about: the id of the group, or of the topic.
///
/// # Errors
/// 11000 where the App has no topics, `bad_code` for a topic of another community.
pub(super) fn place(call: &Call, group: String, field: Text, bad_code: u32) -> Result<String, Refusal> {
    let Some(topic) = field.optional("TopicId", bad_code)?.filter(|topic| !topic.is_empty()) else {
        return Ok(group);
    };
    enabled(call)?;
    match is_topic_of(&topic, &group) {
        true => Ok(topic),
        false => Err(Refusal::new(bad_code, "TopicId is not that of a topic of GroupId")),
    }
}

fn is_topic_of(topic: &str, group: &str) -> bool {
    let part = topic.strip_prefix(group).and_then(|rest| rest.strip_prefix(TOPIC_MARK));
    part.is_some_and(|part| !part.is_empty())
}

fn enabled(call: &Call) -> Result<(), Refusal> {
    match call.admin.has_topics(call.asker.app) {
        true => Ok(()),
        false => Err(Refusal::new(code::NOT_ENABLED, "topics of communities are not enabled in this app")),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct CreateTopic {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    topic_name: Text,
    /// `<GroupId>@TOPIC#_<part>`; absent: the server makes one.
    #[serde(default)]
    topic_id: Text,
    /// In whose name; absent: the calling administrator's.
    #[serde(default, rename = "From_Account")]
    from: Text,
    #[serde(default)]
    custom_string: Text,
    #[serde(default)]
    face_url: Text,
    #[serde(default)]
    notification: Text,
    #[serde(default)]
    introduction: Text,
    /// Of an import: Unix seconds.
    #[serde(default)]
    create_time: BigNumber,
}

impl CreateTopic {
    fn read(self) -> Result<GroupTopicCreate, Refusal> {
        let text = |field: Text, name: &str| Ok::<_, Refusal>(field.optional(name, BAD)?.unwrap_or_default());
        Ok(GroupTopicCreate {
            group: group_id(self.group_id)?,
            name: self.topic_name.required("TopicName", BAD)?,
            topic: text(self.topic_id, "TopicId")?,
            introduction: text(self.introduction, "Introduction")?,
            notification: text(self.notification, "Notification")?,
            face_url: text(self.face_url, "FaceUrl")?,
            custom: text(self.custom_string, "CustomString")?,
            by: text(self.from, "From_Account")?,
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct TopicCreated {
    topic_id: String,
}

async fn create(call: Call, body: CreateTopic) -> Result<TopicCreated, Refusal> {
    match ask(&call, GroupCall::CreateTopic(body.read()?)).await? {
        Answer::Id(id) => Ok(TopicCreated { topic_id: id.group }),
        _ => Err(gone()),
    }
}

async fn import(call: Call, mut body: CreateTopic) -> Result<TopicCreated, Refusal> {
    let created_s = std::mem::take(&mut body.create_time).optional("CreateTime", BAD)?;
    match call.admin.import_topic(&call.asker, body.read()?, created_s).await.ok_or_else(gone)?? {
        Answer::Id(id) => Ok(TopicCreated { topic_id: id.group }),
        _ => Err(gone()),
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct ModifyTopic {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    topic_id: Text,
    #[serde(default)]
    topic_name: Text,
    #[serde(default)]
    custom_string: Text,
    #[serde(default)]
    face_url: Text,
    #[serde(default)]
    notification: Text,
    #[serde(default)]
    introduction: Text,
    /// `On` or `Off`.
    #[serde(default)]
    mute_all_member: Text,
    #[serde(default)]
    shut_up_all_member: Text,
}

async fn modify(call: Call, body: ModifyTopic) -> Result<Empty, Refusal> {
    let group = group_id(body.group_id)?;
    let topic = body.topic_id.required("TopicId", BAD)?;
    if !is_topic_of(&topic, &group) {
        return Err(bad("TopicId is not that of a topic of GroupId"));
    }
    let edit = GroupTopicEdit {
        topic,
        name: body.topic_name.optional("TopicName", BAD)?,
        introduction: body.introduction.optional("Introduction", BAD)?,
        notification: body.notification.optional("Notification", BAD)?,
        face_url: body.face_url.optional("FaceUrl", BAD)?,
        custom: body.custom_string.optional("CustomString", BAD)?,
        muted_all: on_off(body.mute_all_member.or(body.shut_up_all_member), "MuteAllMember")?,
    };
    done(&call, GroupCall::EditTopic(edit)).await
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GetTopic {
    #[serde(default)]
    group_id: Text,
    /// Who stands to the topics as `SelfInfo` says.
    #[serde(default, rename = "From_Account")]
    from: Text,
    /// Absent or empty: all.
    #[serde(default)]
    topic_id_list: Texts,
    /// Names of fields; absent or empty: all.
    #[serde(default)]
    response_filter: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct GotTopics {
    topic_and_self_info: Vec<TopicAndSelf>,
}

/// A topic of an answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct TopicAndSelf {
    error_code: u32,
    error_info: &'static str,
    /// Absent: the account is no member of the community.
    #[serde(skip_serializing_if = "Option::is_none")]
    self_info: Option<TopicSelf>,
    topic_info: TopicInfo,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct TopicSelf {
    /// Until when the account is muted in the community, Unix seconds; 0: not muted.
    #[serde(skip_serializing_if = "Option::is_none")]
    shut_up_time: Option<u64>,
    /// How far the account has read.
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_flag: Option<&'static str>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct TopicInfo {
    topic_id: String,
    #[serde(rename = "GroupID")]
    group_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    face_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    introduction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_msg_seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_msg_time: Option<u64>,
    /// `On` or `Off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mute_all_member: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_string: Option<String>,
}

async fn get(call: Call, body: GetTopic) -> Result<GotTopics, Refusal> {
    let group = group_id(body.group_id)?;
    let mut wanted = Wanted::of(body.response_filter, "ResponseFilter")?;
    if wanted.is_empty() {
        wanted = Wanted::default();
    }
    let page = GroupTopicsPage {
        group: group.clone(),
        user: body.from.required("From_Account", BAD)?,
        topics: body.topic_id_list.optional("TopicIdList", BAD)?.unwrap_or_default(),
        ..GroupTopicsPage::default()
    };
    match ask(&call, GroupCall::Topics(page)).await? {
        Answer::Topics(topics) => {
            let item = |topic| TopicAndSelf::of(topic, &group, &wanted);
            Ok(GotTopics { topic_and_self_info: topics.items.into_iter().map(item).collect() })
        }
        _ => Err(gone()),
    }
}

impl TopicAndSelf {
    fn of(topic: GroupTopic, group: &str, wanted: &Wanted) -> Self {
        let named = TopicInfo { topic_id: topic.topic, group_id: group.to_owned(), ..TopicInfo::default() };
        if topic.error != 0 {
            return Self {
                error_code: topic.error,
                error_info: error_info(topic.error),
                self_info: None,
                topic_info: named,
            };
        }
        let self_info = topic.own.map(|own| TopicSelf {
            shut_up_time: wanted.get("ShutUpTime", until(own.muted_until_s)),
            msg_seq: wanted.get("MsgSeq", own.read),
            msg_flag: wanted.get("MsgFlag", reception_name(own.reception())),
        });
        let topic_info = TopicInfo {
            topic_name: wanted.get("TopicName", topic.name),
            face_url: wanted.get("FaceUrl", topic.face_url),
            notification: wanted.get("Notification", topic.notification),
            introduction: wanted.get("Introduction", topic.introduction),
            next_msg_seq: wanted.get("NextMsgSeq", topic.next_seq),
            create_time: wanted.get("CreateTime", topic.created_ms / 1000),
            last_msg_time: wanted.get("LastMsgTime", topic.last_message_ms / 1000),
            mute_all_member: wanted.get("MuteAllMember", if topic.muted_all { "On" } else { "Off" }),
            custom_string: wanted.get("CustomString", topic.custom),
            ..named
        };
        Self { error_code: 0, error_info: "", self_info, topic_info }
    }
}

fn error_info(error: u32) -> &'static str {
    match error {
        0 => "",
        code::TOPIC_GONE => "the topic does not exist, or was destroyed",
        _ => "this cannot be the id of a topic",
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct DestroyTopic {
    #[serde(default)]
    group_id: Text,
    #[serde(default)]
    topic_id_list: Texts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct DestroyedTopics {
    destroy_result_item: Vec<DestroyedTopic>,
}

/// What became of a topic.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
struct DestroyedTopic {
    topic_id: String,
    error_code: u32,
    error_info: &'static str,
}

async fn destroy(call: Call, body: DestroyTopic) -> Result<DestroyedTopics, Refusal> {
    let names = GroupTopicNames {
        group: group_id(body.group_id)?,
        topics: body.topic_id_list.required("TopicIdList", BAD)?,
    };
    match ask(&call, GroupCall::DestroyTopics(names)).await? {
        Answer::TopicsDestroyed(destroyed) => {
            let item = |item: nearport_wire::body::GroupTopicDestroyed| DestroyedTopic {
                topic_id: item.topic,
                error_code: item.error,
                error_info: error_info(item.error),
            };
            Ok(DestroyedTopics { destroy_result_item: destroyed.items.into_iter().map(item).collect() })
        }
        _ => Err(gone()),
    }
}
