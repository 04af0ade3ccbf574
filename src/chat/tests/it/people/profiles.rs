//! Profiles.

use nearport_chat::actor::Actor;
use nearport_chat::people::{Config as People, CustomField, FieldOf, Holds};
use nearport_chat::{Config, people};
use nearport_wire::body::people_answer::Answer;
use nearport_wire::body::people_call::Call;
use nearport_wire::body::people_event::Event;
use nearport_wire::body::tag_value::Value;
use nearport_wire::body::{ProfileGet, ProfileSet, TagValue};

use super::{ask, ask_all, names, number, text, world};
use crate::world::{APP, World};

fn custom(key: &str, holds: Holds, app_reads: bool, app_writes: bool) -> CustomField {
    CustomField { app: APP, of: FieldOf::Profile, key: key.to_owned(), holds, app_reads, app_writes }
}

fn with_fields() -> World {
    let people = People {
        fields: vec![
            custom("Shoe", Holds::Text, true, true),
            custom("Blob", Holds::Bytes, true, true),
            custom("Secret", Holds::Text, false, false),
            custom("Rank", Holds::Text, true, false),
            CustomField { app: APP + 1, ..custom("Other", Holds::Text, true, true) },
        ],
        refused_words: vec!["Grüße".to_owned()],
        ..People::default()
    };
    world(Config { people, ..Config::default() })
}

fn set(fields: Vec<TagValue>) -> Call {
    Call::ProfileSet(ProfileSet { fields })
}

fn get(users: &[&str], tags: &[&str]) -> Call {
    Call::ProfileGet(ProfileGet { users: names(users), tags: names(tags) })
}

fn data(tag: &str, len: usize) -> TagValue {
    TagValue { tag: tag.to_owned(), value: Some(Value::Data(vec![0; len].into())) }
}

/// Every row: what is set, and the code.
#[test]
fn each_field_takes_what_it_may_hold_and_says_why_not() {
    let mut world = with_fields();
    let alice = world.login("alice", "a");
    let long = |n: usize| "x".repeat(n);
    let nick = "Tag_Profile_IM_Nick";
    let rows = [
        (vec![text(nick, "")], 0),
        (vec![text(nick, "Żółć עברית 李 👩\u{200d}👧")], 0),
        (vec![text(nick, "Al\u{202e}ecila")], 40605),
        (vec![text(nick, "two\nlines")], 40605),
        (vec![text("Tag_Profile_IM_SelfSignature", "two\nlines")], 0),
        (vec![text(nick, &long(500))], 0),
        (vec![text(nick, &long(501))], 40601),
        (vec![text(nick, "a\0b")], 40605),
        (vec![text("Tag_Profile_Custom_Shoe", "a\0b")], 40001),
        (vec![number(nick, 1)], 40610),
        (vec![data(nick, 3)], 40610),
        (vec![TagValue { tag: nick.to_owned(), value: None }], 40001),
        (vec![], 40001),
        (vec![text("Tag_Profile_IM_Gender", "Gender_Type_Female")], 0),
        (vec![text("Tag_Profile_IM_Gender", "Gender_Type_female")], 40605),
        (vec![number("Tag_Profile_IM_BirthDay", 20_190_419)], 0),
        (vec![number("Tag_Profile_IM_BirthDay", u64::from(u32::MAX))], 0),
        (vec![number("Tag_Profile_IM_BirthDay", u64::from(u32::MAX) + 1)], 40605),
        (vec![text("Tag_Profile_IM_BirthDay", "20190419")], 40610),
        (vec![text("Tag_Profile_IM_Location", &long(16))], 0),
        (vec![text("Tag_Profile_IM_Location", &long(17))], 40605),
        (vec![text("Tag_Profile_IM_AllowType", "AllowType_Type_DenyAny")], 0),
        (vec![text("Tag_Profile_IM_AllowType", "any")], 40605),
        (vec![text("Tag_Profile_IM_AdminForbidType", "AdminForbid_Type_None")], 40008),
        (vec![text("Tag_Profile_IM_Nope", "")], 40009),
        (vec![text("", "")], 40009),
        (vec![text("Tag_Profile_Custom_Shoe", "42")], 0),
        (vec![text("Tag_Profile_Custom_Shoe", &long(501))], 40601),
        (vec![data("Tag_Profile_Custom_Shoe", 1)], 40610),
        (vec![number("Tag_Profile_Custom_Shoe", 42)], 40610),
        (vec![data("Tag_Profile_Custom_Blob", 500)], 0),
        (vec![data("Tag_Profile_Custom_Blob", 501)], 40601),
        (vec![text("Tag_Profile_Custom_Rank", "1")], 40008),
        (vec![text("Tag_Profile_Custom_Other", "another App's")], 40009),
        (vec![text(nick, "schöne grüße!")], 40005),
        (vec![text(nick, "kept"), text("Tag_Profile_IM_Nope", "")], 40009),
    ];
    for (fields, code) in rows {
        let answer = ask(&mut world, alice, set(fields.clone()));
        assert_eq!(answer.map_or_else(|code| code, |_| 0), code, "{fields:?}");
    }
    let Ok(Answer::Profiles(found)) = ask(&mut world, alice, get(&["alice"], &[nick])) else { panic!() };
    assert_eq!(found.profiles[0].fields, [text(nick, &"x".repeat(500))], "all fields of a call or none");
}

