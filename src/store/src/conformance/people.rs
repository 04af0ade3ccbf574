//! The suite of the traits `PeopleTx`, `ConversationTx`, `ExtensionTx` and `ImportTx`; those of `HistoryTx` and `PushTx`
//! are in files of their own.

use nearport_chat::directory::conversations::{ConversationRow, Peer};
use nearport_chat::directory::extensions::{ExtensionHead, ExtensionRow};
use nearport_chat::directory::people::{
    ApplicationRow, FieldValue, Follows, FriendRow, PeopleTx, PhoneRow, RelationHead,
};
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::{AppId, ConvKey, UserKey};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    fields_keep_their_type_and_order(&*make());
    counters_come_back(&*make());
    friends_page_by_their_bytes(&*make());
    a_friend_that_goes_takes_fields_and_groups_along(&*make());
    groups_and_blocks_say_what_changed(&*make());
    applications_page_from_both_sides(&*make());
    phones_move_forward(&*make());
    follows_page_from_both_sides(&*make());
    others_are_found_and_what_is_hers_alone_is_erased(&*make());
    conversations_without_settings_have_no_row(&*make());
    extensions_are_numbered_and_go_with_their_message(&*make());
    an_import_finds_its_mark(&*make());
    work_that_fails_leaves_nothing(&*make());
    apps_and_users_are_apart(&*make());
}

pub(super) fn user(name: &str) -> UserKey {
    UserKey::new(AppId(u32::MAX), name).expect("a good name")
}

pub(super) fn write<T>(
    directory: &dyn Directory,
    mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, DirectoryError>,
) -> T {
    let mut value = None;
    directory
        .write_people(&mut |tx| {
            value = Some(work(tx)?);
            Ok(())
        })
        .expect("writes");
    value.expect("ran")
}

