//! Messages on the real program: each point of the contract's page on what clients see, for pairs and for each type of group.

mod table;

use std::collections::BTreeSet;

use nearport_client::{Event, HistoryRange, text, user};

use crate::contract::Cell;
use crate::contract::spec;
use crate::contract::stage::Stage;
use crate::groups::scene::TYPES;
use crate::groups::{FIELDS, check};

/// In the order of the columns of the tables.
const KINDS: [&str; 6] = ["C2C", "Work", "Public", "Meeting", "AVChatRoom", "Community"];

#[tokio::test]
async fn sending_history_unread_receipts_and_recall_are_as_the_contract_has_them() {
    let stage = Stage::start(&[FIELDS]);
    check(&stage, KINDS, table::SENDING).await;
}

#[tokio::test]
async fn options_mentions_tips_notices_and_rooms_are_as_the_contract_has_them() {
    let stage = Stage::start(&[FIELDS]);
    check(&stage, TYPES, table::GROUPS).await;
}

#[tokio::test]
async fn what_was_said_to_somebody_who_was_away_waits_in_order_and_comes_once() {
    let stage = Stage::start(&[]);
    let (ann, ben) = (stage.login("ann").await, stage.login("ben").await);
    ben.client.flush().await.unwrap();
    ben.close().await;
    for n in 0..3 {
        ann.client.send(user("ben"), text(format!("{n}"))).await.unwrap();
    }
    let ben = stage.login("ben").await;
    let came = ben
        .until("everything that was missed", |events| {
            let end = events.iter().position(|event| *event == Event::CaughtUp)?;
            let words = events[..end].iter().filter_map(|event| match event {
                Event::Message(message) => Some(message.text()),
                _ => None,
            });
            Some(words.collect::<Vec<_>>())
        })
        .await;
    assert_eq!(came, ["0", "1", "2"]);
    let list = ben.client.conversations("", 10).await.unwrap();
    let one = &list.conversations[0];
    assert_eq!((one.unread, one.last.as_ref().unwrap().seq), (3, 3), "in the list of conversations, too");
    let page = ben.client.history(user("ann"), HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(page.messages.len(), 3, "and in the history");
    ben.client.flush().await.unwrap();
    ben.close().await;
    let ben = stage.login("ben").await;
    ben.until("the end", |events| events.contains(&Event::CaughtUp).then_some(())).await;
    assert!(!ben.events().iter().any(|event| matches!(event, Event::Message(_))), "once");
}

#[test]
fn no_point_of_the_contract_about_messages_is_left_out() {
    let Some(page) = spec::page("client-behaviour.md") else { return };
    let sections = [3, 4, 5, 6, 7, 8, 10, 11, 12, 14];
    let items: Vec<_> =
        sections.iter().flat_map(|section| spec::items(&page, &section.to_string())).collect();
    let rows =
        table::SENDING.iter().map(|(name, ..)| *name).chain(table::GROUPS.iter().map(|(name, ..)| *name));
    let cases: BTreeSet<_> = rows.chain(table::ELSEWHERE.iter().map(|(_, name, _)| *name)).collect();
    spec::check("client-behaviour.md", &items, &cases);
}

/// Codes that the tables expect.
pub(crate) fn codes() -> BTreeSet<u32> {
    let sending = table::SENDING.iter().flat_map(|(_, _, cells)| cells);
    sending.chain(table::GROUPS.iter().flat_map(|(_, _, cells)| cells)).filter_map(Cell::code).collect()
}
