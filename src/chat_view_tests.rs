use super::*;
use std::time::Instant;

use nearport_client::core::{Core, CoreConfig};
use nearport_client::media::MediaKind;
use nearport_client::{Acks, Failure, Limits, Platform, Receive, Sent, text, user};

fn message(from: &str, to: &str, seq: u64, said: &str) -> Message {
    Message {
        position: seq,
        seq,
        time_ms: 12 * 3_600_000,
        from: from.into(),
        to: Some(user(to)),
        content: text(said),
        msg_key: String::new(),
        client_msg_id: Vec::new(),
        ..Message::default()
    }
}

fn page(messages: Vec<Message>, peer_read: u64) -> HistoryPage {
    let head = messages.first().map_or(0, |message| message.seq);
    HistoryPage { messages, complete: true, head, peer_read, ..HistoryPage::default() }
}

fn newest(limit: u32) -> Command {
    Command::History(HistoryQuery::new(HistoryRange::Newest, limit))
}

fn view() -> View {
    View::new("alice", Some(user("bob")), (80, 24))
}

fn type_line(view: &mut View, line: &str) -> Option<Command> {
    line.chars().for_each(|c| assert_eq!(view.key(Key::Char(c)), None));
    view.key(Key::Enter)
}

/// Output without control sequences, one string per printed row.
fn rows(view: &mut View) -> Vec<String> {
    let output = view.take_output();
    let mut rows = Vec::new();
    for row in output.split('\n') {
        let mut plain = String::new();
        let mut chars = row.chars();
        while let Some(c) = chars.next() {
            match c {
                '\x1b' => while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
                '\r' => plain.clear(),
                c => plain.push(c),
            }
        }
        rows.push(plain);
    }
    rows.pop();
    rows
}

#[test]
fn history_comes_first_and_what_arrives_meanwhile_is_shown_once() {
    let mut view = view();
    assert_eq!(view.history(20), newest(20));
    view.event(Event::Message(message("bob", "alice", 3, "three")));
    view.event(Event::Message(message("bob", "alice", 4, "four")));
    assert_eq!(rows(&mut view), [""; 0]);
    let newest_first = vec![message("bob", "alice", 3, "three"), message("alice", "bob", 2, "two")];
    view.page(Ok(page(newest_first, 1)));
    assert_eq!(rows(&mut view), ["12:00Z ✓  you: two", "12:00Z    bob: three", "12:00Z    bob: four"]);
    assert_eq!(view.shown_seq(), 4);
    view.event(Event::Message(message("bob", "alice", 4, "four")));
    assert_eq!(rows(&mut view), [""; 0]);
}

#[test]
fn ticks_follow_a_message_from_sending_to_read() {
    let mut view = view();
    view.page(Ok(page(Vec::new(), 0)));
    assert_eq!(type_line(&mut view, "hi bob"), Some(Command::Send("hi bob".into())));
    let id = posted(&mut view, "hi bob");
    assert_eq!(rows(&mut view), ["-- no messages yet", "12:00Z …  you: hi bob"]);
    view.event(Event::Sent { id, sent: sent(1) });
    assert!(view.take_output().contains("\x1b[1A\x1b[7C✓ \x1b[1B"));
    let read = |user: &str, seq| Event::Read { user: user.into(), with: nearport_client::user("alice"), seq };
    view.event(read("carol", 1));
    assert!(!view.take_output().contains('✓'), "somebody else");
    view.event(read("bob", 1));
    assert!(view.take_output().contains("\x1b[1A\x1b[7C✓✓\x1b[1B"));
    view.event(read("bob", 1));
    assert!(!view.take_output().contains('✓'), "known already");
    let id = posted(&mut view, "again");
    view.event(Event::Failed { id, failure: Failure::Timeout });
    assert!(view.take_output().contains("✗"));
}

