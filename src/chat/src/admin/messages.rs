//! Messages of pairs, by the rights of an administrator: sends, imports, changes, and marks on behalf of users.
//!
//! All that is stored goes through the writer, which commits it together with what clients send; an answer means that it is on disk.

mod changes;
mod extensions;
mod history;

use std::sync::{Arc, Mutex, PoisonError};

use nearport_wire::body::{Content, Message, MessageKey, SendControl};
use nearport_wire::code;

pub use changes::{ClearWith, Named};
pub(super) use extensions::ExtensionRates;
pub use extensions::{ExtensionChange, Extensions};
pub use history::{Roamed, Roaming};

use super::pending::Done;
use super::{Admin, Asker, Pending, busy};
use crate::callback::Verdict;
use crate::kept::{Audience, seal};
use crate::key::{ConvKey, UserKey};
use crate::ledger::{Append, Appended, IdemKey, LedgerError};
use crate::msg_key::MsgKey;
use crate::posts::{self, Letter, Post};
use crate::reply::{Failure, With};

/// When a back end whose message could not be stored tries again.
const STORE_RETRY_MS: u32 = 1000;

/// A message that a back end sends.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// In whose name.
    pub from: UserKey,
    /// Its key, of which `seq` and `time_s` fit into 32 bits. A second message with this key in the same conversation is a repeat of the first.
    pub key: MsgKey,
    /// What it says, checked.
    pub content: Content,
    /// What it leaves alone.
    pub control: Option<SendControl>,
    /// Its receiver is to confirm that they have read it.
    pub need_receipt: bool,
    /// How late a device is still told; 0: as long as history is kept.
    pub life_time_s: u32,
    /// `OfflinePushInfo`, JSON; empty: none.
    pub offline_push: String,
    /// It takes extensions.
    pub extensible: bool,
    /// Its sender has a copy: devices and history.
    pub for_sender: bool,
    /// Not stored, only to devices that are online now.
    pub online_only: bool,
    /// Which callbacks of the App are not to hear of it.
    pub callbacks: Callbacks,
}

/// Callbacks that a send asks to leave out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Callbacks {
    /// `ForbidBeforeSendMsgCallback`.
    pub no_before: bool,
    /// `ForbidAfterSendMsgCallback`.
    pub no_after: bool,
}

/// What an import is to do beside being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Import {
    /// History: nobody is told and nothing is unread.
    History,
    /// Live traffic of another system: as if it were sent now.
    Live,
}

impl Admin {
    /// Sends one message to each of `to`, in one batch. Relations and mutes of the users are not looked at; that they exist
    /// is the caller's to check. A repeat succeeds and changes nothing.
    ///
    /// The outcome is there once all of them are on disk: 20005 if the store takes no writes, 60018 if too much is waiting.
    pub fn send_messages(&self, message: &Outgoing, to: &[UserKey]) -> Pending<Result<(), Failure>> {
        let (pending, done) = Pending::new();
        let (mut told, receipts) = (told(to.len(), done), self.receipts(message));
        let letters = to.iter().map(|peer| Letter {
            post: Post { append: append(message, peer, receipts), done: told.next() },
            online_only: message.online_only,
            imported: None,
            told: None,
        });
        match self.shared.posts.offer(letters.collect()) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(busy())),
        }
    }

    /// Whether the receiver is asked for a receipt.
    fn receipts(&self, message: &Outgoing) -> bool {
        message.need_receipt && self.shared.settings(message.from.app()).config.receipts
    }

    /// The same to one user, of which the App's back end hears as of one that a client sends: it is asked first, as far as the message
    /// does not forbid it, and told afterwards.
    ///
    /// The outcome may also be what the back end says: 20006, 120001 to 130000, 80003. A message that it drops has been sent.
    pub fn send_message(
        &self,
        asker: &Asker,
        message: Outgoing,
        to: &UserKey,
    ) -> Pending<Result<(), Failure>> {
        let question = match message.callbacks.no_before {
            true => None,
            false => {
                let pair = (&message.from, to);
                self.question_to_user(asker, pair, message.online_only, || body_of(&message, to))
            }
        };
        let (pending, done) = Pending::new();
        match question {
            None => self.post(asker, &message, to, done),
            Some(question) => {
                let (admin, asker, to, mut message) = (self.clone(), asker.clone(), to.clone(), message);
                let decided = move |verdict: Verdict| match verdict.on(&mut message.content) {
                    Ok(true) => admin.post(&asker, &message, &to, done),
                    Ok(false) => done.tell(Ok(())),
                    Err(failure) => done.tell(Err(failure)),
                };
                self.ask(question, Box::new(decided));
            }
        }
        pending
    }

    /// Hands a message to the writer, with what the back end hears of it.
    fn post(&self, asker: &Asker, message: &Outgoing, to: &UserKey, done: Done<Result<(), Failure>>) {
        let event = match message.callbacks.no_after {
            true => None,
            false => self.told_of_pair(asker, to, message.online_only, || body_of(message, to)),
        };
        let done = Arc::new(Mutex::new(Some(done)));
        let taken = {
            let done = done.clone();
            move || done.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let hear = move |outcome: Result<&Appended, &LedgerError>| {
            if let Some(done) = taken() {
                done.tell(outcome.map(drop).map_err(|_| no_writes()));
            }
        };
        let letter = Letter {
            post: Post { append: append(message, to, self.receipts(message)), done: Some(Box::new(hear)) },
            online_only: message.online_only,
            imported: None,
            told: event.map(Box::new),
        };
        if self.shared.posts.offer(vec![letter]).is_err()
            && let Some(done) = done.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            done.tell(Err(busy()));
        }
    }

    /// Stores a message of another system at its own time, which is that of its key. One with the same key in this conversation,
    /// whoever of the two sent it, stands already and stays.
    pub fn import_message(
        &self,
        message: &Outgoing,
        to: &UserKey,
        how: Import,
    ) -> Pending<Result<(), Failure>> {
        let (pending, done) = Pending::new();
        let done = told(1, done).next();
        let (mut append, mirrored) = imported_pair(message, to);
        if how == Import::Live {
            let Append { logs, uncounted, .. } = self::append(message, to, message.need_receipt);
            (append.logs, append.uncounted) = (logs, uncounted);
        }
        let post = Post { append, done };
        let letter = Letter { post, online_only: false, imported: Some(mirrored), told: None };
        match self.shared.posts.offer(vec![letter]) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(busy())),
        }
    }

    /// The administrator as a user: who sends where nobody else is named.
    ///
    /// # Errors
    /// 20003.
    pub fn own_user(&self, asker: &Asker) -> Result<UserKey, Failure> {
        UserKey::new(asker.app, &asker.admin)
            .map_err(|error| Failure::new(code::BAD_PEER, format!("the administrator: {error}")))
    }

    /// Whether all of these accounts are known without a look into the directory.
    #[must_use]
    pub fn remembers(&self, users: &[UserKey]) -> bool {
        self.shared.accounts.remembers(users)
    }

    /// Which of these accounts exist, in order. Blocks for a query if not all are remembered.
    ///
    /// # Errors
    /// 20005.
    pub fn exist(&self, users: &[UserKey]) -> Result<Vec<bool>, Failure> {
        let found = self.shared.accounts.find(users).map_err(|error| {
            tracing::error!(%error, "cannot look accounts up");
            Failure::later(code::INTERNAL, "accounts cannot be looked up, try again", STORE_RETRY_MS)
        })?;
        Ok(found.accounts.iter().map(Option::is_some).collect())
    }
}

