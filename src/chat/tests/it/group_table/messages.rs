//! The rows of the comparison that are about messages: who says what, what becomes of it, who reads it.

use nearport_wire::Kind;
use nearport_wire::body::{self, GroupEdit, amend, group_call::Call};

use super::scene::{ADMIN, Cell, DENIED, Done, MEMBER, Nobody, OWNER, Row, STRANGER, Scene, check};

const MUTED: Cell = Cell::Code(10017);
const GONE: Cell = Cell::Code(10010);
/// Not offered by the type of group.
const NO_RECALL: Cell = Cell::Code(10033);
const NO_DELETE: Cell = Cell::Code(10035);

fn plain(_: &mut body::Send) {}

impl Scene {
    fn amended(&mut self, who: usize, amend: amend::Amend) -> Cell {
        let amend = body::Amend { amend: Some(amend) };
        self.tell::<body::Amended>(who, Kind::AMEND, &amend).map_or_else(Cell::Code, |_| Done)
    }

    /// `by` recalls what `who` says.
    fn recalled(&mut self, who: usize, by: usize) -> Cell {
        // In a live room it has no number.
        let seq = self.say(who, plain).unwrap().seq.max(1);
        let recall = body::Recall { with: Some(self.target()), seq, reason: String::new() };
        self.amended(by, amend::Amend::Recall(recall))
    }

    fn read(&mut self, who: usize) -> Cell {
        let asked = body::History {
            with: Some(self.target()),
            after: Some(0),
            limit: 10,
            ..body::History::default()
        };
        self.tell::<body::HistoryPage>(who, Kind::HISTORY, &asked).map_or_else(Cell::Code, |_| Done)
    }

    fn mute_all(&mut self) {
        let all = GroupEdit { muted_all: Some(true), ..self.edit() };
        self.cell(OWNER, Call::Edit(all));
    }
}

#[test]
fn each_row_about_messages_is_as_the_contract_has_it() {
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        // Who says something.
        ("the owner says something", |s| s.said(OWNER, plain), [Done; 5]),
        ("an administrator says something", |s| s.said(ADMIN, plain), [Nobody, Done, Done, Nobody, Done]),
        ("a member says something", |s| s.said(MEMBER, plain), [Done; 5]),
        ("a stranger says something", |s| s.said(STRANGER, plain), [DENIED; 5]),
        ("who has quit says something", |s| { let c = Call::Quit(s.myself()); s.cell(MEMBER, c); s.said(MEMBER, plain) }, [DENIED; 5]),
        ("who was banned says something", |s| { let c = s.ban(MEMBER); s.cell(OWNER, c); s.said(MEMBER, plain) }, [DENIED, DENIED, DENIED, DENIED, Done]),
        ("who is muted says something", |s| { let c = s.mute(MEMBER); s.cell(OWNER, c); s.said(MEMBER, plain) }, [Done, MUTED, MUTED, MUTED, MUTED]),
        ("a member says something when all are muted", |s| { s.mute_all(); s.said(MEMBER, plain) }, [Done, MUTED, MUTED, MUTED, MUTED]),
        ("an administrator says something then", |s| { s.mute_all(); s.said(ADMIN, plain) }, [Nobody, Done, Done, Nobody, Done]),
        ("the owner says something then", |s| { s.mute_all(); s.said(OWNER, plain) }, [Done; 5]),
        ("the owner says something in what was dismissed", |s| { let c = Call::Dismiss(s.myself()); s.cell(OWNER, c); s.said(OWNER, plain) }, [Done, GONE, GONE, GONE, GONE]),
        // What one may say.
        ("all are meant", |s| s.said(MEMBER, |m| m.mentions = Some(body::Mentions { users: Vec::new(), all: true })), [Done, Done, Done, Done, DENIED]),
        ("a receipt is asked for", |s| s.said(MEMBER, |m| m.need_receipt = true), [Done, Done, Done, DENIED, DENIED]),
        ("it is not stored", |s| s.said(MEMBER, |m| m.online_only = true), [Done, Done, Done, DENIED, Done]),
        ("it is not counted", |s| s.said(MEMBER, |m| m.control = Some(body::SendControl { no_unread: true, ..body::SendControl::default() })), [Done, Done, Done, DENIED, Done]),
        // What becomes of it.
        ("a member reads what was said", |s| s.read(MEMBER), [Done, Done, Done, DENIED, Done]),
        ("a stranger reads what was said", |s| s.read(STRANGER), [DENIED; 5]),
        ("a member recalls a message of their own", |s| s.recalled(MEMBER, MEMBER), [Done, Done, Done, NO_RECALL, Done]),
        ("the owner recalls a member's", |s| s.recalled(MEMBER, OWNER), [Done, Done, Done, NO_RECALL, Done]),
        ("a member recalls the owner's", |s| s.recalled(OWNER, MEMBER), [DENIED, DENIED, DENIED, NO_RECALL, DENIED]),
        ("a member deletes all for themselves", |s| { let c = body::Clear { with: Some(s.target()), seq: 0 }; s.amended(MEMBER, amend::Amend::Clear(c)) }, [Done, Done, Done, NO_DELETE, Done]),
    ];
    check(rows);
}
