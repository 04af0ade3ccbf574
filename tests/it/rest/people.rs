//! What REST does about people, as their clients see it.

use nearport_client::{Client, ConnectError, Event, PeopleEvent, Platform, Transport};
use nearport_wire::body::people_event::Event as What;
use nearport_wire::body::{GroupCreate, GroupNewMember};
use serde_json::json;

use super::start;
use crate::node::STUCK;
use crate::sdk::{Access, next};

/// The next thing that a client hears about people.
async fn heard(client: &Client) -> What {
    loop {
        if let Event::People(PeopleEvent { event: Some(what) }) = next(client).await {
            return what;
        }
    }
}

#[tokio::test]
async fn clients_hear_of_it_and_a_deleted_account_is_out_until_it_is_imported() {
    let (dir, node, back_end) = start(&[]);
    let access = Access::of(&node, dir.path());
    let mut config = access.config("alice", &[Transport::Quic]);
    config.platform = Platform::Iphone;
    let alice = access.connect(config);
    alice.ready(STUCK).await.unwrap();
    let bob = access.login("bob", &[Transport::Quic]).await;

    let status =
        back_end.done("openim/query_online_status", &json!({"To_Account": ["alice"], "IsNeedDetail": 1}));
    let online = json!([{"To_Account": "alice", "Status": "Online", "State": "Online",
        "Detail": [{"Platform": "iPhone", "Status": "Online"}]}]);
    assert_eq!(status["QueryResult"], online);

    let friend = json!({"To_Account": "bob", "AddSource": "AddSource_Type_Rest"});
    back_end.done("sns/friend_add", &json!({"From_Account": "alice", "AddFriendItem": [friend]}));
    for client in [&alice, &bob] {
        let What::Relation(sequences) = heard(client).await else { panic!("not the relations") };
        assert_eq!(sequences.standard, 1);
    }
    let nick = json!([{"Tag": "Tag_Profile_IM_Nick", "Value": "Alice"}]);
    back_end.done("profile/portrait_set", &json!({"From_Account": "alice", "ProfileItem": nick}));
    for client in [&alice, &bob] {
        let What::Profile(changed) = heard(client).await else { panic!("not the profile") };
        assert_eq!((changed.user.as_str(), changed.fields.len()), ("alice", 1));
    }
    let create = |id: &str, users: &[&str]| GroupCreate {
        group: id.to_owned(),
        r#type: "Public".to_owned(),
        name: "group".to_owned(),
        members: users
            .iter()
            .map(|user| GroupNewMember { user: (*user).to_owned(), ..Default::default() })
            .collect(),
        ..GroupCreate::default()
    };
    alice.create_group(create("hers", &["bob"])).await.unwrap();
    bob.create_group(create("his", &["alice"])).await.unwrap();

    let deleted =
        back_end.done("im_open_login_svc/account_delete", &json!({"DeleteItem": [{"UserID": "alice"}]}));
    assert_eq!(deleted["ResultItem"], json!([{"UserID": "alice", "ResultCode": 0, "ResultInfo": ""}]));
    while alice.next_event().await.is_some() {}
    let What::Relation(sequences) = heard(&bob).await else { panic!("not the relations") };
    assert_eq!(sequences.standard, 2);
    let friends = json!({"From_Account": "bob", "StartIndex": 0});
    assert_eq!(back_end.done("sns/friend_get", &friends)["FriendNum"], 0);
    let gone = json!({"From_Account": "alice", "StartIndex": 0});
    assert_eq!(back_end.call("sns/friend_get", &gone)["ErrorCode"], 30003);
    for group in ["hers", "his"] {
        let members = bob.group_members(group, &[], "", 10).await.unwrap().items;
        assert_eq!(members.iter().map(|member| member.user.as_str()).collect::<Vec<_>>(), ["bob"], "{group}");
    }
    let infos = bob.group_infos(vec!["hers".to_owned(), "his".to_owned()]).await.unwrap();
    assert_eq!(infos.iter().map(|info| info.owner.as_str()).collect::<Vec<_>>(), ["", "bob"]);

    // The UserSig is as good as ever, and brings nobody back.
    let refused = access.connect(access.config("alice", &[Transport::Quic]));
    let refused = refused.ready(STUCK).await;
    let Err(ConnectError::Stopped { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("deleted"), "{reason}");
    back_end.done("im_open_login_svc/account_import", &json!({"UserID": "alice"}));
    let again = access.login("alice", &[Transport::Quic]).await;
    let profile = json!({"To_Account": ["alice"], "TagList": ["Tag_Profile_IM_Nick"]});
    let profile = back_end.done("profile/portrait_get", &profile);
    assert_eq!(profile["UserProfileItem"][0]["ProfileItem"], json!([]));
    tokio::join!(again.close(), bob.close());
}
