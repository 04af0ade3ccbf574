//! The suite of the trait `AppStore`.

use nearport_chat::audit::Entry;
use nearport_chat::directory::{App, AppKey, Directory, DirectoryError, SettingRow};
use nearport_chat::key::AppId;

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    an_app_has_two_keys_at_most_and_one_at_least(&*make());
    settings_are_set_and_unset_together(&*make());
    each_change_counts_and_is_in_the_audit_log(&*make());
}

fn app(id: u32) -> App {
    App {
        id: AppId(id),
        name: String::new(),
        keys: vec![AppKey::hmac("first", "one", 5)],
        proved_from_s: 0,
        admins: Vec::new(),
        disabled: false,
        created_ms: 5,
    }
}

fn act(what: &str) -> Entry {
    Entry { act: what.to_owned(), who: "operator".to_owned(), ..Entry::default() }
}

fn records(directory: &dyn Directory) -> Vec<Entry> {
    let records = directory.audit_read(0, 100).expect("reads");
    records.iter().map(|record| record.entry().expect("is readable").1).collect()
}

fn an_app_has_two_keys_at_most_and_one_at_least(directory: &dyn Directory) {
    directory.create_app(&app(1)).expect("creates");
    directory.create_app(&app(2)).expect("creates");
    let keys = |id: usize| {
        let apps = directory.apps().expect("reads");
        (apps[id - 1].keys.clone(), apps[id - 1].proved_from_s)
    };
    let (id, second) = (AppId(1), AppKey::ecdsa("a second", "PEM", 6));
    let withdraw = |id, name: &str, from_s| directory.withdraw_app_key(id, name, from_s, &act("withdraw"));
    assert!(matches!(withdraw(id, "first", 9), Err(DirectoryError::LastKey)));
    assert!(matches!(withdraw(id, "nothing", 9), Err(DirectoryError::NoKey(name)) if name == "nothing"));
    assert!(matches!(withdraw(AppId(9), "first", 9), Err(DirectoryError::NoApp(9))));
    let same = AppKey { name: "first".to_owned(), ..second.clone() };
    let exists = directory.add_app_key(id, &same, &act("add"));
    assert!(matches!(exists, Err(DirectoryError::KeyExists(name)) if name == "first"));
    assert!(matches!(directory.add_app_key(AppId(9), &second, &act("add")), Err(DirectoryError::NoApp(9))));
    directory.add_app_key(id, &second, &act("add")).expect("adds");
    let third = AppKey::hmac("third", "three", 7);
    assert!(matches!(directory.add_app_key(id, &third, &act("add")), Err(DirectoryError::TooManyKeys)));
    assert_eq!(keys(1), (vec![app(1).keys[0].clone(), second.clone()], 0));
    assert_eq!(records(directory).len(), 1, "what was refused has no record");

    withdraw(id, "first", 70).expect("withdraws");
    assert_eq!(keys(1), (vec![second.clone()], 70));
    directory.add_app_key(id, &third, &act("add")).expect("adds");
    withdraw(id, "a second", 60).expect("withdraws");
    assert_eq!(keys(1), (vec![third], 70), "the later moment stays");
    assert_eq!(keys(2), (app(2).keys, 0), "another app's stay");
}

fn settings_are_set_and_unset_together(directory: &dyn Directory) {
    directory.create_app(&app(1)).expect("creates");
    directory.create_app(&app(2)).expect("creates");
    let row = |app, name: &str, value: &str| SettingRow {
        app: AppId(app),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let set = |app, changes: &[(&str, Option<&str>)]| {
        directory.set_app_settings(AppId(app), changes, &act("app set"))
    };
    set(1, &[("b", Some("1")), ("a", Some("ü"))]).expect("sets");
    set(2, &[("a", Some("x"))]).expect("sets");
    set(1, &[("b", Some("2")), ("a", None), ("never", None)]).expect("sets");
    assert!(matches!(set(9, &[("a", Some("x"))]), Err(DirectoryError::NoApp(9))));
    let state = directory.apps_state().expect("reads");
    assert_eq!(state.settings, [row(1, "b", "2"), row(2, "a", "x")]);
    assert_eq!(state.apps, directory.apps().expect("reads"));
    let last = records(directory).split_off(3);
    let details: Vec<_> = last.iter().map(|entry| entry.detail.clone()).collect();
    let detail = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    assert_eq!(
        details,
        [
            detail(&[("setting", "b"), ("old", "1"), ("new", "2")]),
            detail(&[("setting", "a"), ("old", "ü")]),
            detail(&[("setting", "never")]),
        ]
    );
}

fn each_change_counts_and_is_in_the_audit_log(directory: &dyn Directory) {
    let version = || directory.apps_version().expect("reads");
    assert_eq!((version(), directory.apps_state().expect("reads").version), (0, 0));
    directory.create_app(&app(1)).expect("creates");
    let mut seen = vec![0, version()];
    directory.add_app_key(AppId(1), &AppKey::hmac("b", "two", 6), &act("add")).expect("adds");
    seen.push(version());
    directory.withdraw_app_key(AppId(1), "first", 0, &act("withdraw")).expect("withdraws");
    seen.push(version());
    directory.set_app_settings(AppId(1), &[("a", Some("x"))], &act("app set")).expect("sets");
    seen.push(version());
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    assert_eq!(directory.apps_state().expect("reads").version, version());
    let acts: Vec<_> = records(directory).into_iter().map(|entry| entry.act).collect();
    assert_eq!(acts, ["add", "withdraw", "app set"]);
}
