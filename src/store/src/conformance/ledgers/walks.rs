//! Steps over the conversations of an App.

use nearport_chat::key::{AppId, ConvKey, Talk, UserKey};
use nearport_chat::ledger::{Append, Batch, IdemKey, Ledger, Walked};

use super::amendments::change;
use super::trims::{WHOLE, trim};
use super::{commit, pair_message};

pub(super) fn all(make: &impl Fn() -> Box<dyn Ledger>) {
    steps_of_any_length_come_to_the_same(&*make());
    what_is_older_is_not_named(&*make());
    what_was_trimmed_is_named_by_its_newest_time(&*make());
    what_never_had_a_message_is_not_named(&*make());
}

/// All that is named in steps of `looks`.
pub(in crate::conformance) fn walk(
    ledger: &dyn Ledger,
    app: AppId,
    talk: Talk,
    since_ms: u64,
    looks: usize,
) -> Vec<ConvKey> {
    let (mut convs, mut after) = (Vec::new(), None);
    loop {
        let step = ledger.walk(app, talk, after.as_ref(), since_ms, looks).expect("reads");
        convs.extend(step.convs);
        if step.next.is_none() {
            return convs;
        }
        assert!(step.next > after, "a walk that goes back to {:?}", step.next);
        after = step.next;
    }
}

/// A message of the App; `id` becomes the client's message id.
fn message(app: AppId, conv: &ConvKey, id: u32, time_ms: u64) -> Append {
    let sender = UserKey::new(app, "sender").expect("a good name");
    let sent = pair_message("sender", "sender", id, "text");
    let idem = IdemKey { sender, ..sent.idem };
    Append { conv: conv.clone(), idem, logs: Vec::new(), time_ms, ..sent }
}

fn group(app: AppId, id: &str) -> ConvKey {
    ConvKey::group(app, id).expect("a good id")
}

/// One of every sort, whose keys begin alike.
fn convs(app: AppId) -> Vec<ConvKey> {
    let longest = &*"~".repeat(32);
    let user = |name: &str| UserKey::new(app, name).expect("a good name");
    let pairs =
        [(" ", " "), ("a", "a"), ("a", "aa"), ("aa", "aa"), ("b", "a"), ("~", longest), (longest, "b")];
    let pairs = pairs.map(|(from, to)| ConvKey::pair(&user(from), &user(to)));
    let groups =
        [" ", "a", "aa", "a@TOPIC#_a", "a@TOPIC#_aa", "aa@TOPIC#_a", longest].map(|id| group(app, id));
    let notices = [" ", "a", "aa", longest].map(|name| ConvKey::notices(&user(name)));
    pairs.into_iter().chain(groups).chain(notices).chain([ConvKey::pushes(app)]).collect()
}

/// Those of [`convs`] where people talk so, in order.
fn convs_of(app: AppId, talk: Talk) -> Vec<ConvKey> {
    let is_of = |conv: &ConvKey| match talk {
        Talk::Pairs => conv.is_pair(),
        Talk::Groups => conv.is_group(),
    };
    let mut convs: Vec<_> = convs(app).into_iter().filter(is_of).collect();
    convs.sort();
    convs
}