#[test]
fn slash_commands_are_understood_or_explained() {
    let mut view = view();
    assert_eq!(type_line(&mut view, "/quit"), Some(Command::Quit));
    assert_eq!(type_line(&mut view, "//quit"), Some(Command::Send("/quit".into())));
    assert_eq!(type_line(&mut view, "/history 7"), Some(newest(7)));
    view.page(Err("no".into()));
    assert_eq!(type_line(&mut view, "  "), None);
    rows(&mut view);
    for (typed, hint) in [
        ("/histroy", "-- unknown command /histroy: /help lists all"),
        ("/history 0", "-- /history takes a number from 1 to 200"),
        ("/history 201", "-- /history takes a number from 1 to 200"),
        ("/quit now", "-- unknown command /quit now: /help lists all"),
    ] {
        assert_eq!(type_line(&mut view, typed), None);
        assert_eq!(rows(&mut view), [hint]);
    }
    assert_eq!(type_line(&mut view, "/help"), None);
    assert!(rows(&mut view).len() >= help().len(), "long lines take two rows");
}

#[test]
fn another_conversation_can_be_entered_and_others_are_announced() {
    let mut view = View::new("alice", None, (80, 24));
    assert_eq!(type_line(&mut view, "hi"), None);
    assert_eq!(rows(&mut view), ["-- nobody to send it to: /to NAME first"]);
    view.event(Event::Message(message("carol", "alice", 9, "psst")));
    assert_eq!(rows(&mut view), ["-- carol wrote: psst (/to carol to answer)"]);
    assert_eq!(type_line(&mut view, "/to carol"), Some(newest(HISTORY_ON_ENTRY)));
    assert_eq!(view.peer(), Some(&user("carol")));
    view.page(Ok(page(vec![message("carol", "alice", 9, "psst")], 0)));
    assert_eq!(rows(&mut view), ["-- talking to carol", "12:00Z    carol: psst"]);
    view.event(Event::Message(message("alice", "bob", 1, "from my phone, to bob")));
    assert_eq!(rows(&mut view), [""; 0], "own messages elsewhere are no news");
    view.event(Event::Message(message("alice", "carol", 10, "from my phone")));
    assert_eq!(rows(&mut view), ["12:00Z ✓  you: from my phone"]);
}

#[test]
fn trouble_shows_in_the_one_status_row_and_goes_away() {
    let mut view = view();
    let lost = Event::Disconnected {
        code: nearport_client::CloseCode::LOST,
        reason: "timed out".into(),
        retry_in: Duration::from_secs(2),
    };
    view.event(lost);
    assert!(view.take_output().contains("alice → bob (reconnecting in 2s: timed"));
    view.event(Event::Connected {
        transport: nearport_client::Transport::Quic,
        resumed: true,
        cursor: 0,
        head: 0,
        time_ms: 0,
    });
    assert!(view.take_output().contains("alice → bob > "));
}

fn sent(seq: u64) -> Sent {
    Sent { seq, time_ms: 0, msg_key: String::new(), duplicate: false }
}

fn posted(view: &mut View, said: &str) -> MsgId {
    // Only the SDK's core makes ids; each core has its own.
    let config = CoreConfig {
        app: 1,
        user: "alice".into(),
        device: "d".into(),
        platform: Platform::Linux,
        usersig: "s".into(),
        client: String::new(),
        cursor: None,
        resume: None,
        follow: nearport_client::Follow::Nothing,
        groups: Vec::new(),
        acks: Acks::Manual,
        receive: Receive::Everything,
        limits: Limits::default(),
        seed: view.lines.len() as u64,
    };
    let now = Instant::now();
    let id = Core::new(config, now).send(now, user("bob"), text(said), false).unwrap();
    view.posted(id, said, 12 * 3_600_000);
    id
}

fn in_group(from: &str, seq: u64, said: &str) -> Message {
    Message { position: 0, to: Some(group("g")), ..message(from, "", seq, said) }
}

