//! The suite of the trait `PushTx`.

use nearport_chat::directory::push::{ATTRS_MAX, Attrs, PushCounts, PushPlace, PushRow};
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::{AppId, UserKey};

use super::people::{read, user, write};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    names_are_of_an_app_and_stay_until_they_change(&*make());
    attributes_go_by_number(&*make());
    tags_are_a_set_in_the_order_of_their_bytes(&*make());
    what_fails_leaves_no_tag(&*make());
    pushes_are_found_by_their_random_and_counted(&*make());
    a_push_moves_from_where_it_is_and_is_over_once(&*make());
}

fn attrs(all: &[(u8, &str)]) -> Attrs {
    all.iter().map(|(slot, text)| (*slot, (*text).to_owned())).collect()
}

fn names_are_of_an_app_and_stay_until_they_change(directory: &dyn Directory) {
    let (app, other) = (AppId(u32::MAX), AppId(1));
    let longest = "ö".repeat(25);
    write(directory, |tx| {
        assert_eq!(tx.attr_names(app)?, Attrs::new());
        tx.set_attr_names(app, &attrs(&[(0, "sex"), (ATTRS_MAX - 1, &longest)]))?;
        tx.set_attr_names(other, &attrs(&[(0, "elsewhere")]))?;
        tx.set_attr_names(app, &Attrs::new())?;
        tx.set_attr_names(app, &attrs(&[(0, "性別"), (1, "city")]))
    });
    let names = read(directory, |tx| Ok((tx.attr_names(app)?, tx.attr_names(other)?)));
    assert_eq!(names, (attrs(&[(0, "性別"), (1, "city"), (9, &longest)]), attrs(&[(0, "elsewhere")])));
}

fn attributes_go_by_number(directory: &dyn Directory) {
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let elsewhere = UserKey::new(AppId(1), "alice").expect("a good name");
    write(directory, |tx| {
        tx.set_attrs(&[(&alice, 1, "first"), (&bob, 9, "b"), (&alice, 1, "wörd"), (&alice, 0, "'")])?;
        tx.set_attrs(&[(&elsewhere, 1, "there")])?;
        tx.set_attrs(&[])?;
        tx.delete_attrs(&[(&bob, 9), (&bob, 9), (&carol, 3)])
    });
    let found = read(directory, |tx| tx.attrs(&[bob.clone(), alice.clone(), carol.clone(), alice.clone()]));
    let hers = attrs(&[(0, "'"), (1, "wörd")]);
    assert_eq!(found, [Attrs::new(), hers.clone(), Attrs::new(), hers]);
    assert!(read(directory, |tx| tx.attrs(&[])).is_empty());
}

fn tags_are_a_set_in_the_order_of_their_bytes(directory: &dyn Directory) {
    let (alice, bob) = (user("alice"), user("bob"));
    let elsewhere = UserKey::new(AppId(1), "alice").expect("a good name");
    let all = ["A", "a", "b", "~", "ä"];
    write(directory, |tx| {
        for tag in all.iter().rev() {
            tx.add_tags(&[(&alice, tag), (&alice, tag), (&elsewhere, tag)])?;
        }
        tx.add_tags(&[(&alice, "b"), (&bob, "b")])?;
        tx.add_tags(&[])
    });
    let tags = |users: &[UserKey]| read(directory, |tx| tx.tags(users));
    assert_eq!(tags(&[bob.clone(), alice.clone(), user("nobody")]), [&["b"][..], &all, &[]]);
    write(directory, |tx| tx.delete_tags(&[(&alice, "b"), (&alice, "c"), (&user("nobody"), "b")]));
    assert_eq!(tags(&[alice.clone(), bob.clone()]), [&["A", "a", "~", "ä"][..], &["b"]]);
    write(directory, |tx| tx.clear_tags(&[alice.clone(), user("nobody")]));
    assert_eq!(tags(&[alice, bob, elsewhere]), [&[][..], &["b"], &all]);
}

fn what_fails_leaves_no_tag(directory: &dyn Directory) {
    let alice = user("alice");
    let failed = directory.write_people(&mut |tx| {
        tx.add_tags(&[(&alice, "vip")])?;
        tx.set_attrs(&[(&alice, 0, "x")])?;
        Err(DirectoryError::Abandoned)
    });
    assert!(matches!(failed, Err(DirectoryError::Abandoned)));
    let alice = [alice];
    assert_eq!(
        read(directory, |tx| Ok((tx.tags(&alice)?, tx.attrs(&alice)?))),
        (vec![vec![]], vec![Attrs::new()])
    );
}

