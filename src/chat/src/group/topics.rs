//! Topics of communities. A topic has a profile and a conversation; members, roles, mutes and bans are those of the community.

use nearport_wire::body::{
    GroupReception, GroupTopic, GroupTopicChange, GroupTopicCreate, GroupTopicDestroyed, GroupTopicEdit,
    GroupTopicSelf, Tip, TipChange, group_topic_change::How,
};
use nearport_wire::code::group as code;

use super::effects::{Effects, TipKind, count, tip};
use super::members::{reception, reception_body};
use super::profile::{change, check_profile};
use super::record::{Change, Reception, TopicInfo};
use super::rules::Limits;
use super::state::{Group, bad, denied};
use super::types::Rank;
use crate::actor::Actor;
use crate::key::{BadName, GroupKey, TOPIC_MARK, UserKey};
use crate::ledger::Heads;
use crate::reply::Failure;
use crate::text::check_text;

/// Bytes of what is the App's own, of the public contract.
const CUSTOM_BYTES_MAX: usize = 3000;
/// Topics that are destroyed at once.
const DESTROYED_MAX: usize = 100;

/// Checks the id that somebody chose for a topic of `community`. One that is `imported` keeps the one that it has, also where another
/// server gave it.
///
/// # Errors
/// 10015.
pub(crate) fn check_topic_id(community: &GroupKey, id: &str, imported: bool) -> Result<GroupKey, Failure> {
    let wrong = |info: String| Failure::new(code::BAD_ID, info);
    let key = GroupKey::new(community.app(), id)
        .map_err(|error: BadName| wrong(format!("the topic's id: {error}")))?;
    if !key.is_topic() || key.home() != *community {
        return Err(wrong(format!(
            "ids of topics are that of the community, {TOPIC_MARK} and a part of their own"
        )));
    }
    let part = &id[community.id().len() + TOPIC_MARK.len()..];
    match !imported && part.starts_with("@TOPIC#") {
        true => Err(wrong("parts that begin with @TOPIC# are the server's".into())),
        false => Ok(key),
    }
}

/// Checks the limits for one more topic: of the App, which has `in_app`, and of a community, which has `in_group`.
///
/// # Errors
/// 10036, 10037.
pub(crate) fn check_topic_counts(limits: &Limits, in_app: u64, in_group: usize) -> Result<(), Failure> {
    if limits.app_topics_max > 0 && in_app >= u64::from(limits.app_topics_max) {
        return Err(Failure::new(code::TOO_MANY_OF_TYPE, "the app has as many topics as it may"));
    }
    match in_group >= limits.topics_max {
        true => Err(Failure::new(code::JOINED_TOO_MANY, "the community has as many topics as it may")),
        false => Ok(()),
    }
}

/// There is no such topic.
pub(super) fn topic_gone() -> Failure {
    Failure::new(code::TOPIC_GONE, "the topic does not exist, or was destroyed")
}

fn told(topic: &GroupKey, how: How, seq: u64) -> GroupTopicChange {
    GroupTopicChange { topic: topic.id().to_owned(), how: how.into(), seq }
}

fn check_custom(custom: &str) -> Result<(), Failure> {
    check_text(custom, CUSTOM_BYTES_MAX).map_err(|error| bad(format!("custom {error}")))
}

impl Group {
    /// A topic that exists.
    ///
    /// # Errors
    /// 110003.
    pub(crate) fn topic(&self, key: &GroupKey) -> Result<&TopicInfo, Failure> {
        self.record.topics.get(key).ok_or_else(topic_gone)
    }

    /// Topics, by id.
    pub(crate) fn topics(&self) -> impl ExactSizeIterator<Item = (&GroupKey, &TopicInfo)> {
        self.record.topics.iter()
    }