#[test]
fn what_is_read_depends_on_rights_and_accounts() {
    let mut world = with_fields();
    let (alice, bob) = (world.login("alice", "a"), world.login("bob", "b"));
    ask(
        &mut world,
        alice,
        set(vec![text("Tag_Profile_IM_Nick", "Al"), text("Tag_Profile_Custom_Shoe", "42")]),
    )
    .unwrap();
    let fields = [
        ("Tag_Profile_Custom_Secret".to_owned(), people_text("s")),
        ("Tag_Profile_IM_AdminForbidType".to_owned(), people_text("AdminForbid_Type_SendOut")),
    ];
    let key = crate::world::user("alice");
    let mut effects = people::Effects::default();
    world.shared.people().set_profile(&Actor::Admin("admin"), &key, &fields, &mut effects).unwrap();

    let Ok(Answer::Profiles(found)) = ask(&mut world, bob, get(&["nobody", "alice", "zero\u{200b}"], &[]))
    else {
        panic!()
    };
    let codes: Vec<_> = found.profiles.iter().map(|profile| (profile.code, profile.fields.len())).collect();
    assert_eq!(codes, [(40003, 0), (0, 3), (40003, 0)], "the secret one is not for clients");
    let many: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let rows = [
        (get(&[], &[]), 40002),
        (get(&many, &[]), 40001),
        (get(&["nobody"], &[]), 40003),
        (get(&["al\u{202e}ice"], &[]), 40003),
        (get(&["alice"], &["Tag_Profile_Custom_Secret"]), 40007),
        (get(&["alice"], &["Tag_Profile_Custom_None"]), 40009),
    ];
    for (call, code) in rows {
        assert_eq!(ask(&mut world, bob, call.clone()).unwrap_err(), code, "{call:?}");
    }
    // A user may not write another one's profile, whoever asks through the desk.
    let bob = crate::world::user("bob");
    let stranger = Actor::User(&bob);
    let refused = world.shared.people().set_profile(&stranger, &key, &fields, &mut effects);
    assert_eq!(refused.unwrap_err().code, 40004);
}

fn people_text(text: &str) -> nearport_chat::directory::people::FieldValue {
    nearport_chat::directory::people::FieldValue::Text(text.to_owned())
}

#[test]
fn a_change_is_told_to_friends_and_own_devices_but_not_to_strangers() {
    let mut world = world(Config::default());
    let (alice, _, _) = (world.login("alice", "a"), world.login("bob", "b"), world.login("carol", "c"));
    world.login("alice", "second");
    let add = super::relations::add(&["bob"]);
    ask(&mut world, alice, add).unwrap();
    let (_, events) = ask_all(&mut world, alice, set(vec![text("Tag_Profile_IM_Nick", "Al")]));
    let told: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(told, ["alice", "bob"]);
    let Event::Profile(changed) = &events[1].1 else { panic!("{events:?}") };
    assert_eq!(
        (changed.user.as_str(), &changed.fields[..]),
        ("alice", &[text("Tag_Profile_IM_Nick", "Al")][..])
    );
}
