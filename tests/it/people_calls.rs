//! The SDK's typed calls about people and conversations against the real server, each once.

use nearport_client::groups::{GroupCreate, GroupNewMember};
use nearport_client::people::{
    Disturb, FriendAddItem, FriendAddType, FriendApplicationAnswer, FriendApplicationAnswerType, FriendList,
    FriendRelation, FriendUpdateItem, Presence, TagValue, tag_value::Value,
};
use nearport_client::{Event, PeopleEvent, SendOptions, Target, group, text, user};

use crate::node::{Node, STUCK};
use crate::sdk::{Access, next};

fn tag(tag: &str, value: &str) -> TagValue {
    TagValue { tag: tag.into(), value: Some(Value::Text(value.into())) }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn friends_groups_of_friends_and_the_blocklist() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let (alice, bob) = (access.login("alice", &[]).await, access.login("bob", &[]).await);
    bob.set_profile(vec![tag("Tag_Profile_IM_AllowType", "AllowType_Type_NeedConfirm")]).await.unwrap();

    // Asked, taken back, asked again, agreed to.
    let item = |wording: &str| FriendAddItem {
        user: "bob".into(),
        source: "AddSource_Type_Rust".into(),
        wording: wording.into(),
        remark: "Bobby".into(),
        group: "hikers".into(),
    };
    let asked = alice.add_friends(vec![item("hi")], FriendAddType::Both).await.unwrap();
    assert_eq!(asked[0].code, 30539);
    assert_eq!(alice.delete_applications(names(&["bob"]), true).await.unwrap()[0].code, 0);
    alice.add_friends(vec![item("again")], FriendAddType::Both).await.unwrap();
    let page = bob.friend_applications(0, 10, false).await.unwrap();
    assert_eq!((page.unread, &*page.applications[0].wording), (1, "again"));
    bob.mark_applications_read(page.applications[0].id).await.unwrap();
    assert_eq!(bob.friend_applications(0, 10, false).await.unwrap().unread, 0);
    let answer = FriendApplicationAnswer {
        users: names(&["alice"]),
        r#type: FriendApplicationAnswerType::FriendApplicationAnswerAcceptAndAdd.into(),
        remark: "Al".into(),
        group: String::new(),
    };
    assert_eq!(bob.answer_friends(answer).await.unwrap()[0].code, 0);

    let friends = alice.friends(0, 10).await.unwrap();
    let first = &friends.friends[0];
    assert_eq!((&*first.user, &*first.remark, &first.groups), ("bob", "Bobby", &names(&["hikers"])));
    let sequences = friends.sequences.unwrap();
    let list = FriendList { standard: sequences.standard, custom: sequences.custom, ..FriendList::default() };
    let known = alice.friends_since(list).await.unwrap();
    assert!(known.friends.iter().all(|friend| friend.remark.is_empty()), "known already: {known:?}");
    let checks = alice.check_friends(names(&["bob", "alice"]), true).await.unwrap();
    assert_eq!(checks[0].relation(), FriendRelation::Both);
    let update = FriendUpdateItem {
        user: "bob".into(),
        fields: vec![tag("Tag_SNS_IM_Remark", "Robert")],
        ..FriendUpdateItem::default()
    };
    assert_eq!(alice.update_friends(vec![update]).await.unwrap()[0].code, 0);
    let infos = alice.friend_infos(names(&["bob"]), Vec::new()).await.unwrap();
    assert_eq!(infos[0].friend.as_ref().unwrap().remark, "Robert");

    alice.create_friend_groups(names(&["work"]), names(&["bob"])).await.unwrap();
    alice.rename_friend_group("work", "office").await.unwrap();
    alice.change_friend_group("hikers", Vec::new(), names(&["bob"])).await.unwrap();
    let groups = alice.friend_groups(Vec::new(), true).await.unwrap().groups;
    let of = |name: &str| groups.iter().find(|group| group.name == name).map(|group| group.users.clone());
    assert_eq!((of("office"), of("hikers"), of("work")), (Some(names(&["bob"])), Some(Vec::new()), None));
    alice.delete_friend_groups(names(&["office"])).await.unwrap();
    assert_eq!(alice.friend_groups(names(&["office"]), true).await.unwrap().groups.len(), 0);

    assert_eq!(alice.delete_friends(names(&["bob"]), false).await.unwrap()[0].code, 0);
    let left = bob.check_friends(names(&["alice"]), true).await.unwrap();
    assert_eq!(left[0].relation(), FriendRelation::AWithB, "one side only");
    bob.delete_all_friends(true).await.unwrap();
    assert_eq!(bob.friends(0, 10).await.unwrap().total, 0);

    assert_eq!(alice.block("bob").await.unwrap().code, 0);
    let blocks = alice.blocks(0, 10, 0).await.unwrap();
    assert_eq!((blocks.total, &*blocks.blocks[0].user), (1, "bob"));
    assert_eq!(alice.blocks(0, 10, blocks.sequence).await.unwrap().blocks.len(), 0, "known already");
    assert_eq!(
        alice.check_blocks(names(&["bob"]), true).await.unwrap()[0].relation(),
        FriendRelation::AWithB
    );
    assert_eq!(alice.unblock("bob").await.unwrap().code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_and_the_list_of_conversations() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), &[]);
    let access = Access::of(&node, dir.path());
    let (alice, bob) = (access.login("alice", &[]).await, access.login("bob", &[]).await);

    let watched = alice.subscribe_statuses(names(&["bob"])).await.unwrap();
    assert_eq!(watched[0].presence(), Presence::Online);
    bob.set_status("hiking").await.unwrap();
    let told = async {
        loop {
            if let Event::People(PeopleEvent { event: Some(event) }) = next(&alice).await {
                break format!("{event:?}");
            }
        }
    };
    let told = tokio::time::timeout(STUCK, told).await.unwrap();
    assert!(told.contains("hiking"), "{told}");
    alice.unsubscribe_statuses(Vec::new()).await.unwrap();

    let create = GroupCreate {
        r#type: "Public".into(),
        name: "g".into(),
        group: "g".into(),
        members: vec![GroupNewMember { user: "bob".into(), ..GroupNewMember::default() }],
        ..GroupCreate::default()
    };
    alice.create_group(create).await.unwrap();
    let members = alice.group_members_named("g", names(&["bob", "nobody"])).await.unwrap();
    assert_eq!(members.iter().map(|member| &*member.user).collect::<Vec<_>>(), ["bob"]);
    let options = || SendOptions { need_receipt: true, ..SendOptions::default() };
    let in_group = bob.send_with(group("g"), text("to all"), options()).await.unwrap();
    bob.send(user("alice"), text("to alice")).await.unwrap();
    assert_eq!(bob.read_counts(group("g"), vec![in_group.seq]).await.unwrap(), [(in_group.seq, 0, 1)]);
    alice.confirm_read(group("g"), vec![in_group.seq]).await.unwrap();
    assert_eq!(bob.read_counts(group("g"), vec![in_group.seq]).await.unwrap(), [(in_group.seq, 1, 0)]);
    bob.edit_data(group("g"), in_group.seq, "{\"v\":1}").await.unwrap();

    let both = || vec![user("bob"), group("g")];
    let with = |page: &[nearport_client::people::Conversation]| -> Vec<Target> {
        page.iter().filter_map(|one| one.with.clone()?.target).collect()
    };
    alice.pin_conversation(group("g"), true).await.unwrap();
    alice.mark_conversations(vec![user("bob")], 1, 0).await.unwrap();
    alice.mute_conversations(vec![user("bob")], Disturb::Quiet).await.unwrap();
    alice.keep_draft(user("bob"), "half a sen").await.unwrap();
    let page = alice.conversations("", 10).await.unwrap();
    assert_eq!(with(&page.conversations), [group("g"), user("bob")], "the pinned one first");
    assert_eq!(with(&alice.conversations_of("", 10, "", 1).await.unwrap().conversations), [user("bob")]);
    let named = alice.conversations_with(vec![user("bob")]).await.unwrap();
    assert_eq!((named[0].marks, named[0].mute(), &*named[0].draft), (1, Disturb::Quiet, "half a sen"));
    let data = &page.conversations[0].last.as_ref().unwrap().message.as_ref().unwrap().content;
    assert_eq!(data.as_ref().unwrap().cloud_custom_data, "{\"v\":1}");

    alice.create_conversation_group("near", both()).await.unwrap();
    alice.change_conversation_group("near", Vec::new(), vec![group("g")]).await.unwrap();
    alice.rename_conversation_group("near", "dear").await.unwrap();
    assert_eq!(alice.conversation_groups().await.unwrap().names, ["dear"]);
    assert_eq!(with(&alice.conversations_of("", 10, "dear", 0).await.unwrap().conversations), [user("bob")]);
    alice.delete_conversation_group("dear").await.unwrap();
    alice.delete_conversations(both()).await.unwrap();
    assert_eq!(alice.conversations("", 10).await.unwrap().conversations.len(), 0);

    // Logged out there is nothing left to reach; a lost phone would be PushOnline.
    bob.log_out().await.unwrap();
    let gone = async {
        while alice.statuses(names(&["bob"])).await.unwrap()[0].presence() != Presence::Offline {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(STUCK, gone).await.unwrap();
}