    /// Whether `actor` may make, change and destroy topics here.
    ///
    /// # Errors
    /// 10010, 11000, 10007.
    pub(crate) fn check_topics(&self, actor: Actor<'_>) -> Result<(), Failure> {
        self.visible(actor)?;
        if !self.info().topics {
            return Err(Failure::new(code::NOT_ENABLED, "the group is no community with topics"));
        }
        match self.rank(actor, false) >= Rank::Admin {
            true => Ok(()),
            false => Err(denied("only owner and administrators make and change topics")),
        }
    }

    /// Makes a topic. `head`: newest message of its conversation.
    pub(crate) fn create_topic(
        &self,
        actor: Actor<'_>,
        (key, head, created_ms): (&GroupKey, u64, u64),
        asked: &GroupTopicCreate,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.check_topics(actor)?;
        check_profile(
            Some(&asked.name),
            Some(&asked.introduction),
            Some(&asked.notification),
            Some(&asked.face_url),
        )?;
        check_custom(&asked.custom)?;
        let info = TopicInfo {
            name: asked.name.clone(),
            introduction: asked.introduction.clone(),
            notification: asked.notification.clone(),
            face_url: asked.face_url.clone(),
            custom: asked.custom.clone(),
            created_ms,
            info_seq: 1,
            muted_all: false,
            first_seq: head,
        };
        self.topic_tip(actor, TipKind::TopicCreated, &asked.by, (key, &info), fx);
        fx.topics.push(told(key, How::Created, head));
        fx.changes.push(Change::PutTopic(key.clone(), Box::new(info)));
        Ok(())
    }

