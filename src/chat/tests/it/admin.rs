//! What back ends call, with the turns of the cores in the hands of the test.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nearport_chat::Config;
use nearport_chat::admin::{Admin, Asker};
use nearport_chat::directory::GroupStore as _;
use nearport_chat::key::AppId;
use nearport_store::MemoryLedger;
use nearport_wire::body::{GroupCreate, GroupNewMember, group_call::Call};

use crate::login::Meddler;
use crate::world::{APP, World, directory, user};

fn admin(world: &World) -> (Admin, Asker) {
    let asker = Asker { app: AppId(APP), admin: "administrator".into() };
    let now_ms = world.now_ms;
    (world.shared.admin(Arc::new(move || now_ms)), asker)
}

/// Looks whether something has come to its end.
fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[test]
fn what_back_ends_ask_for_leaves_the_desk_time_for_others() {
    let config = Config { desk_batch_items: 4, ..Config::default() };
    let mut world = World::over(Arc::new(MemoryLedger::new()), Arc::new(directory()), config);
    let (admin, asker) = admin(&world);
    let mut asked: Vec<_> = (0..10).map(|_| admin.import_accounts(&asker, Vec::new())).collect();
    for left in [6, 2, 0] {
        world.desk(Vec::new());
        asked.retain_mut(|asked| poll(pin!(asked)).is_none());
        assert_eq!(asked.len(), left);
    }
}

#[test]
fn an_account_leaves_its_groups_in_steps_and_a_failure_is_gone_on_from() {
    const GROUPS: usize = 120;
    let meddler = Arc::new(Meddler::new());
    let mut world = World::over(Arc::new(MemoryLedger::new()), meddler.clone(), Config::default());
    let (admin, asker) = admin(&world);
    let member = |name: &str| GroupNewMember { user: name.into(), ..GroupNewMember::default() };
    let create = |n| {
        let (group, r#type, name) = (format!("g{n}"), "Public".into(), "name".into());
        let members = vec![member("alice"), member("bob")];
        Call::Create(GroupCreate { group, r#type, name, members, ..GroupCreate::default() })
    };
    let created = admin.groups(&asker, (0..GROUPS).map(create).collect());
    world.desk(Vec::new());
    assert!(created.into_iter().all(|created| created.wait().is_some_and(|answer| answer.is_ok())));
    let groups_of = |name: &str| meddler.groups_of(&[user(name)]).unwrap()[0].len();
    assert_eq!(groups_of("alice"), GROUPS);

    let mut delete = Box::pin(admin.delete_account(&asker, "alice"));
    assert!(poll(delete.as_mut()).is_none());
    world.desk(Vec::new());
    let left = groups_of("alice");
    assert!(0 < left && left < GROUPS, "one step: {left}");
    meddler.read_only(true);
    assert!(poll(delete.as_mut()).is_none());
    world.desk(Vec::new());
    let outcome = poll(delete.as_mut()).flatten().expect("a refusal");
    assert_eq!(outcome.unwrap_err().code, 70500);
    assert_eq!(groups_of("alice"), left, "what failed has changed nothing");

    meddler.read_only(false);
    let mut delete = Box::pin(admin.delete_account(&asker, "alice"));
    let outcome = (0..100).find_map(|_| {
        world.desk(Vec::new());
        poll(delete.as_mut())
    });
    assert_eq!(outcome, Some(Some(Ok(()))));
    assert_eq!((groups_of("alice"), groups_of("bob")), (0, GROUPS));
    assert_eq!(admin.accounts_exist(AppId(APP), &["alice".into(), "bob".into()]), Ok(vec![false, true]));
}
