//! What the App's back end is asked, and told, about what it does itself.

use nearport_wire::body::Message;
use nearport_wire::code;
use serde_json::{Map, json};

use super::{Admin, Asker};
use crate::callback::{Busy, Command, Decided, Event, Origin, Question, SUCCEEDED, Verdict, group_fields};
use crate::key::{ConvKey, GroupKey, UserKey};

impl Admin {
    /// What the back end is asked about a message of `from` to a user, if it wants to be.
    pub(super) fn question_to_user(
        &self,
        asker: &Asker,
        (from, to): (&UserKey, &UserKey),
        online_only: bool,
        message: impl FnOnce() -> Message,
    ) -> Option<Question> {
        let command = Command::PairBeforeSend;
        if !self.shared.callbacks.wants(asker.app, command) {
            return None;
        }
        let fields = json!({ "OnlineOnlyFlag": u8::from(online_only) });
        let conv = ConvKey::pair(from, to);
        let event = Event::new(command, conv.as_bytes(), asker.origin(), &fields).about(&message());
        Some(Question { app: asker.app, command, event, seq: 0, time_ms: self.now_ms() })
    }

    /// The same about one to a group of the type `kind`.
    pub(super) fn question_to_group(
        &self,
        asker: &Asker,
        (group, kind): (&GroupKey, &str),
        online_only: bool,
        message: &Message,
    ) -> Question {
        let command = Command::GroupBeforeSend;
        let fields = group_fields(group, kind, &asker.admin, online_only, Map::new());
        let event = Event::new(command, group.conv().as_bytes(), asker.origin(), &fields).about(message);
        Question { app: asker.app, command, event, seq: 0, time_ms: self.now_ms() }
    }

    /// Asks the back end of the App; `decided` hears its verdict later and on another thread, or at once that too much is asked.
    pub(super) fn ask(&self, question: Question, decided: Decided) {
        if let Err(Busy(decided)) = self.shared.callbacks.ask(question, decided) {
            let info = "the app's back end is being asked too much".to_owned();
            decided(Verdict::Refuse { code: code::TOO_MANY_REQUESTS, info });
        }
    }

    /// The App has called more often in a second than it may, last this command of a service. Said once for each such second, so the
    /// calls that were seen are one more than the limit.
    pub fn over_limit(&self, asker: &Asker, (service, command): (&str, &str), limit: u32) {
        let calls = limit.saturating_add(1);
        let event = Command::RequestOverLimit;
        if self.shared.callbacks.wants(asker.app, event) {
            let fields =
                json!({ "ServiceName": service, "Command": command, "Request": calls, "Limit": limit });
            // The contract has no address for it.
            let event = Event::new(event, service.as_bytes(), Origin::REST, &fields);
            self.shared.callbacks.tell(asker.app, &event, self.now_ms());
        }
    }

    /// What the back end hears of a message of its own to a user, if it wants to.
    pub(super) fn told_of_pair(
        &self,
        asker: &Asker,
        to: &UserKey,
        online_only: bool,
        message: impl FnOnce() -> Message,
    ) -> Option<Event> {
        let command = Command::PairAfterSend;
        if !self.shared.callbacks.wants(asker.app, command) {
            return None;
        }
        let message = message();
        let from = UserKey::new(asker.app, &message.from).ok()?;
        let fields = json!({
            "OnlineOnlyFlag": u8::from(online_only), "SendMsgResult": 0, "ErrorInfo": SUCCEEDED,
        });
        let conv = ConvKey::pair(&from, to);
        let event = Event::new(command, conv.as_bytes(), asker.origin(), &fields).about(&message);
        // Of what is not stored nothing is unread.
        Some(if online_only { event } else { event.unread_of(to.name()) })
    }
}
