//! Topics of communities as clients have them.

use nearport_client::groups::{
    GroupCreate, GroupEvent, GroupHead, GroupMemberEdit, GroupNewMember, GroupReception, GroupTopicCreate,
    GroupTopicEdit, GroupTopicHow,
};
use nearport_client::{Event, Failure, HistoryRange, Message, RequestError, SendError, group, text};
use nearport_wire::body::group_event::What;
use nearport_wire::code::group as code;

use crate::contract::stage::{Device, Stage};

const TOPIC_CREATED: u32 = 20;
const TOPIC_CHANGED: u32 = 9;

/// A community of `owner` with `members`.
async fn community(owner: &Device, members: &[&Device]) -> String {
    let new = |member: &&Device| GroupNewMember { user: member.name.clone(), ..GroupNewMember::default() };
    let create = GroupCreate {
        r#type: "Community".into(),
        name: "City".into(),
        topics: true,
        members: members.iter().map(new).collect(),
        ..GroupCreate::default()
    };
    owner.client.create_group(create).await.unwrap()
}

fn topic_of(community: &str, name: &str) -> GroupTopicCreate {
    GroupTopicCreate { group: community.into(), name: name.into(), ..GroupTopicCreate::default() }
}

/// Says something, and where it stands.
async fn say(device: &Device, topic: &str, words: &str) -> Result<u64, u32> {
    match device.client.send(group(topic), text(words)).await {
        Ok(sent) => Ok(sent.seq),
        Err(SendError::Failed(Failure::Refused { code, .. })) => Err(code),
        Err(other) => panic!("{other}"),
    }
}

fn refused<T>(outcome: Result<T, RequestError>) -> u32 {
    match outcome {
        Err(RequestError::Failed(Failure::Refused { code, .. })) => code,
        Err(other) => panic!("{other}"),
        Ok(_) => 0,
    }
}

/// What `device` was given of a conversation of a group, tips left out.
fn heard(events: &[Event], topic: &str) -> Vec<String> {
    let words = events.iter().filter_map(|event| match event {
        Event::Message(message) if message.group() == Some(topic) && message.tip().is_none() => {
            Some(message.text().to_string())
        }
        _ => None,
    });
    words.collect()
}

async fn hears(device: &Device, topic: &str, words: &str) {
    let last = |events: &[Event]| (heard(events, topic).last()? == words).then_some(());
    device.until(words, last).await;
}

async fn tip(device: &Device, at: &str, kind: u32) -> Message {
    let find = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::Message(message) if message.group() == Some(at) => {
                message.tip().filter(|tip| tip.r#type == kind).map(|_| message.clone())
            }
            _ => None,
        })
    };
    device.until("a tip", find).await
}

/// Waits until `device` is told of a topic.
async fn told(device: &Device, topic: &str, how: GroupTopicHow) -> GroupEvent {
    let find = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::Group(event) if event.what() == What::Topics => {
                let here = event.topics.iter().any(|change| change.topic == topic && change.how() == how);
                here.then(|| event.clone())
            }
            _ => None,
        })
    };
    device.until("a topic", find).await
}

async fn head(device: &Device, topic: &str) -> Option<GroupHead> {
    device.client.flush().await.unwrap();
    device.client.group_heads().await.unwrap().into_iter().find(|head| head.group == topic)
}

