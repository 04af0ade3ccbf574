//! People on the real program: devices and kicks, UserSigs, presence, the list of conversations, friends, profiles.

mod act;
mod table;

use std::collections::BTreeSet;
use std::fmt;

use nearport_chat::usersig::sign_v2;
use nearport_client::Platform::{self, Android, Ipad, Iphone, Linux, Mac, Web, Windows};
use nearport_client::people::Presence;
use nearport_client::{Client, CloseCode, Config, Event, State};
use nearport_wire::body::LogOut;
use nearport_wire::body::people_call::Call;

use crate::contract::stage::{Device, Stage, now_s};
use crate::contract::{Cell, Got, Wrong, spec};
use crate::node::STUCK;
use act::{Act, Row, Scene, Who};

/// Scenes side by side: their commits go to the disk together.
const LANES: usize = 8;

/// Tries each row with people of its own.
async fn check(settings: &[&str], rows: &'static [Row]) {
    let stage = std::sync::Arc::new(Stage::start(settings));
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let stage = stage.clone();
        lanes.push(tokio::spawn(async move {
            let mut wrong = Wrong::default();
            for (at, (name, steps, want)) in rows.iter().enumerate().skip(lane).step_by(LANES) {
                let mut scene = Scene::new(&stage, &at.to_string()).await;
                let (last, before) = steps.split_last().expect("a row has a step");
                for (who, act) in before {
                    let got = scene.act(*who, *act, None).await;
                    // What stands before the last step is done, or waits for somebody's word.
                    if ![Got::Done, Got::Code(30_539)].contains(&got) {
                        wrong.expect(&Shown { name, steps }, &got, Cell::Done);
                    }
                }
                let got = scene.act(last.0, last.1, Some(*want)).await;
                wrong.expect(&Shown { name, steps }, &got, *want);
                scene.end().await;
            }
            wrong
        }));
    }
    let mut wrong = Wrong::default();
    for lane in lanes {
        wrong.append(lane.await.unwrap());
    }
    wrong.check();
}

struct Shown<'a> {
    name: &'a str,
    steps: &'a [(Who, Act)],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        self.steps.iter().try_for_each(|(who, act)| write!(f, " {who:?} {act:?};"))
    }
}

#[tokio::test]
async fn presence_conversations_friends_and_profiles_are_as_the_contract_has_them() {
    check(&table::SETTINGS, table::ROWS).await;
}

#[tokio::test]
async fn switches_and_limits_between_people_are_as_the_contract_has_them() {
    check(&table::STRICT_SETTINGS, table::STRICT).await;
}

#[tokio::test]
async fn blocked_senders_are_not_told_and_defaults_are_settings() {
    check(&table::ASKED_SETTINGS, table::ASKED).await;
}