impl Outgoing {
    /// A message of another system, as it was said there.
    #[must_use]
    pub fn imported(from: UserKey, key: MsgKey, content: Content) -> Self {
        Self {
            from,
            key,
            content,
            control: None,
            need_receipt: false,
            life_time_s: 0,
            offline_push: String::new(),
            extensible: false,
            for_sender: true,
            online_only: false,
            callbacks: Callbacks { no_before: true, no_after: true },
        }
    }
}

/// A message for history at its own time: nobody is told and nothing is unread. And the key under which it is known if the other
/// side was said to have sent it.
pub(super) fn imported_pair(message: &Outgoing, peer: &UserKey) -> (Append, IdemKey) {
    let append = append(message, peer, message.need_receipt);
    let mirrored = IdemKey { sender: peer.clone(), client_msg_id: append.idem.client_msg_id };
    let time_ms = message.key.time_s.saturating_mul(1000);
    (Append { logs: Vec::new(), uncounted: true, time_ms, ..append }, mirrored)
}

/// A message as it is stored.
fn body_of(message: &Outgoing, peer: &UserKey) -> Message {
    body_with(message, peer, message.key.client_msg_id(&ConvKey::pair(&message.from, peer)))
}

/// The same with its id, which costs a hash.
fn body_with(message: &Outgoing, peer: &UserKey, client_msg_id: [u8; 16]) -> Message {
    // Where a back end chose them they have 32 bits.
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let key = MessageKey {
        seq: small(message.key.seq),
        random: message.key.random,
        time_s: small(message.key.time_s),
    };
    Message {
        from: message.from.name().to_owned(),
        to: Some(With::User(peer.clone()).target()),
        client_msg_id: client_msg_id.to_vec().into(),
        content: Some(message.content.clone()),
        need_receipt: message.need_receipt,
        control: message.control,
        life_time_s: message.life_time_s,
        key: Some(key),
        offline_push: message.offline_push.clone(),
        extensible: message.extensible,
        ..Message::default()
    }
}

fn append(message: &Outgoing, peer: &UserKey, receipts: bool) -> Append {
    let conv = ConvKey::pair(&message.from, peer);
    let client_msg_id = message.key.client_msg_id(&conv);
    let no_unread = message.control.as_ref().is_some_and(|control| control.no_unread);
    let audience = if message.for_sender { Audience::All } else { Audience::Others };
    let body = Message { need_receipt: receipts, ..body_with(message, peer, client_msg_id) };
    let mut logs = Vec::with_capacity(2);
    if message.for_sender {
        logs.push(message.from.clone());
    }
    if *peer != message.from {
        logs.push(peer.clone());
    }
    Append {
        conv,
        idem: IdemKey { sender: message.from.clone(), client_msg_id },
        logs,
        // Set by the writer.
        time_ms: 0,
        body: seal(&body, audience),
        uncounted: no_unread,
    }
}

/// What tells `done` once all of `count` appends are committed.
fn told(count: usize, done: Done<Result<(), Failure>>) -> impl Iterator<Item = posts::Done> {
    struct Gathered {
        left: usize,
        failed: bool,
        done: Option<Done<Result<(), Failure>>>,
    }
    let gathered = Arc::new(Mutex::new(Gathered { left: count, failed: false, done: Some(done) }));
    (0..count).map(move |_| {
        let gathered = gathered.clone();
        let hear = move |outcome: Result<&Appended, &LedgerError>| {
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.left -= 1;
            gathered.failed |= outcome.is_err();
            if gathered.left == 0
                && let Some(done) = gathered.done.take()
            {
                done.tell(if gathered.failed { Err(no_writes()) } else { Ok(()) });
            }
        };
        Box::new(hear) as posts::Done
    })
}

fn no_writes() -> Failure {
    Failure::later(code::INTERNAL, "the store takes no writes, try again later", STORE_RETRY_MS)
}