#[tokio::test]
async fn a_topic_is_a_conversation_of_its_own_of_all_members() {
    let stage = Stage::start(&[]);
    let (ann, ben, cat) = (stage.login("ann").await, stage.login("ben").await, stage.login("cat").await);
    let city = community(&ann, &[&ben]).await;
    assert_eq!(refused(ben.client.create_topic(topic_of(&city, "News")).await), code::NO_PERMISSION);
    assert_eq!(refused(cat.client.create_topic(topic_of(&city, "News")).await), code::NO_PERMISSION);
    let news = ann.client.create_topic(topic_of(&city, "News")).await.unwrap();
    assert!(news.starts_with(&format!("{city}@TOPIC#_@TOPIC#")), "{news}");
    // Members hear of it at once, and those who come later read it in the community.
    assert_eq!(told(&ben, &news, GroupTopicHow::Created).await.group, city);
    let made = tip(&ben, &city, TOPIC_CREATED).await;
    let changes = made.tip().unwrap().changes.clone();
    let changes: Vec<_> = changes.iter().map(|change| (&*change.field, &*change.value)).collect();
    assert_eq!(changes, [("TopicId", &*news), ("TopicName", "News")]);

    // A sequence of its own, beside that of the community and of other topics.
    let talk = ann.client.create_topic(topic_of(&city, "Talk")).await.unwrap();
    assert_eq!(say(&ben, &news, "one").await, Ok(1));
    assert_eq!(say(&ann, &news, "two").await, Ok(2));
    assert_eq!(say(&ann, &talk, "elsewhere").await, Ok(1));
    hears(&ann, &news, "one").await;
    hears(&ben, &news, "two").await;
    hears(&ben, &talk, "elsewhere").await;
    assert_eq!(say(&cat, &news, "x").await, Err(code::NO_PERMISSION));
    let history = cat.client.history(group(&news), HistoryRange::Newest, 9).await;
    assert_eq!(refused(history), code::NO_PERMISSION);
    assert_eq!(say(&ben, &format!("{city}@TOPIC#_none"), "x").await, Err(code::TOPIC_GONE));

    // Whoever joins reads what was said before, and nothing of it is unread.
    cat.client.join_group(&city, "").await.unwrap();
    let before = head(&cat, &news).await.unwrap();
    assert_eq!((before.seq, before.unread, before.read), (2, 0, 0));
    let history = cat.client.history(group(&news), HistoryRange::Newest, 9).await.unwrap();
    let words: Vec<_> = history.messages.iter().map(|message| message.text().to_string()).collect();
    assert_eq!(words, ["two", "one"]);
    assert_eq!(say(&ann, &news, "three").await, Ok(3));
    hears(&cat, &news, "three").await;
    assert_eq!(head(&cat, &news).await.unwrap().unread, 1);
    cat.client.mark_read(group(&news), 3).await.unwrap();
    let after = head(&cat, &news).await.unwrap();
    assert_eq!((after.unread, after.read), (0, 3));
    let own = cat.client.topics_named(&city, vec![news.clone(), talk.clone()]).await.unwrap();
    let own: Vec<_> =
        own.iter().map(|topic| (&*topic.name, topic.own.unwrap().read, topic.next_seq)).collect();
    assert_eq!(own, [("News", 3, 4), ("Talk", 0, 2)]);
    assert_eq!(ben.client.topics(&city, "").await.unwrap().items.len(), 2);

    // A device that was away gets what was said meanwhile, once.
    ben.client.flush().await.unwrap();
    ben.close().await;
    assert_eq!(say(&ann, &news, "four").await, Ok(4));
    let garden = ann.client.create_topic(topic_of(&city, "Garden")).await.unwrap();
    assert_eq!(say(&cat, &garden, "five").await, Ok(1));
    let ben = stage.login("ben").await;
    hears(&ben, &news, "four").await;
    hears(&ben, &garden, "five").await;
    ben.fence(&ann).await;
    assert_eq!(heard(&ben.events(), &talk), [""; 0], "shown before");

    // Recalled, and for all to see.
    ann.client.recall(group(&news), 4, "").await.unwrap();
    let recalled = |events: &[Event]| {
        let here = |event: &Event| matches!(event, Event::Recalled(message) if message.group() == Some(&news) && message.seq == 4);
        events.iter().any(here).then_some(())
    };
    cat.until("a recall", recalled).await;
    for device in [ann, ben, cat] {
        device.close().await;
    }
}