fn push(number: u64, random: u32, created_ms: u64) -> PushRow {
    PushRow {
        number,
        random,
        created_ms,
        from: "admin".to_owned(),
        life_time_s: 604_800,
        condition: "{\"wörd\":1}".to_owned(),
        message: vec![0, 255, 0].into(),
        place: PushPlace::default(),
    }
}

fn pushes_are_found_by_their_random_and_counted(directory: &dyn Directory) {
    let (app, other) = (AppId(u32::MAX), AppId(1));
    write(directory, |tx| {
        assert_eq!(tx.push_counts(app, 0)?, PushCounts::default());
        tx.add_push(app, &push(1, u32::MAX, 1_000))?;
        tx.add_push(app, &push(2, 7, 2_000))?;
        tx.add_push(app, &push(3, u32::MAX, 3_000))?;
        tx.add_push(other, &push(9, 7, 9_000))?;
        let over = PushPlace { done_ms: 5, ..PushPlace::default() };
        assert!(tx.move_push(app, 1, &PushPlace::default(), &over)?);
        Ok(())
    });
    let counts = PushCounts { last: 3, last_ms: 3_000, since: 2, open: 2 };
    read(directory, |tx| {
        assert_eq!(tx.push_counts(app, 2_000)?, counts);
        assert_eq!(tx.push_by_random(app, u32::MAX, 0)?, Some((3, 3_000)));
        assert_eq!(tx.push_by_random(app, 7, 2_000)?, Some((2, 2_000)));
        assert_eq!(tx.push_by_random(app, 7, 2_001)?, None);
        assert_eq!(tx.push_by_random(app, 8, 0)?, None);
        Ok(())
    });
    let again = directory.write_people(&mut |tx| tx.add_push(app, &push(3, 1, 1)));
    again.expect_err("a number is given once");
    // One that is not over stays, however old.
    write(directory, |tx| tx.trim_pushes(app, 2_500));
    let left = PushCounts { since: 2, ..counts };
    assert_eq!(read(directory, |tx| tx.push_counts(app, 0)), left);
    assert_eq!(read(directory, |tx| tx.push_counts(other, 0)).last, 9);
}

fn a_push_moves_from_where_it_is_and_is_over_once(directory: &dyn Directory) {
    let (app, other) = (AppId(u32::MAX), AppId(1));
    let first = PushPlace { until: "m".to_owned(), ..PushPlace::default() };
    let second = PushPlace { after: "m".to_owned(), until: "z".to_owned(), sent: 128, done_ms: 0 };
    let over = PushPlace { done_ms: 9, until: String::new(), ..second.clone() };
    write(directory, |tx| {
        tx.add_push(app, &push(1, 1, 1))?;
        tx.add_push(app, &push(2, 2, 2))?;
        tx.add_push(other, &push(1, 1, 1))
    });
    let open = |after: Option<AppId>| read(directory, |tx| tx.open_push(after));
    for in_front in [None, Some(AppId(0))] {
        assert_eq!(open(in_front), Some((other, push(1, 1, 1))));
    }
    for between in [other, AppId(2), AppId(u32::MAX - 1)] {
        assert_eq!(open(Some(between)), Some((app, push(1, 1, 1))));
    }
    assert_eq!(open(Some(app)), None);
    let moved = |from: &PushPlace, to: &PushPlace| write(directory, |tx| tx.move_push(app, 1, from, to));
    assert!(moved(&PushPlace::default(), &first));
    assert!(!moved(&PushPlace::default(), &first), "it is there already");
    assert!(moved(&first, &second));
    assert!(!moved(&first, &over));
    let under_way = PushRow { place: second.clone(), ..push(1, 1, 1) };
    assert_eq!(open(Some(other)), Some((app, under_way)));
    assert!(moved(&second, &over));
    assert_eq!(open(None), Some((other, push(1, 1, 1))));
    assert_eq!(open(Some(other)), Some((app, push(2, 2, 2))));
    let done = PushPlace { done_ms: 9, ..PushPlace::default() };
    assert!(write(directory, |tx| tx.move_push(app, 2, &PushPlace::default(), &done)));
    assert_eq!(open(Some(other)), None);
    assert!(!write(directory, |tx| tx.move_push(app, 7, &PushPlace::default(), &first)), "there is none");
}