pub(super) fn read<T>(
    directory: &dyn Directory,
    mut work: impl FnMut(&mut dyn PeopleTx) -> Result<T, DirectoryError>,
) -> T {
    let mut value = None;
    directory
        .read_people(&mut |tx| {
            value = Some(work(tx)?);
            Ok(())
        })
        .expect("reads");
    value.expect("ran")
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

fn friend(added_s: u64) -> FriendRow {
    FriendRow {
        added_s,
        source: "AddSource_Type_Web".to_owned(),
        wording: "héllo \u{202e}".to_owned(),
        remark: "كارول 'x' \"y\" %_".to_owned(),
        remark_s: 7,
    }
}

fn fields_keep_their_type_and_order(directory: &dyn Directory) {
    let alice = user("alice");
    let fields = [
        ("Tag_A", FieldValue::Number(u64::from(u32::MAX))),
        ("Tag_B", text("")),
        ("Tag_C", FieldValue::Data(vec![0, 255, 0].into())),
        ("Tag_a", text("lower case comes behind")),
    ];
    write(directory, |tx| {
        assert!(tx.profile(&alice)?.is_empty());
        for (tag, value) in fields.iter().rev() {
            tx.set_profile(&alice, tag, &text("first"))?;
            tx.set_profile(&alice, tag, value)?;
        }
        // A transaction sees what it wrote.
        assert_eq!(tx.profile(&alice)?.len(), fields.len());
        Ok(())
    });
    let want = fields.map(|(tag, value)| (tag.to_owned(), value));
    assert_eq!(read(directory, |tx| tx.profile(&alice)), want);
}

fn counters_come_back(directory: &dyn Directory) {
    let alice = user("alice");
    let head = RelationHead {
        friends: 1,
        standard_seq: 2,
        custom_seq: 3,
        blocks: 4,
        blocks_seq: 5,
        groups_seq: 6,
        applications_seq: 1 << 62,
        applications_read: 8,
    };
    for head in [head, RelationHead { friends: 9, ..head }] {
        write(directory, |tx| {
            tx.lock_relations(&alice)?;
            tx.set_relation_head(&alice, &head)
        });
        assert_eq!(read(directory, |tx| tx.relation_head(&alice)), head);
    }
    assert_eq!(read(directory, |tx| tx.relation_head(&user("bob"))), RelationHead::default());
}

fn friends_page_by_their_bytes(directory: &dyn Directory) {
    let alice = user("alice");
    // In the order of bytes, not of any language.
    let names = ["A", "B", "a", "b", "~"];
    write(directory, |tx| {
        for (name, added_s) in names.iter().rev().zip(0..) {
            tx.put_friend(&alice, name, &friend(1000))?;
            tx.put_friend(&alice, name, &friend(added_s))?;
        }
        tx.put_friend(&user("bob"), "alice", &friend(1))
    });
    read(directory, |tx| {
        let all = tx.friends(&alice, 0, u32::MAX)?;
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(all[0].1, friend(4));
        assert_eq!(tx.friends(&alice, 1, 2)?, all[1..3]);
        assert_eq!(tx.friends(&alice, 5, 2)?, []);
        assert_eq!(tx.friend(&alice, "a")?, Some(friend(2)));
        assert_eq!(tx.friend(&alice, "c")?, None);
        assert_eq!(tx.friend(&user("a"), "alice")?, None, "one way");
        Ok(())
    });
}

fn a_friend_that_goes_takes_fields_and_groups_along(directory: &dyn Directory) {
    let alice = user("alice");
    write(directory, |tx| {
        for name in ["bob", "carol"] {
            tx.put_friend(&alice, name, &friend(1))?;
            tx.set_friend_field(&alice, name, "Tag_SNS_Custom_X", &text("1"))?;
            tx.set_friend_field(&alice, name, "Tag_SNS_Custom_X", &text("2"))?;
            tx.add_friend_group(&alice, "kin")?;
            tx.set_group_member(&alice, "kin", name, true)?;
        }
        assert!(tx.delete_friend(&alice, "bob")?);
        assert!(!tx.delete_friend(&alice, "bob")?);
        Ok(())
    });
    read(directory, |tx| {
        assert_eq!(tx.friend_fields(&alice, "bob")?, []);
        assert_eq!(tx.groups_of_friend(&alice, "bob")?, [""; 0]);
        assert_eq!(tx.friend_group_members(&alice, "kin")?, ["carol"]);
        assert_eq!(tx.friend_fields(&alice, "carol")?, [("Tag_SNS_Custom_X".to_owned(), text("2"))]);
        Ok(())
    });
}

fn groups_and_blocks_say_what_changed(directory: &dyn Directory) {
    let alice = user("alice");
    write(directory, |tx| {
        assert!(tx.add_friend_group(&alice, "同事")?);
        assert!(!tx.add_friend_group(&alice, "同事")?);
        assert!(tx.add_friend_group(&alice, "B")?);
        assert!(tx.set_group_member(&alice, "B", "bob", true)?);
        assert!(!tx.set_group_member(&alice, "B", "bob", true)?);
        assert!(tx.set_group_member(&alice, "B", "bob", false)?);
        assert!(!tx.set_group_member(&alice, "B", "bob", false)?);
        assert!(tx.set_group_member(&alice, "B", "bob", true)?);
        assert_eq!(tx.friend_groups(&alice)?, ["B", "同事"]);
        assert!(tx.delete_friend_group(&alice, "B")?);
        assert!(!tx.delete_friend_group(&alice, "B")?);
        assert_eq!(tx.groups_of_friend(&alice, "bob")?, [""; 0]);

        assert!(tx.add_block(&alice, "bob", 5)?);
        assert!(!tx.add_block(&alice, "bob", 6)?);
        assert!(tx.add_block(&alice, "Zoe", 7)?);
        assert_eq!(tx.block(&alice, "bob")?, Some(5));
        assert_eq!(tx.block(&user("bob"), "alice")?, None);
        assert_eq!(tx.blocks(&alice, 0, 9)?, [("Zoe".to_owned(), 7), ("bob".to_owned(), 5)]);
        assert_eq!(tx.blocks(&alice, 1, 9)?, [("bob".to_owned(), 5)]);
        assert!(tx.delete_block(&alice, "bob")?);
        assert!(!tx.delete_block(&alice, "bob")?);
        Ok(())
    });
}

fn applications_page_from_both_sides(directory: &dyn Directory) {
    let alice = user("alice");
    let row = |id, sent_id| ApplicationRow {
        id,
        sent_id,
        time_s: 9,
        source: String::new(),
        wording: "please".to_owned(),
        remark: "r".to_owned(),
        group: "g".to_owned(),
        single: id == 2,
    };
    write(directory, |tx| {
        for (sender, id) in [("bob", 1), ("carol", 2), ("dave", 3)] {
            tx.put_application(&alice, sender, &row(id, 10 * id))?;
        }
        tx.put_application(&alice, "bob", &row(4, 40))?;
        tx.put_application(&user("zoe"), "bob", &row(1, 41))
    });
    read(directory, |tx| {
        let of = |page: Vec<(String, ApplicationRow)>| {
            page.into_iter().map(|(name, row)| format!("{name}{}", row.id)).collect::<Vec<_>>()
        };
        assert_eq!(of(tx.applications(&alice, u64::MAX, 9)?), ["bob4", "dave3", "carol2"]);
        assert_eq!(of(tx.applications(&alice, 4, 1)?), ["dave3"]);
        assert_eq!(of(tx.sent_applications(&user("bob"), u64::MAX, 9)?), ["zoe1", "alice4"]);
        assert_eq!(of(tx.sent_applications(&user("bob"), 41, 9)?), ["alice4"]);
        assert_eq!(tx.application(&alice, "carol")?, Some(row(2, 20)));
        assert_eq!(tx.application(&user("carol"), "alice")?, None);
        assert_eq!(tx.count_applications(&alice, 0)?, (3, 3));
        assert_eq!(tx.count_applications(&alice, 3)?, (3, 1));
        assert_eq!(tx.count_applications(&alice, u64::MAX)?, (3, 0));
        Ok(())
    });
    write(directory, |tx| {
        assert!(tx.delete_application(&alice, "bob")?);
        assert!(!tx.delete_application(&alice, "bob")?);
        Ok(())
    });
}

fn phones_move_forward(directory: &dyn Directory) {
    let alice = user("alice");
    let phone = |platform, seen_s| PhoneRow { platform, epoch: seen_s * 1000, seen_s };
    write(directory, |tx| {
        for row in [phone(2, 5), phone(1, 7), phone(2, 9), phone(2, 8)] {
            tx.put_phone(&alice, &row)?;
        }
        Ok(())
    });
    assert_eq!(read(directory, |tx| tx.phones(&alice)), [phone(1, 7), phone(2, 9)]);
    write(directory, |tx| tx.delete_phone(&alice, 1));
    assert_eq!(read(directory, |tx| tx.phones(&alice)), [phone(2, 9)]);
}

fn an_import_finds_its_mark(directory: &dyn Directory) {
    let (app, job, other) = (AppId(u32::MAX), [0; 32], [0xff; 32]);
    write(directory, |tx| {
        assert_eq!(tx.import_mark(app, &job)?, None);
        tx.put_import_mark(app, &job, "{\"at\":1}")?;
        tx.put_import_mark(app, &other, "wörd")?;
        tx.put_import_mark(AppId(1), &job, "")
    });
    write(directory, |tx| tx.put_import_mark(app, &job, "2"));
    let marks = |tx: &mut dyn PeopleTx| {
        Ok([tx.import_mark(app, &job)?, tx.import_mark(app, &other)?, tx.import_mark(AppId(1), &job)?])
    };
    assert_eq!(read(directory, marks), ["2", "wörd", ""].map(|mark| Some(mark.to_owned())));
}

fn extensions_are_numbered_and_go_with_their_message(directory: &dyn Directory) {
    let conv = ConvKey::pair(&user("alice"), &user("bob"));
    let row = |key: &str, seq| ExtensionRow { key: key.to_owned(), value: "wörd".to_owned(), seq };
    let none = ExtensionHead::default();
    let head = ExtensionHead { latest: 3, clear: 1 };
    write(directory, |tx| {
        assert_eq!(tx.extension_head(&conv, 7)?, none);
        assert_eq!(tx.lock_extensions(&conv, 7, 1_000)?, none);
        assert_eq!(tx.lock_extensions(&conv, 8, 2_000)?, none);
        tx.set_extension_head(&conv, 7, head)?;
        assert_eq!(tx.lock_extensions(&conv, 7, 3_000)?, head);
        tx.put_extension(&conv, 7, &row("b", 1))?;
        tx.put_extension(&conv, 7, &row("a", 2))?;
        tx.put_extension(&conv, 7, &row("b", 3))?;
        tx.put_extension(&conv, 8, &row("a", 1))
    });
    read(directory, |tx| {
        assert_eq!(tx.extension_head(&conv, 7)?, head);
        assert_eq!(tx.extensions(&conv, 7, 0, 9)?, [row("a", 2), row("b", 3)]);
        assert_eq!(tx.extensions(&conv, 7, 0, 1)?, [row("a", 2)]);
        assert_eq!(tx.extensions(&conv, 7, 2, u32::MAX)?, [row("b", 3)]);
        Ok(())
    });
    // By the first time, however often it was locked later.
    write(directory, |tx| tx.trim_extensions(2_000, 9));
    read(directory, |tx| {
        assert_eq!((tx.extension_head(&conv, 7)?, tx.extensions(&conv, 7, 0, 9)?), (none, Vec::new()));
        assert_eq!(tx.extensions(&conv, 8, 0, 9)?, [row("a", 1)]);
        Ok(())
    });
    write(directory, |tx| tx.clear_extensions(&conv, 8));
    assert_eq!(read(directory, |tx| tx.extensions(&conv, 8, 0, 9)), Vec::new());
}

fn follows_page_from_both_sides(directory: &dyn Directory) {
    let alice = user("alice");
    write(directory, |tx| {
        for (name, added_s) in [("b", 1), ("B", 2), ("c", 3)] {
            assert!(tx.add_follow(&alice, name, added_s)?);
            assert!(!tx.add_follow(&alice, name, 9)?);
        }
        for (name, added_s) in [("c", 4), ("d", 5), ("b", 6)] {
            assert!(tx.add_follow(&user(name), "alice", added_s)?);
        }
        tx.add_follow(&UserKey::new(AppId(1), "z").expect("a good name"), "alice", 1)?;
        assert_eq!(tx.follow(&alice, "c")?, Some(3));
        assert_eq!(tx.follow(&alice, "d")?, None);
        assert!(tx.delete_follow(&user("d"), "alice")?);
        assert!(!tx.delete_follow(&user("d"), "alice")?);
        Ok(())
    });
    read(directory, |tx| {
        let named = |list: Vec<(String, u64)>| {
            list.into_iter().map(|(name, added_s)| format!("{name}{added_s}")).collect::<Vec<_>>()
        };
        for (which, all, behind) in [
            (Follows::Following, vec!["B2", "b1", "c3"], vec!["b1"]),
            (Follows::Followers, vec!["b6", "c4"], vec!["b6"]),
            (Follows::Mutual, vec!["b1", "c3"], vec!["b1"]),
        ] {
            assert_eq!(named(tx.follows(&alice, which, "", 9)?), all);
            assert_eq!(named(tx.follows(&alice, which, "B", 1)?), behind);
            assert_eq!(tx.count_follows(&alice, which)?, all.len() as u64);
        }
        Ok(())
    });
}

fn others_are_found_and_what_is_hers_alone_is_erased(directory: &dyn Directory) {
    let alice = user("alice");
    let application = ApplicationRow::default();
    write(directory, |tx| {
        tx.put_friend(&alice, "a", &friend(1))?;
        tx.put_friend(&user("b"), "alice", &friend(1))?;
        tx.add_block(&alice, "c", 1)?;
        tx.add_block(&user("d"), "alice", 1)?;
        tx.put_application(&alice, "e", &application)?;
        tx.put_application(&user("f"), "alice", &application)?;
        tx.add_follow(&alice, "g", 1)?;
        tx.add_follow(&user("h"), "alice", 1)?;
        tx.put_friend(&user("x"), "y", &friend(1))?;
        tx.put_friend(&UserKey::new(AppId(1), "z").expect("a good name"), "alice", &friend(1))?;
        for owner in [&alice, &user("b")] {
            tx.set_profile(owner, "Tag", &text("x"))?;
            tx.add_friend_group(owner, "kin")?;
            tx.put_phone(owner, &PhoneRow { platform: 1, epoch: 1, seen_s: 1 })?;
            tx.next_conversation_seq(owner)?;
            tx.put_conversation(
                owner,
                &Peer::User("a".to_owned()),
                &ConversationRow { marks: 1, ..Default::default() },
            )?;
            tx.add_conversation_group(owner, "work")?;
            tx.set_conversation_group_member(owner, "work", &Peer::User("a".to_owned()), true)?;
            tx.add_tags(&[(owner, "vip")])?;
            tx.set_attrs(&[(owner, 0, "x")])?;
        }
        assert_eq!(tx.related(&alice, 99)?, ["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(tx.related(&alice, 2)?, ["a", "b"]);
        assert_eq!(tx.related(&user("nobody"), 2)?, [""; 0]);
        tx.erase(&alice)
    });
    for (owner, there) in [(alice, 0), (user("b"), 1)] {
        read(directory, |tx| {
            assert_eq!(tx.profile(&owner)?.len(), there);
            assert_eq!(tx.friend_groups(&owner)?.len(), there);
            assert_eq!(tx.phones(&owner)?.len(), there);
            assert_eq!(tx.conversations(&owner)?.len(), there);
            assert_eq!(tx.conversation_groups(&owner)?.len(), there);
            assert_eq!(tx.conversation_group_members(&owner)?.len(), there);
            assert_eq!(tx.tags(std::slice::from_ref(&owner))?[0].len(), there);
            assert_eq!(tx.attrs(std::slice::from_ref(&owner))?[0].len(), there);
            assert_eq!(tx.conversation_seq(&owner)?, 1, "never goes back");
            Ok(())
        });
    }
}

fn conversations_without_settings_have_no_row(directory: &dyn Directory) {
    let alice = user("alice");
    let (bob, group) = (Peer::User("bob".to_owned()), Peer::Group("@TGS#1".to_owned()));
    let set = ConversationRow {
        pinned_ms: 1,
        marks: 1 << 62,
        quiet: true,
        draft: "wörds".to_owned(),
        draft_ms: 3,
        hidden_seq: 4,
        custom_mark: "mürk".to_owned(),
    };
    write(directory, |tx| {
        assert_eq!(tx.next_conversation_seq(&alice)?, 1);
        assert_eq!(tx.next_conversation_seq(&alice)?, 2);
        tx.put_conversation(&alice, &group, &set)?;
        tx.put_conversation(&alice, &bob, &ConversationRow { marks: 1, ..ConversationRow::default() })?;
        tx.put_conversation(&alice, &bob, &set)?;
        assert!(tx.add_conversation_group(&alice, "work")?);
        assert!(!tx.add_conversation_group(&alice, "work")?);
        assert!(tx.set_conversation_group_member(&alice, "work", &group, true)?);
        assert!(!tx.set_conversation_group_member(&alice, "work", &group, true)?);
        assert!(tx.set_conversation_group_member(&alice, "work", &bob, true)?);
        Ok(())
    });
    read(directory, |tx| {
        assert_eq!(tx.conversation_seq(&alice)?, 2);
        assert_eq!(tx.conversation_seq(&user("bob"))?, 0);
        assert_eq!(tx.conversations(&alice)?, [(bob.clone(), set.clone()), (group.clone(), set.clone())]);
        assert_eq!(tx.conversation(&alice, &group)?, set);
        assert_eq!(tx.conversation_groups(&alice)?, ["work"]);
        let members = [("work".to_owned(), bob.clone()), ("work".to_owned(), group.clone())];
        assert_eq!(tx.conversation_group_members(&alice)?, members);
        Ok(())
    });
    write(directory, |tx| {
        tx.put_conversation(&alice, &bob, &ConversationRow::default())?;
        assert_eq!(tx.conversations(&alice)?.len(), 1);
        assert_eq!(tx.conversation(&alice, &bob)?, ConversationRow::default());
        assert!(tx.set_conversation_group_member(&alice, "work", &bob, false)?);
        assert!(tx.delete_conversation_group(&alice, "work")?);
        assert!(!tx.delete_conversation_group(&alice, "work")?);
        assert_eq!(tx.conversation_group_members(&alice)?, []);
        Ok(())
    });
}

fn work_that_fails_leaves_nothing(directory: &dyn Directory) {
    let alice = user("alice");
    write(directory, |tx| tx.set_profile(&alice, "Tag", &text("before")));
    let failed = directory.write_people(&mut |tx| {
        tx.set_profile(&alice, "Tag", &text("after"))?;
        tx.put_friend(&alice, "bob", &friend(1))?;
        Err(DirectoryError::Abandoned)
    });
    assert!(matches!(failed, Err(DirectoryError::Abandoned)));
    read(directory, |tx| {
        assert_eq!(tx.profile(&alice)?, [("Tag".to_owned(), text("before"))]);
        assert_eq!(tx.friend(&alice, "bob")?, None);
        Ok(())
    });
}

fn apps_and_users_are_apart(directory: &dyn Directory) {
    let (here, there) = (user("alice"), UserKey::new(AppId(1), "alice").expect("a good name"));
    write(directory, |tx| {
        tx.set_profile(&here, "Tag", &text("here"))?;
        tx.put_friend(&here, "bob", &friend(1))?;
        tx.add_block(&here, "bob", 1)?;
        tx.put_application(&here, "bob", &ApplicationRow::default())?;
        tx.add_friend_group(&here, "g")?;
        Ok(())
    });
    for other in [there, user("alic"), user("alice2")] {
        read(directory, |tx| {
            assert_eq!(tx.profile(&other)?, []);
            assert_eq!(tx.friends(&other, 0, 9)?, []);
            assert_eq!(tx.blocks(&other, 0, 9)?, []);
            assert_eq!(tx.applications(&other, u64::MAX, 9)?, []);
            assert_eq!(tx.friend_groups(&other)?, [""; 0]);
            Ok(())
        });
    }
}
