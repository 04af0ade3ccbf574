//! Messages to groups.

use nearport_wire::body::{Content, Element, Mentions, Priority, SendControl};
use nearport_wire::check_mentions;
use nearport_wire::code::group as code;

use super::{group_key, user_key};
use crate::admin::pending::Done;
use crate::admin::{Admin, Asker, Callbacks, Pending, busy};
use crate::callback::{Command, Verdict};
use crate::group::gone_at;
use crate::kept::Kept;
use crate::key::{GroupKey, UserKey};
use crate::ledger::{PageLimit, Range};
use crate::posts::orders::{GroupOrder, GroupSaying};
use crate::posts::{AdminChange, AdminWhat, GroupSaid};
use crate::reply::{Failure, unreadable};
use crate::writer::may_say;

/// A message of a back end to a group.
#[derive(Debug, Clone, Default)]
pub struct GroupMessage {
    /// Id of the group.
    pub group: String,
    /// In whose name; `None`: the administrator's.
    pub from: Option<String>,
    /// The same again within five minutes, from the same sender to the same group, is the same message.
    pub random: u32,
    /// What it says, checked.
    pub content: Content,
    /// Which go first above the group's rate.
    pub priority: Priority,
    /// Not stored, only to members who are online now.
    pub online_only: bool,
    /// Members are to confirm that they have read it.
    pub need_receipt: bool,
    /// Who is meant.
    pub mentions: Option<Mentions>,
    /// What it leaves alone.
    pub control: Option<SendControl>,
    /// `OfflinePushInfo`, JSON; empty: none.
    pub offline_push: String,
    /// It takes extensions.
    pub extensible: bool,
    /// Which callbacks of the App are not to hear of it.
    pub callbacks: Callbacks,
}

/// Messages among which those of one sender are recalled at once, of the public contract.
const OF_SENDER_LOOKED_AT: usize = 1000;

impl Admin {
    /// Sends a message to a group, under the group's rate like those of clients. The outcome is there once it is on disk. Blocks for
    /// a look at the sender's account.
    ///
    /// # Errors
    /// 10015, 10019, 10017, 10004, 10053 at once; 10010, 10007, 10017, 10023, 10002 later.
    pub fn send_to_group(
        &self,
        asker: &Asker,
        message: GroupMessage,
    ) -> Result<Pending<Result<GroupSaid, Failure>>, Failure> {
        let group = group_key(asker.app, &message.group)?;
        let from = self.speaker(asker, message.from.as_deref())?;
        if let Some(mentions) = &message.mentions {
            check_mentions(mentions).map_err(|count| {
                Failure::new(code::MENTIONS_MAX, format!("{count} users are meant, 30 may be"))
            })?;
            for name in &mentions.users {
                user_key(asker.app, name)?;
            }
        }
        let (pending, done) = Pending::new();
        let saying = GroupSaying {
            group,
            from,
            random: message.random,
            content: message.content,
            priority: message.priority,
            online_only: message.online_only,
            need_receipt: message.need_receipt && self.shared.settings(asker.app).config.receipts,
            mentions: message.mentions,
            control: message.control,
            offline_push: message.offline_push,
            extensible: message.extensible,
            asker: asker.clone(),
            callbacks: message.callbacks,
            done: Box::new(move |outcome| done.tell(outcome.map_err(in_groups))),
        };
        if saying.callbacks.no_before || !self.shared.callbacks.wants(asker.app, Command::GroupBeforeSend) {
            self.say(saying)?;
        } else {
            self.ask_and_say(saying)?;
        }
        Ok(pending)
    }

    fn say(&self, saying: GroupSaying) -> Result<(), Failure> {
        match self.shared.posts.order(vec![GroupOrder::Say(Box::new(saying))]) {
            true => Ok(()),
            false => Err(in_groups(busy())),
        }
    }

    /// Lets the App's back end decide first. It is not asked about what the group does not take.
    fn ask_and_say(&self, mut saying: GroupSaying) -> Result<(), Failure> {
        let group = self.home(&saying.group)?;
        if let Err(failure) = may_say(&group, &saying, self.now_ms()) {
            saying.refused(&self.shared.callbacks, Some(&group), &failure, self.now_ms());
            return Err(failure);
        }
        let (kind, online_only) = saying.shown(Some(&group));
        let message = saying.message();
        let place = (&saying.group, kind.as_str());
        let question = self.question_to_group(&saying.asker, place, online_only, &message);
        let admin = self.clone();
        let decided = move |verdict: Verdict| match verdict.on(&mut saying.content) {
            Ok(true) => {
                // There is no room: whoever waits hears that nobody answers.
                let _ = admin.say(saying);
            }
            Ok(false) => (saying.done)(Ok(GroupSaid { seq: 0, time_ms: admin.now_ms() })),
            Err(failure) => (saying.done)(Err(failure)),
        };
        self.ask(question, Box::new(decided));
        Ok(())
    }

    /// In whose name something is said: an account that is not muted in all groups.
    ///
    /// # Errors
    /// 10019, 10017, 10002.
    pub(super) fn speaker(&self, asker: &Asker, name: Option<&str>) -> Result<UserKey, Failure> {
        let unknown = || Failure::new(code::NO_ACCOUNT, "the account of the sender does not exist");
        let own = name.is_none_or(|name| *name == *asker.admin);
        let user = UserKey::new(asker.app, name.unwrap_or(&asker.admin)).map_err(|_| unknown())?;
        let found = self.shared.accounts.find(std::slice::from_ref(&user)).map_err(|error| {
            tracing::error!(%error, "cannot look accounts up");
            Failure::later(code::INTERNAL, "accounts cannot be looked up, try again", 1000)
        })?;
        match found.accounts.into_iter().flatten().next() {
            Some(account) if self.now_ms() < account.mutes.groups_until_ms => {
                Err(Failure::new(code::MUTED, "the sender is muted in all groups"))
            }
            Some(_) => Ok(user),
            // An administrator need not be an account.
            None if own => Ok(user),
            None => Err(unknown()),
        }
    }

