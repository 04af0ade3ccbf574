//! The suite of the trait `PushTx`.

use nearport_chat::directory::push::{ATTRS_MAX, Attrs};
use nearport_chat::directory::{Directory, DirectoryError};
use nearport_chat::key::{AppId, UserKey};

use super::people::{read, user, write};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    names_are_of_an_app_and_stay_until_they_change(&*make());
    attributes_go_by_number(&*make());
    tags_are_a_set_in_the_order_of_their_bytes(&*make());
    what_fails_leaves_no_tag(&*make());
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
    assert_eq!(read(directory, |tx| tx.attrs(&[])), [Attrs::new(); 0]);
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
    assert_eq!(read(directory, |tx| Ok((tx.tags(&alice)?, tx.attrs(&alice)?))), (vec![vec![]], vec![Attrs::new()]));
}
