use super::*;
use std::time::Instant;

use nearport_client::core::{Core, CoreConfig};
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
    assert_eq!(view.history(20), Command::History(20));
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
    assert_eq!(type_line(&mut view, "/history 7"), Some(Command::History(7)));
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
    assert_eq!(rows(&mut view).len(), HELP.len());
}

#[test]
fn another_conversation_can_be_entered_and_others_are_announced() {
    let mut view = View::new("alice", None, (80, 24));
    assert_eq!(type_line(&mut view, "hi"), None);
    assert_eq!(rows(&mut view), ["-- nobody to send it to: /to NAME first"]);
    view.event(Event::Message(message("carol", "alice", 9, "psst")));
    assert_eq!(rows(&mut view), ["-- carol wrote: psst (/to carol to answer)"]);
    assert_eq!(type_line(&mut view, "/to carol"), Some(Command::History(HISTORY_ON_ENTRY)));
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
    assert_eq!(type_line(&mut view, "/group g"), Some(Command::History(20)));
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
    assert_eq!(view.answer(Answer::Enter("h".into())), Some(Command::History(20)));
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