    /// Changes the profile of a topic.
    pub(crate) fn edit_topic(
        &self,
        actor: Actor<'_>,
        key: &GroupKey,
        asked: &GroupTopicEdit,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.check_topics(actor)?;
        let before = self.topic(key)?;
        check_profile(
            asked.name.as_deref(),
            asked.introduction.as_deref(),
            asked.notification.as_deref(),
            asked.face_url.as_deref(),
        )?;
        asked.custom.as_deref().map_or(Ok(()), check_custom)?;
        let (mut info, mut changes) = (before.clone(), Vec::new());
        let texts = [
            ("TopicName", &asked.name, &mut info.name),
            ("Introduction", &asked.introduction, &mut info.introduction),
            ("Notification", &asked.notification, &mut info.notification),
            ("FaceUrl", &asked.face_url, &mut info.face_url),
            ("CustomString", &asked.custom, &mut info.custom),
        ];
        for (what, wanted, value) in texts {
            let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != value) else { continue };
            value.clone_from(wanted);
            changes.push(change(what, wanted));
        }
        if let Some(muted_all) = asked.muted_all.filter(|muted_all| *muted_all != info.muted_all) {
            info.muted_all = muted_all;
            changes.push(change("MuteAllMember", if muted_all { "On" } else { "Off" }));
        }
        if changes.is_empty() {
            return Ok(());
        }
        info.info_seq += 1;
        let member_count = count(self.member_count());
        fx.topic_tips
            .push((key.clone(), Tip { changes, member_count, ..tip(TipKind::TopicInfo, actor, &[]) }));
        fx.topics.push(told(key, How::Changed, 0));
        fx.changes.push(Change::PutTopic(key.clone(), Box::new(info)));
        Ok(())
    }

    /// Destroys topics, and says what became of each.
    pub(crate) fn destroy_topics(
        &self,
        actor: Actor<'_>,
        ids: &[String],
        fx: &mut Effects,
    ) -> Result<Vec<GroupTopicDestroyed>, Failure> {
        self.check_topics(actor)?;
        if ids.is_empty() || ids.len() > DESTROYED_MAX {
            return Err(bad("1 to 100 topics are named"));
        }
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            let key = GroupKey::new(self.key().app(), id).ok();
            let found = key.as_ref().and_then(|key| Some((key, self.record.topics.get(key)?)));
            let again = items.iter().any(|item: &GroupTopicDestroyed| item.topic == *id);
            let error = match found.filter(|_| !again) {
                Some((key, info)) => {
                    self.topic_tip(actor, TipKind::TopicDestroyed, "", (key, info), fx);
                    fx.topics.push(told(key, How::Destroyed, 0));
                    fx.changes.push(Change::RemoveTopic(key.clone()));
                    0
                }
                None => code::TOPIC_GONE,
            };
            items.push(GroupTopicDestroyed { topic: id.clone(), error });
        }
        Ok(items)
    }

    /// How `user` receives a topic from now on.
    pub(crate) fn receive_topic(
        &self,
        actor: Actor<'_>,
        key: &GroupKey,
        user: &UserKey,
        wanted: GroupReception,
        fx: &mut Effects,
    ) -> Result<(), Failure> {
        self.topic(key)?;
        if self.member(user).is_none() {
            return Err(denied("only members of the community receive its topics"));
        }
        if !actor.is(user) && self.rank(actor, false) != Rank::App {
            return Err(denied("how a member receives is theirs to say"));
        }
        let wanted = reception(wanted);
        if self.record.receptions.get(&(user.clone(), key.clone())).copied() != wanted {
            fx.changes.push(Change::Receive(user.clone(), key.clone(), wanted));
            fx.behind.push(user.clone());
        }
        Ok(())
    }

    /// How a member receives a topic: as they have said, else as the community, whose `Discard` stops all.
    pub(crate) fn reception_of(&self, key: &GroupKey, user: &UserKey) -> Option<Reception> {
        let member = self.member(user)?;
        let own = self.record.receptions.get(&(user.clone(), key.clone()));
        Some(match member.reception {
            Reception::Discard => Reception::Discard,
            community => own.copied().unwrap_or(community),
        })
    }

    /// What `user` has said of topics ends.
    pub(super) fn forgotten_receptions(&self, user: &UserKey) -> impl Iterator<Item = Change> {
        // The id of a community stands in front of those of its topics.
        let own = self.record.receptions.range((user.clone(), self.key().clone())..);
        own.map(|(of, _)| of)
            .take_while(move |(of, _)| of == user)
            .map(|(user, topic)| Change::Receive(user.clone(), topic.clone(), None))
    }

    /// A topic as it is told. `newest`: where its conversation stands; `user`: who asks, or about whom, and how far they have read.
    pub(crate) fn topic_body(
        &self,
        key: &GroupKey,
        newest: Heads,
        (user, read): (Option<&UserKey>, u64),
        now_ms: u64,
    ) -> Result<GroupTopic, Failure> {
        let info = self.topic(key)?;
        let own = user.and_then(|user| Some((user, self.reception_of(key, user)?)));
        Ok(GroupTopic {
            topic: key.id().to_owned(),
            error: 0,
            name: info.name.clone(),
            introduction: info.introduction.clone(),
            notification: info.notification.clone(),
            face_url: info.face_url.clone(),
            custom: info.custom.clone(),
            created_ms: info.created_ms,
            info_seq: info.info_seq,
            last_message_ms: if newest.seq > info.first_seq { newest.time_ms } else { 0 },
            next_seq: newest.seq + 1,
            muted_all: info.muted_all,
            own: own.map(|(user, reception)| GroupTopicSelf {
                muted_until_s: self.muted_until_s(user, now_ms / 1000),
                read,
                reception: reception_body(reception).into(),
            }),
        })
    }

    /// A topic has come or gone: a message of the community's conversation, one row for all members.
    fn topic_tip(
        &self,
        actor: Actor<'_>,
        kind: TipKind,
        by: &str,
        (key, info): (&GroupKey, &TopicInfo),
        fx: &mut Effects,
    ) {
        let changes: Vec<TipChange> = vec![change("TopicId", key.id()), change("TopicName", &info.name)];
        let said = tip(kind, actor, &[]);
        let operator = if by.is_empty() { said.operator.clone() } else { by.to_owned() };
        fx.tip(self, Tip { operator, changes, member_count: count(self.member_count()), ..said });
    }
}