#[test]
fn a_group_is_entered_and_what_others_write_in_another_is_named() {
    let mut view = view();
    assert_eq!(type_line(&mut view, "/group g"), Some(newest(20)));
    view.page(Ok(page(Vec::new(), 0)));
    rows(&mut view);
    view.event(Event::Message(in_group("bob", 1, "hi all")));
    let other = Message { to: Some(group("h")), ..in_group("eve", 7, "elsewhere") };
    view.event(Event::Message(other));
    assert_eq!(
        rows(&mut view),
        ["12:00Z    bob: hi all", "-- eve wrote in h: elsewhere (/group h to answer)"]
    );
    assert_eq!(view.shown_seq(), 1);
    let ask = |line: &str, view: &mut View| match type_line(view, line) {
        Some(Command::Ask(ask)) => Some(ask),
        _ => None,
    };
    assert_eq!(ask("/members", &mut view), Some(Ask::Members("g".into())));
    assert_eq!(
        ask("/invite carol  dave", &mut view),
        Some(Ask::Invite("g".into(), vec!["carol".into(), "dave".into()]))
    );
    assert_eq!(ask("/recall", &mut view), None, "nothing of one's own");
    assert_eq!(ask("/invite", &mut view), None);
    assert_eq!(
        rows(&mut view),
        ["-- you have written nothing here yet", "-- /invite NAME …: bring others in"]
    );
    assert_eq!(view.answer(Answer::Enter("h".into())), Some(newest(20)));
}

#[test]
fn a_change_is_written_where_the_message_stands_or_else_said() {
    let mut view = view();
    view.event(Event::Message(message("bob", "alice", 1, "a long first sentence")));
    view.event(Event::Message(message("alice", "bob", 2, "mine")));
    view.take_output();
    let edited =
        Message { changed: Some(nearport_client::Changed::default()), ..message("bob", "alice", 1, "short") };
    view.event(Event::Edited(edited));
    let output = view.take_output();
    assert!(output.contains("\x1b[2A\x1b[2K12:00Z    bob: short (edited)"), "{output:?}");
    let recalled = nearport_client::Recalled { by: "alice".into(), ..Default::default() };
    let recalled = Message { recalled: Some(recalled), ..message("alice", "bob", 2, "") };
    view.event(Event::Recalled(recalled));
    let output = view.take_output();
    assert!(output.contains("you: [taken back by alice]"), "{output:?}");
    view.event(Event::Edited(message("bob", "alice", 99, "unknown here")));
    assert_eq!(rows(&mut view), ["-- an earlier message of bob now says: unknown here"]);
    assert_eq!(
        type_line(&mut view, "/edit other words"),
        Some(Command::Ask(Ask::Edit(user("bob"), 2, "other words".into())))
    );
}

#[test]
fn tab_completes_commands_and_names_those_that_fit() {
    let mut view = view();
    "/rec".chars().for_each(|c| assert_eq!(view.key(Key::Char(c)), None));
    assert_eq!(view.key(Key::Ctrl('i')), None);
    assert!(view.take_output().contains("/recall "));
    view.key(Key::Ctrl('u'));
    "/gr".chars().for_each(|c| assert_eq!(view.key(Key::Char(c)), None));
    view.key(Key::Ctrl('i'));
    view.key(Key::Ctrl('i'));
    assert_eq!(rows(&mut view), ["-- /group  /groups"]);
}