    /// Takes messages of a group back, in the order of `seqs`: nothing, or the code of a refusal. At any time.
    ///
    /// # Errors
    /// 10010, 10015, 10002.
    pub fn recall_in_group(
        &self,
        asker: &Asker,
        group: &str,
        seqs: &[u64],
        reason: &str,
    ) -> Result<Vec<Pending<Result<u64, u32>>>, Failure> {
        let key = group_key(asker.app, group)?;
        let (first, offered) = self.of_talk(&key, |group, first| (first, group.kind().recall))?;
        let recall = |seq: &u64| match (offered, *seq > first) {
            (false, _) => Pending::ready(Err(code::RECALL_NOT_OFFERED)),
            (true, false) => Pending::ready(Err(code::RECALL_NOT_FOUND)),
            (true, true) => {
                self.change_group(asker, &key, *seq, AdminWhat::Recall { reason: reason.to_owned() })
            }
        };
        Ok(seqs.iter().map(recall).collect())
    }

    /// Takes back, without telling anybody, what a sender has said among the latest 1,000 messages of a group. In a live room there
    /// is nothing of it.
    ///
    /// # Errors
    /// 10004, 10010, 10015, 10002.
    pub fn recall_of_sender(
        &self,
        asker: &Asker,
        group: &str,
        sender: &str,
    ) -> Result<Vec<Pending<Result<u64, u32>>>, Failure> {
        let (key, sender) = (group_key(asker.app, group)?, user_key(asker.app, sender)?);
        let (first, offered) = self.of_talk(&key, |group, first| (first, group.kind().recall))?;
        let (mut before, mut looked_at, mut recalls) = (u64::MAX, 0, Vec::new());
        while offered && looked_at < OF_SENDER_LOOKED_AT {
            let limit = PageLimit { entries: OF_SENDER_LOOKED_AT - looked_at, bytes: 1 << 20 };
            let page = self.shared.ledger.read(&key.conv(), Range::Before(before), limit);
            let page = page.map_err(|error| unreadable(&error))?;
            let Some(last) = page.last() else { break };
            (before, looked_at) = (last.seq, looked_at + page.len());
            for entry in page.iter().take_while(|entry| entry.seq > first) {
                let kept = Kept::open(&entry.body);
                if kept.is_from(&sender) && kept.head.recalled.is_none() {
                    recalls.push(self.change_group(asker, &key, entry.seq, AdminWhat::RecallSilently));
                }
            }
        }
        Ok(recalls)
    }

    /// Changes what a message of a group says.
    ///
    /// # Errors
    /// 10010, 10015, 10007, 10002.
    pub fn edit_in_group(
        &self,
        asker: &Asker,
        group: &str,
        seq: u64,
        elements: Vec<Element>,
        cloud_custom_data: Option<String>,
    ) -> Result<Pending<Result<u64, u32>>, Failure> {
        let key = group_key(asker.app, group)?;
        let (first, history) = self.of_talk(&key, |group, first| (first, group.kind().history))?;
        if !history {
            return Err(Failure::new(code::NO_PERMISSION, "groups of this type keep no messages"));
        }
        if seq <= first {
            return Ok(Pending::ready(Err(code::RECALL_NOT_FOUND)));
        }
        Ok(self.change_group(asker, &key, seq, AdminWhat::Edit { elements, cloud_custom_data }))
    }

    fn change_group(
        &self,
        asker: &Asker,
        key: &GroupKey,
        seq: u64,
        what: AdminWhat,
    ) -> Pending<Result<u64, u32>> {
        let (pending, done): (_, Done<Result<u64, u32>>) = Pending::new();
        let done = Box::new(move |outcome| done.tell(outcome));
        let change = AdminChange { conv: key.conv(), seq, what, by: asker.clone(), done };
        match self.shared.posts.change(change) {
            Ok(()) => pending,
            Err(_) => Pending::ready(Err(code::INTERNAL)),
        }
    }

    /// Something of a group that exists.
    pub(in crate::admin) fn of_group<T>(
        &self,
        key: &GroupKey,
        ask: impl FnOnce(&crate::group::Group) -> T,
    ) -> Result<T, Failure> {
        let group = self.group(key)?;
        let group = group.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(ask(&group))
    }

    /// Something of the group in whose conversation, or in that of whose topic, messages are; `ask` has the seq up to which they belong
    /// to an earlier one of the same id too.
    pub(in crate::admin) fn of_talk<T>(
        &self,
        at: &GroupKey,
        ask: impl FnOnce(&crate::group::Group, u64) -> T,
    ) -> Result<T, Failure> {
        let group = self.home(at)?;
        let group = group.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = group.first_seq(at).ok_or_else(|| gone_at(at))?;
        Ok(ask(&group, first))
    }
}

/// What is busy or broken by the numbers of groups.
pub(super) fn in_groups(failure: Failure) -> Failure {
    match failure.code {
        10_000..=11_999 | code::TOPIC_GONE => failure,
        nearport_wire::code::TOO_MANY_REQUESTS => Failure { code: code::TOO_OFTEN, ..failure },
        _ => Failure { code: code::INTERNAL, ..failure },
    }
}