#[tokio::test]
async fn members_roles_and_mutes_of_topics_are_those_of_the_community() {
    let stage = Stage::start(&[]);
    let (ann, ben, cat) = (stage.login("ann").await, stage.login("ben").await, stage.login("cat").await);
    let city = community(&ann, &[&ben, &cat]).await;
    let news = ann.client.create_topic(topic_of(&city, "News")).await.unwrap();
    let edit = |muted_all| GroupTopicEdit {
        topic: news.clone(),
        muted_all: Some(muted_all),
        ..GroupTopicEdit::default()
    };
    assert_eq!(refused(ben.client.edit_topic(edit(true)).await), code::NO_PERMISSION);
    ann.client.edit_topic(edit(true)).await.unwrap();
    told(&ben, &news, GroupTopicHow::Changed).await;
    let changed = tip(&ben, &news, TOPIC_CHANGED).await;
    assert_eq!(changed.tip().unwrap().changes[0].field, "MuteAllMember");
    assert_eq!(say(&ben, &news, "x").await, Err(code::MUTED));
    assert_eq!(say(&ben, &city, "in the community").await.map(drop), Ok(()), "of this topic alone");
    assert_eq!(say(&ann, &news, "the owner").await, Ok(2));
    ann.client.edit_topic(edit(false)).await.unwrap();
    assert_eq!(say(&ben, &news, "again").await, Ok(4));
    ann.client.mute_group_members(&city, vec!["ben".into()], 60).await.unwrap();
    assert_eq!(say(&ben, &news, "x").await, Err(code::MUTED));
    ann.client.mute_group_members(&city, vec!["ben".into()], 0).await.unwrap();

    // What a member does not want of one topic ends at the device, and comes when it is wanted again.
    let receive = |reception: GroupReception| GroupMemberEdit {
        group: news.clone(),
        reception: reception.into(),
        ..GroupMemberEdit::default()
    };
    hears(&cat, &news, "again").await;
    cat.client.edit_group_member(receive(GroupReception::Discard)).await.unwrap();
    let discarded = |heads: Vec<GroupHead>| heads.iter().any(|head| head.group == news && head.discarded);
    assert!(discarded(cat.client.group_heads().await.unwrap()));
    let other = ann.client.create_topic(topic_of(&city, "Other")).await.unwrap();
    cat.client.edit_group_member(receive(GroupReception::Notify)).await.unwrap();
    assert!(!discarded(cat.client.group_heads().await.unwrap()));
    assert_eq!(say(&ann, &news, "wanted").await, Ok(5));
    hears(&cat, &news, "wanted").await;
    let more = GroupMemberEdit { name_card: Some("Cat".into()), ..receive(GroupReception::Quiet) };
    assert_eq!(refused(cat.client.edit_group_member(more).await), code::BAD_PARAMETER);

    // Whoever is sent away hears nothing more.
    ann.client.kick_from_group(&city, vec!["ben".into()], "").await.unwrap();
    assert_eq!(say(&ben, &news, "x").await, Err(code::NO_PERMISSION));
    assert_eq!(head(&ben, &news).await, None);
    assert_eq!(say(&ann, &news, "without ben").await, Ok(6));
    hears(&cat, &news, "without ben").await;
    ben.fence(&ann).await;
    assert!(!heard(&ben.events(), &news).contains(&"without ben".into()));

    // Destroyed, and with the community.
    assert_eq!(refused(cat.client.destroy_topics(&city, vec![news.clone()]).await), code::NO_PERMISSION);
    let destroyed = ann.client.destroy_topics(&city, vec![news.clone(), "x".into()]).await.unwrap();
    let outcomes: Vec<_> = destroyed.iter().map(|item| (&*item.topic, item.error)).collect();
    assert_eq!(outcomes, [(&*news, 0), ("x", code::TOPIC_GONE)]);
    told(&cat, &news, GroupTopicHow::Destroyed).await;
    assert_eq!(say(&ann, &news, "x").await, Err(code::TOPIC_GONE));
    assert_eq!(head(&cat, &news).await, None);
    assert!(head(&cat, &other).await.is_some());
    ann.client.dismiss_group(&city).await.unwrap();
    assert_eq!(say(&ann, &other, "x").await, Err(code::TOPIC_GONE));
    assert_eq!(head(&cat, &other).await, None);
    for device in [ann, ben, cat] {
        device.close().await;
    }
}