#[test]
fn history_goes_back_page_by_page_and_forward_again() {
    let mut view = view();
    let said = |seq: u64| message("bob", "alice", seq, &format!("no {seq}"));
    let pages = |seqs: Vec<u64>, complete, next| {
        let messages = seqs.into_iter().map(said).collect();
        Ok(HistoryPage { messages, complete, head: 9, next, ..HistoryPage::default() })
    };
    view.history(2);
    view.page(pages(vec![9, 8], false, 8));
    rows(&mut view);
    let older = Command::History(HistoryQuery::new(HistoryRange::Before(8), 2));
    assert_eq!(type_line(&mut view, "/older 2"), Some(older));
    view.event(Event::Message(said(10)));
    view.page(pages(vec![7, 6], false, 6));
    assert_eq!(
        rows(&mut view),
        [
            "-- earlier:",
            "12:00Z    bob: no 6",
            "12:00Z    bob: no 7",
            "-- so far; /older and /newer go on, new messages follow",
            "12:00Z    bob: no 10"
        ]
    );
    assert_eq!(view.shown_seq(), 10);
    type_line(&mut view, "/older");
    view.page(pages(vec![5], true, 0));
    assert_eq!(type_line(&mut view, "/older"), None);
    let newer = Command::History(HistoryQuery::new(HistoryRange::After(5), 20));
    assert_eq!(type_line(&mut view, "/newer"), Some(newer));
    rows(&mut view);
    view.page(Ok(HistoryPage {
        messages: (6..=10).map(said).collect(),
        complete: true,
        head: 10,
        ..HistoryPage::default()
    }));
    let drawn = rows(&mut view);
    assert_eq!(
        (drawn.len(), &*drawn[1], &*drawn[6]),
        (7, "12:00Z    bob: no 6", "-- that is the newest message")
    );
    assert_eq!(type_line(&mut view, "/newer"), None);
    assert_eq!(rows(&mut view), ["-- that was the newest message"]);
}

#[test]
fn what_a_later_page_has_shown_is_not_shown_again_and_own_messages_leave_no_gap() {
    let mut view = view();
    let said = |seq: u64| message("bob", "alice", seq, &format!("no {seq}"));
    let pages = |seqs: &[u64], complete| {
        let messages = seqs.iter().copied().map(said).collect();
        Ok(HistoryPage { messages, complete, head: 9, next: seqs[0], ..HistoryPage::default() })
    };
    view.history(2);
    view.page(Err("the way is gone".into()));
    assert_eq!(type_line(&mut view, "/older 2"), Some(newest(2)), "nothing was looked at yet");
    view.page(pages(&[9, 8], false));
    type_line(&mut view, "/older 2");
    view.page(pages(&[7, 6], false));
    type_line(&mut view, "/newer");
    rows(&mut view);
    // It comes while the page with it is on its way.
    view.event(Event::Message(said(10)));
    view.page(Ok(HistoryPage { head: 10, ..pages(&[8, 9, 10], true).unwrap() }));
    let drawn = rows(&mut view);
    assert_eq!(drawn.iter().filter(|row| row.ends_with("no 10")).count(), 1, "{drawn:?}");
    // An own message has a number, and no event that would name it.
    let id = posted(&mut view, "mine");
    view.event(Event::Sent { id, sent: sent(11) });
    view.event(Event::Message(said(12)));
    rows(&mut view);
    assert_eq!(type_line(&mut view, "/newer"), None);
    assert_eq!(rows(&mut view), ["-- that was the newest message"]);
}