fn steps_of_any_length_come_to_the_same(ledger: &dyn Ledger) {
    let apps = [0, 1, 2, 256, u32::MAX].map(AppId);
    for app in apps {
        let messages = (0..).zip(convs(app)).map(|(id, conv)| message(app, &conv, id, 1_000));
        commit(ledger, messages.collect());
    }
    for (app, talk) in apps.into_iter().flat_map(|app| Talk::ALL.map(|talk| (app, talk))) {
        let want = convs_of(app, talk);
        assert_eq!(want.len(), 7);
        for looks in [0, 1, 2, 100] {
            assert_eq!(walk(ledger, app, talk, 0, looks), want, "{app:?} {talk:?}, {looks} at a time");
        }
        let step = |after: Option<&ConvKey>, looks| ledger.walk(app, talk, after, 0, looks).expect("reads");
        let walked =
            |convs: &[ConvKey], next: Option<&ConvKey>| Walked { convs: convs.to_vec(), next: next.cloned() };
        assert_eq!(step(None, 0), walked(&want[..1], want.first()), "at least one");
        assert_eq!(step(want.first(), 2), walked(&want[1..3], want.get(2)));
        assert_eq!(step(None, 7), walked(&want, want.last()), "it has not looked further");
        assert_eq!(step(want.last(), 7), Walked::default());
        assert_eq!(step(None, 8), walked(&want, None));
        // A place that is not among them is one all the same.
        let [pair, group] = Talk::ALL.map(|of| convs_of(app, of).swap_remove(3));
        let (behind, none) = (walked(&want[4..], None), Walked::default());
        let (behind_pair, behind_group) = match talk {
            Talk::Pairs => (behind, none),
            Talk::Groups => (walked(&want, None), behind),
        };
        assert_eq!(step(Some(&pair), 8), behind_pair, "{app:?} {talk:?}");
        assert_eq!(step(Some(&group), 8), behind_group, "{app:?} {talk:?}");
    }
    for (app, talk) in
        [3, 255, 257, u32::MAX - 1].into_iter().flat_map(|app| Talk::ALL.map(|talk| (app, talk)))
    {
        let step = ledger.walk(AppId(app), talk, None, 0, 100).expect("reads");
        assert_eq!(step, Walked::default(), "App {app} has no conversation");
    }
}

fn what_is_older_is_not_named(ledger: &dyn Ledger) {
    let app = AppId(1);
    let [new, old] = ["new", "old"].map(|id| group(app, id));
    let sent = [(&new, 1_000), (&old, 1_500), (&new, 2_000), (&new, 3_000)];
    commit(ledger, (0..).zip(sent).map(|(id, (conv, time_ms))| message(app, conv, id, time_ms)).collect());
    // What becomes of a message later is not said later.
    let edits = vec![change(&old, 1, "changed", &[])];
    ledger.commit(&Batch { edits, ..Batch::default() }).expect("commits");
    let both = [new.clone(), old];
    for (since_ms, want) in [
        (0, &both[..]),
        (1_500, &both),
        (1_501, &both[..1]),
        (3_000, &both[..1]),
        (3_001, &[]),
        (u64::MAX, &[]),
    ] {
        for looks in [1, 2, 100] {
            assert_eq!(walk(ledger, app, Talk::Groups, since_ms, looks), want, "since {since_ms}");
        }
    }
    assert_eq!(ledger.walk(app, Talk::Groups, None, 3_001, 1).expect("reads").next, Some(new), "looked at");
}

fn what_was_trimmed_is_named_by_its_newest_time(ledger: &dyn Ledger) {
    let app = AppId(1);
    let convs = Talk::ALL.map(|talk| convs_of(app, talk).swap_remove(1));
    let newest_is = |time_ms: u64| {
        for (talk, conv) in Talk::ALL.into_iter().zip(&convs) {
            assert_eq!(walk(ledger, app, talk, time_ms, 100), std::slice::from_ref(conv));
            assert_eq!(walk(ledger, app, talk, time_ms + 1, 100), []);
        }
    };
    let say = |id: u32, time_ms: u64| {
        let sent = (id..).zip(&convs).map(|(id, conv)| message(app, conv, id, time_ms));
        commit(ledger, sent.collect());
    };
    say(0, 1_000);
    say(10, 2_000);
    assert_eq!(trim(ledger, &|_| 2_000, WHOLE).0.messages, 2);
    newest_is(2_000);
    assert_eq!(trim(ledger, &|_| u64::MAX, WHOLE).0.messages, 2);
    newest_is(2_000);
    say(20, 3_000);
    newest_is(3_000);
}

fn what_never_had_a_message_is_not_named(ledger: &dyn Ledger) {
    let app = AppId(1);
    let [first, second, third] = ["first", "second", "third"].map(|id| group(app, id));
    commit(ledger, vec![message(app, &first, 1, 0)]);
    // An engine may keep the name.
    assert!(commit(ledger, vec![message(app, &second, 1, 0)])[0].duplicate);
    commit(ledger, vec![message(app, &third, 2, 0)]);
    for looks in [1, 2, 100] {
        assert_eq!(walk(ledger, app, Talk::Groups, 0, looks), [first.clone(), third.clone()]);
    }
}
