//! The suite of the trait `Accounts`.

use nearport_chat::directory::{Account, App, AppKey, Directory, DirectoryError, Mutes};
use nearport_chat::key::{AppId, UserKey};

pub(super) fn all(make: impl Fn() -> Box<dyn Directory>) {
    apps_come_back_by_id(&*make());
    an_app_id_is_taken_once(&*make());
    accounts_come_in_the_order_asked(&*make());
    a_registered_account_stays_as_it_is(&*make());
    valid_from_moves_forward(&*make());
    mutes_are_set_one_by_one(&*make());
    a_deleted_account_comes_back_by_import_alone(&*make());
    members_are_gone_through_by_the_bytes_of_their_names(&*make());
}

fn members_are_gone_through_by_the_bytes_of_their_names(directory: &dyn Directory) {
    let names = ["A", "B", "a", "b", "~"];
    let all: Vec<_> = names.iter().rev().zip(1..).map(|(name, made_ms)| account(1, name, made_ms)).collect();
    directory.register(&all).expect("registers");
    directory.register(&[account(2, "a", 1)]).expect("registers");
    let page = |after, until, made_ms, limit| {
        let found = directory.members(AppId(1), (after, until), made_ms, limit).expect("reads");
        assert!(found.iter().all(|user| user.app() == AppId(1)));
        found.iter().map(|user| user.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page("", "\u{7f}", u64::MAX, 9), names);
    assert_eq!(page("", "\u{7f}", u64::MAX, 2), ["A", "B"]);
    assert_eq!(page("B", "b", u64::MAX, 9), ["a", "b"]);
    assert_eq!(page("", "\u{7f}", 2, 9), ["b", "~"]);
    directory.delete_account(&account(1, "a", 0).key, 9).expect("deletes");
    assert_eq!(page("B", "b", u64::MAX, 9), ["b"]);
    assert_eq!(page("~", "\u{7f}", u64::MAX, 9), [""; 0]);
}

fn app(id: u32) -> App {
    App {
        id: AppId(id),
        name: format!("app {id} ünïcode"),
        keys: vec![AppKey::hmac(
            "first",
            "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e",
            7,
        )],
        proved_from_s: 9,
        admins: vec!["root".to_owned(), "administrator".to_owned()],
        disabled: false,
        created_ms: 1_700_000_000_123,
    }
}

fn account(app: u32, name: &str, created_ms: u64) -> Account {
    let key = UserKey::new(AppId(app), name).expect("a good name");
    Account { key, created_ms, valid_from_s: 0, mutes: Mutes::default() }
}

fn get(directory: &dyn Directory, key: &UserKey) -> Option<Account> {
    directory.accounts(std::slice::from_ref(key)).expect("reads").remove(0)
}

fn apps_come_back_by_id(directory: &dyn Directory) {
    assert!(directory.apps().expect("reads").is_empty());
    let plain = App {
        keys: vec![
            AppKey::ecdsa("old", "-----BEGIN PUBLIC KEY-----\n", 5),
            AppKey::hmac("a new one", "secret", 6),
        ],
        admins: Vec::new(),
        disabled: true,
        ..app(7)
    };
    // The largest id shows whether a column is wide enough.
    for app in [app(u32::MAX), plain.clone(), app(1)] {
        directory.create_app(&app).expect("creates");
    }
    assert!(directory.apps().expect("reads") == [app(1), plain, app(u32::MAX)], "not what was created");
}

fn an_app_id_is_taken_once(directory: &dyn Directory) {
    directory.create_app(&app(1)).expect("creates");
    let other = App { name: "other".to_owned(), admins: vec!["mallory".to_owned()], ..app(1) };
    assert!(matches!(directory.create_app(&other), Err(DirectoryError::AppExists(1))));
    assert!(directory.apps().expect("reads") == [app(1)], "the first one changed");
}

fn accounts_come_in_the_order_asked(directory: &dyn Directory) {
    let (alice, bob, other) = (account(1, "alice", 5), account(1, "Bob", 6), account(2, "alice", 7));
    directory.register(&[bob.clone(), alice.clone(), other.clone()]).expect("registers");
    let nobody = account(1, "bob", 0).key;
    let keys = [alice.key.clone(), nobody, bob.key.clone(), other.key.clone(), alice.key.clone()];
    let found = directory.accounts(&keys).expect("reads");
    assert_eq!(found, [Some(alice.clone()), None, Some(bob), Some(other), Some(alice)]);
    assert_eq!(directory.accounts(&[]).expect("reads"), []);
}

fn a_registered_account_stays_as_it_is(directory: &dyn Directory) {
    let first = account(1, "alice", 5);
    directory.register(std::slice::from_ref(&first)).expect("registers");
    let late = account(1, "carol", 9);
    directory.register(&[account(1, "alice", 9), late.clone(), late.clone()]).expect("registers");
    assert_eq!(get(directory, &first.key), Some(first));
    assert_eq!(get(directory, &late.key), Some(late));
    directory.register(&[]).expect("nothing to do");
}

fn valid_from_moves_forward(directory: &dyn Directory) {
    let alice = account(1, "alice", 5);
    directory.register(&[alice.clone(), account(1, "bob", 5)]).expect("registers");
    for (unix_s, expected) in [(100, 100), (50, 100), (200, 200)] {
        directory.set_valid_from(&alice.key, unix_s).expect("sets");
        assert_eq!(get(directory, &alice.key).map(|account| account.valid_from_s), Some(expected));
    }
    assert_eq!(get(directory, &account(1, "bob", 5).key).map(|account| account.valid_from_s), Some(0));
    let nobody = account(1, "nobody", 0).key;
    directory.set_valid_from(&nobody, 100).expect("does nothing");
    assert_eq!(get(directory, &nobody), None);
}

fn mutes_are_set_one_by_one(directory: &dyn Directory) {
    let (alice, bob) = (account(1, "alice", 5), account(1, "bob", 5));
    directory.register(&[alice.clone(), bob.clone()]).expect("registers");
    let mutes = |key| get(directory, key).expect("it is registered").mutes;
    let expected = |users_until_ms, groups_until_ms| Mutes { users_until_ms, groups_until_ms };
    assert_eq!(mutes(&alice.key), Mutes::default());
    let forever = Mutes::FOR_EVER_MS;
    // Unlike `valid_from`, the last word counts, whichever way it goes.
    for (users, groups, after) in [
        (Some(100), None, expected(100, 0)),
        (None, Some(forever), expected(100, forever)),
        (Some(50), Some(60), expected(50, 60)),
        (None, None, expected(50, 60)),
        (Some(0), None, expected(0, 60)),
    ] {
        directory.set_mutes(&alice.key, users, groups).expect("sets");
        assert_eq!(mutes(&alice.key), after);
    }
    directory.register(std::slice::from_ref(&alice)).expect("changes nothing");
    assert_eq!(mutes(&alice.key), expected(0, 60));
    assert_eq!(mutes(&bob.key), Mutes::default());
    let nobody = account(1, "nobody", 0).key;
    directory.set_mutes(&nobody, Some(1), Some(1)).expect("does nothing");
    assert_eq!(get(directory, &nobody), None);
}

fn a_deleted_account_comes_back_by_import_alone(directory: &dyn Directory) {
    let (alice, bob) = (account(1, "alice", 5), account(1, "bob", 5));
    assert_eq!(directory.register(&[alice.clone(), bob.clone()]).expect("registers"), []);
    directory.set_valid_from(&alice.key, 100).expect("sets");
    assert!(directory.delete_account(&alice.key, 7).expect("deletes"));
    assert!(!directory.delete_account(&alice.key, 8).expect("nothing to do"));
    assert!(!directory.delete_account(&account(1, "nobody", 0).key, 8).expect("nothing to do"));
    assert_eq!(get(directory, &alice.key), None);
    // What is set for one that is gone is not there when it comes back.
    directory.set_mutes(&alice.key, Some(1), Some(1)).expect("does nothing");
    directory.set_valid_from(&alice.key, 200).expect("does nothing");
    let again = account(1, "alice", 9);
    let registered = directory.register(&[bob.clone(), again.clone()]).expect("registers");
    assert_eq!(registered, std::slice::from_ref(&alice.key), "a login brings nobody back");
    assert_eq!(get(directory, &alice.key), None);
    directory.import(&[again.clone(), account(1, "bob", 9)]).expect("imports");
    assert_eq!(get(directory, &alice.key), Some(again));
    assert_eq!(get(directory, &bob.key), Some(bob), "one that exists stays as it is");
}