#[test]
fn a_file_is_drawn_in_its_row_and_offered_by_its_number() {
    let mut view = view();
    let first = view.transfer("↑ photo.png");
    let second = view.transfer("↑ other.png");
    view.take_output();
    view.progress(first, 512, 1024);
    let output = view.take_output();
    assert!(
        output.contains("\x1b[2A\x1b[2K-- ↑ photo.png [██████████░░░░░░░░░░]  50 % of 1.0 KiB"),
        "{output:?}"
    );
    view.progress(first, 513, 1024);
    assert!(!view.take_output().contains("photo"), "the same to the eye");
    view.transferred(first, &Ok("is with the server".to_owned()));
    assert!(view.take_output().contains("\x1b[2A\x1b[2K-- ↑ photo.png is with the server"));
    view.progress(first, 1024, 1024);
    (0..30).for_each(|_| view.note("much talk"));
    view.take_output();
    view.cancelled();
    assert_eq!(rows(&mut view), ["-- ↑ other.png failed: given up"]);
    view.progress(second, 1, 2);
    assert_eq!(rows(&mut view), [""; 0]);

    let file = nearport_wire::body::File {
        name: "a.pdf".into(),
        size: 2048,
        uuid: "u".into(),
        ..Default::default()
    };
    let element = nearport_wire::body::element::Element::File(file);
    let mut with_file = message("bob", "alice", 12, "see");
    with_file
        .content
        .elements
        .push(nearport_client::Element { element: Some(element), ..Default::default() });
    view.event(Event::Message(with_file));
    assert_eq!(rows(&mut view), ["12:00Z    bob: see [file a.pdf, 2.0 KiB: /get 12]"]);
    match type_line(&mut view, "/get 12 here") {
        Some(Command::Get(Wanted::Shown(what), Some(path))) => {
            assert_eq!((what.kind, &*what.uuid, what.size), (MediaKind::File, "u", 2048));
            assert_eq!(path.to_str(), Some("here"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        type_line(&mut view, "/get 3"),
        Some(Command::Get(Wanted::Numbered(user("bob"), 3), None)),
        "not on the screen"
    );
}

#[test]
fn receipts_go_out_for_what_is_shown_and_come_back_as_ticks() {
    let mut view = view();
    type_line(&mut view, "/group g");
    view.page(Ok(page(Vec::new(), 0)));
    assert_eq!(view.options("hi"), SendOptions::default());
    type_line(&mut view, "/receipts on");
    view.event(Event::Message(in_group("bob", 1, "hi all")));
    let wants = Message { need_receipt: true, ..in_group("bob", 2, "read?") };
    view.event(Event::Message(wants));
    assert_eq!((view.take_unconfirmed(), view.take_unconfirmed()), (vec![2], vec![]));
    let options = view.options("@bob, @stranger, look");
    assert!(options.need_receipt);
    assert_eq!(options.mentions, Some(Mentions { users: vec!["bob".into()], all: false }));
    assert!(view.options("@all: look").mentions.unwrap().all);
    let id = posted(&mut view, "mine");
    view.event(Event::Sent { id, sent: sent(3) });
    view.take_output();
    view.event(Event::Receipts { with: group("h"), user: "bob".into(), seqs: vec![3] });
    assert!(!view.take_output().contains('✓'), "another group");
    view.event(Event::Receipts { with: group("g"), user: "bob".into(), seqs: vec![3] });
    assert!(view.take_output().contains("✓✓"));
    assert_eq!(type_line(&mut view, "/read"), Some(Command::Ask(Ask::Readers(group("g"), 3))));
}

#[test]
fn names_that_were_seen_are_completed_and_paths_are_asked_for() {
    let mut view = view();
    view.event(Event::Message(message("carol", "alice", 9, "psst")));
    view.event(Event::Message(message("carla", "alice", 9, "psst")));
    rows(&mut view);
    let tab = |view: &mut View, typed: &str| {
        view.key(Key::Ctrl('u'));
        typed.chars().for_each(|c| assert_eq!(view.key(Key::Char(c)), None));
        view.key(Key::Ctrl('i'))
    };
    assert_eq!(tab(&mut view, "/to c"), None);
    view.key(Key::Ctrl('i'));
    assert_eq!(rows(&mut view), ["-- carla  carol"]);
    tab(&mut view, "/who bob caro");
    assert!(view.take_output().contains("/who bob carol "));
    assert_eq!(tab(&mut view, "/image ho"), Some(Command::Paths("/image ho".into())));
    view.complete_with(7, &["/image holiday/".to_owned()]);
    let output = view.take_output();
    assert!(output.contains("/image holiday/\r"), "no space: it goes on: {output:?}");
    assert_eq!(tab(&mut view, "/edit ca"), None);
    assert_eq!(tab(&mut view, "hello ca"), None);
}