/// The contract's row, the setting, who logs in one after the other (each from a device of its own), and who is left.
type Kicks = (&'static str, &'static [&'static str], &'static [Platform], &'static [usize]);

#[rustfmt::skip]
static KICKS: &[Kicks] = &[
    ("Single platform", &["chat.multi_device=single"], &[Android, Windows, Web],                              &[2]),
    ("Two platforms",   &["chat.multi_device=two"],    &[Android, Windows, Web, Mac, Linux],                  &[2, 4]),
    ("Three platforms", &["chat.multi_device=three"],  &[Android, Windows, Web, Ipad, Mac],                   &[2, 3, 4]),
    ("All platforms",   &[],                           &[Android, Iphone, Ipad, Windows, Mac, Web, Linux],    &[0, 1, 2, 3, 4, 5, 6]),
    ("Same platform",   &["chat.multi_device=three"],  &[Android, Android],                                   &[1]),
    ("Same platform",   &["chat.native_instances=1"],  &[Android, Android, Windows],                          &[1, 2]),
    ("Same platform",   &["chat.native_instances=3"],  &[Android, Android, Android, Android],                 &[1, 2, 3]),
    ("Same platform",   &["chat.web_instances=2"],     &[Web, Web, Web],                                      &[1, 2]),
    ("Platforms counted", &["chat.native_instances=1"], &[Android, Iphone, Ipad, Windows, Mac, Web, Linux],   &[0, 1, 2, 3, 4, 5, 6]),
];

fn was_kicked(events: &[Event]) -> Option<()> {
    events.iter().any(|event| matches!(event, Event::Stopped { code: CloseCode::KICKED, .. })).then_some(())
}

#[tokio::test]
async fn each_policy_leaves_the_devices_that_the_contract_says() {
    let mut wrong = Wrong::default();
    for (name, settings, platforms, stay) in KICKS {
        let stage = Stage::start(settings);
        let mut devices: Vec<Device> = Vec::new();
        for (at, platform) in platforms.iter().enumerate() {
            devices.push(stage.login_on("ann", &format!("d{at}"), *platform).await);
        }
        let mut left = Vec::new();
        for (at, device) in devices.iter().enumerate() {
            if !stay.contains(&at) {
                device.until("a kick", was_kicked).await;
                // It does not come back by itself.
                assert_eq!(device.client.state(), State::Stopped);
            }
            if device.client.flush().await.is_ok() {
                left.push(at);
            }
        }
        let want = format!("{stay:?}").leak();
        wrong.expect(
            &format!("{name} {settings:?} {platforms:?}"),
            &Got::from(format!("{left:?}")),
            Cell::Says(want),
        );
    }
    wrong.check();
}

#[tokio::test]
async fn the_same_device_kicks_itself_and_may_come_back_when_told_to() {
    let stage = Stage::start(&[]);
    let first = stage.login("ann").await;
    let second = stage.login("ann").await;
    first.until("a kick", was_kicked).await;
    second.client.flush().await.unwrap();
    first.client.reconnect();
    second.until("a kick", was_kicked).await;
    first.client.ready(STUCK).await.unwrap();
}

#[tokio::test]
async fn a_user_is_offline_when_a_phone_has_been_away_for_long() {
    let stage = Stage::start(&["chat.people.push_online=1s"]);
    let (ann, phone) = (stage.login("ann").await, stage.login_on("dan", "phone", Iphone).await);
    let dan = ann.client.subscribe_statuses(vec!["dan".into()]).await.unwrap();
    assert_eq!(dan[0].presence(), Presence::Online);
    phone.close().await;
    // What its lease says is told when it comes or goes, so it looks in until it has been known for too long. Coming back alone makes
    // no lease younger.
    while told_of_dan(&ann, |dan| dan != Presence::Online).await != Presence::Offline {
        ann.forget();
        let phone = stage.login_on("dan", "phone", Iphone).await;
        told_of_dan(&ann, |dan| dan == Presence::Online).await;
        ann.forget();
        phone.close().await;
    }
}

#[tokio::test]
async fn a_user_is_offline_after_log_out() {
    let stage = Stage::start(&[]);
    let (ann, phone) = (stage.login("ann").await, stage.login_on("dan", "phone", Iphone).await);
    ann.client.subscribe_statuses(vec!["dan".into()]).await.unwrap();
    phone.client.people_call(Call::LogOut(LogOut {})).await.unwrap();
    phone.close().await;
    assert_eq!(told_of_dan(&ann, |dan| dan != Presence::Online).await, Presence::Offline);
}

/// The first such thing that `watcher` is told of Dan.
async fn told_of_dan(watcher: &Device, is: impl Fn(Presence) -> bool) -> Presence {
    let find = |events: &[Event]| {
        events.iter().find_map(act::status_of).map(|dan| dan.presence()).filter(|dan| is(*dan))
    };
    watcher.until("how Dan is", find).await
}

/// The contract's row is one for all: what a login is refused with.
#[tokio::test]
async fn each_wrong_usersig_has_its_code() {
    let stage = Stage::start(&["chat.login_failures_max=3"]);
    let other = stage.app(1_500_000_000);
    let good = stage.usersig("ann");
    let now = now_s();
    let app = stage.app;
    let inner = "eJwDAAAAAAE_".to_owned();
    let sign = |secret: &str, app: u32, user: &str, issued_s: u64, expire_s: u64| {
        sign_v2(secret, app, user, issued_s, expire_s, None)
    };
    let private = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let older =
        nearport_chat::usersig::sign_v1(&private.serialize_pem(), app, "eve8", now, 3600, None).unwrap();
    #[rustfmt::skip]
    let cases = [
        ("eve0", app, sign(&stage.secret, app, "eve0", now - 100, 50), "70001"),
        ("eve1", app, String::new(),                                   "70002"),
        ("eve2", app, "###".into(),                                    "70003"),
        ("eve3", app, inner,                                           "70005"),
        ("eve4", app, sign(&other, app, "eve4", now, 3600),            "70009"),
        ("eve5", app, good,                                            "70013"),
        ("eve6", app, sign(&other, 1_500_000_000, "eve6", now, 3600),  "70014"),
        ("eve8", app, older,                                           "70016"),
        ("eve9", 77,  sign(&stage.secret, 77, "eve9", now, 3600),      "70020"),
        ("e\u{200b}ve", app, "x".into(),                               "70402"),
        ("", app, "x".into(),                                          "70402"),
        ("a-name-of-more-than-thirty-two-bytes", app, "x".into(),      "70402"),
    ];
    let mut wrong = Wrong::default();
    for (user, app, usersig, code) in cases {
        let got = refusal(&stage, app, user, usersig).await;
        wrong.expect(&format!("{user:?}"), &Got::from(got), Cell::Says(code));
    }
    for _ in 0..3 {
        refusal(&stage, app, "mal", "###".into()).await;
    }
    let got = refusal(&stage, app, "mal", stage.usersig("mal")).await;
    wrong.expect(&"the fourth time", &Got::from(got), Cell::Says("70050"));
    wrong.check();
}

/// The code in front of the reason with which a login is refused.
async fn refusal(stage: &Stage, app: u32, user: &str, usersig: String) -> String {
    let client = Client::connect(&stage.network, Config { app, usersig, ..stage.config(user) });
    let reason = loop {
        match tokio::time::timeout(STUCK, client.next_event()).await.expect("an event") {
            Some(Event::Stopped { reason, .. } | Event::Disconnected { reason, .. }) => break reason,
            Some(Event::Connected { .. }) | None => break "in".into(),
            Some(_) => {}
        }
    };
    reason.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn no_point_of_the_contract_about_people_is_left_out() {
    let Some(page) = spec::page("client-behaviour.md") else { return };
    let items: Vec<_> =
        [1, 2, 9, 13].iter().flat_map(|section| spec::items(&page, &section.to_string())).collect();
    let rows = [table::ROWS, table::STRICT, table::ASKED].into_iter().flatten().map(|(name, ..)| *name);
    // Profiles have a page of their own; the switches stand with the messages that they are about.
    let rows = rows.filter(|name| !["profile", "Permission switches"].contains(name));
    let elsewhere = table::ELSEWHERE.iter().map(|(_, name, _)| *name);
    let kicks = KICKS.iter().map(|(name, ..)| *name);
    let cases: BTreeSet<_> =
        rows.chain(elsewhere).chain(kicks).chain(["Kicked", "UserSig invalid/expired codes"]).collect();
    spec::check("client-behaviour.md", &items, &cases);
}

/// Codes that the tables expect.
pub(crate) fn codes() -> BTreeSet<u32> {
    let rows = [table::ROWS, table::STRICT, table::ASKED].into_iter().flatten();
    let usersig = [70001, 70002, 70003, 70005, 70009, 70013, 70014, 70016, 70020, 70050, 70402];
    rows.filter_map(|(.., cell)| cell.code()).chain(usersig).collect()
}
