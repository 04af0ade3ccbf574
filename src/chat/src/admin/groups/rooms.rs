//! Live rooms: who is there, marks, and what is said to all of them. And what back ends tell members of any group who are online.

use aws_lc_rs::digest;
use nearport_wire::Class;
use nearport_wire::body::{self, Content};
use nearport_wire::code::group as code;
use prost::Message as _;

use super::{group_key, user_key};
use crate::actor::Actor;
use crate::admin::{Admin, Asker, Pending};
use crate::desk;
use crate::directory::people::FieldValue;
use crate::downs::Downs;
use crate::key::{AppId, GroupKey, UserKey};
use crate::posts::GroupSaid;
use crate::reply::{Failure, With};
use crate::room::{RoomPage, Saying};

/// Profiles that are looked up at once.
const PROFILES_AT_ONCE: usize = 100;

/// Somebody who is in a live room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMember {
    /// The user.
    pub user: String,
    /// Since when, milliseconds.
    pub joined_ms: u64,
    /// Nickname; empty: none.
    pub nick: String,
    /// URL of a picture; empty: none.
    pub face_url: String,
}

impl Admin {
    /// How many users are in a live room, as it is shown.
    ///
    /// # Errors
    /// 10007 for another group, 10010, 10015, 10002.
    pub fn online_in_room(&self, app: AppId, group: &str) -> Result<u32, Failure> {
        Ok(self.shared.rooms.online(&self.room(app, group)?))
    }

    /// Who is in a live room: of the newest 1,000 those behind `from` (0: the beginning), at most 500, newest first, and
    /// where it goes on; 0: that was all. With a mark: those who have it.
    ///
    /// # Errors
    /// 10007 for another group, 10010, 10015, 10002.
    pub fn room_members(
        &self,
        app: AppId,
        group: &str,
        from: u64,
        mark: Option<u32>,
    ) -> Result<(Vec<RoomMember>, u64), Failure> {
        let RoomPage { members, next } = self.shared.rooms.page(&self.room(app, group)?, from, mark);
        let bare = |(user, joined_ms): (UserKey, u64)| RoomMember {
            user: user.name().to_owned(),
            joined_ms,
            nick: String::new(),
            face_url: String::new(),
        };
        let mut members: Vec<_> = members.into_iter().map(bare).collect();
        let wanted = ["Tag_Profile_IM_Nick", "Tag_Profile_IM_Image"].map(str::to_owned);
        for some in members.chunks_mut(PROFILES_AT_ONCE) {
            let names: Vec<_> = some.iter().map(|member| member.user.clone()).collect();
            // Without profiles the list is still good.
            let Ok(profiles) = self.shared.people.profiles(&Actor::Admin(""), app, &names, &wanted) else {
                continue;
            };
            for (member, profile) in some.iter_mut().zip(profiles) {
                for (tag, value) in profile.into_iter().flatten() {
                    if let FieldValue::Text(value) = value {
                        *(if tag == wanted[0] { &mut member.nick } else { &mut member.face_url }) = value;
                    }
                }
            }
        }
        Ok((members, next))
    }

    /// Sets or takes marks of users who are in a live room, and gives those users.
    ///
    /// # Errors
    /// 10004 for marks that cannot be, 10007 for another group, 10010, 10015, 10002.
    pub fn mark_in_room(
        &self,
        app: AppId,
        group: &str,
        set: bool,
        users: &[(String, Vec<u32>)],
    ) -> Result<Vec<String>, Failure> {
        let room = self.room(app, group)?;
        let users = users.iter().map(|(name, marks)| Ok((user_key(app, name)?, marks.clone())));
        let users: Vec<_> = users.collect::<Result<_, Failure>>()?;
        let marked = self.shared.rooms.mark(&room, set, &users, self.now_ms());
        let marked = marked.map_err(|refused| Failure::new(code::BAD_PARAMETER, refused.to_string()))?;
        Ok(marked.iter().map(|user| user.name().to_owned()).collect())
    }

    /// Says something in all live rooms of the App, whatever their rates. The same again within five minutes is not said.
    ///
    /// # Errors
    /// 10019, 10017, 10002.
    pub fn broadcast(
        &self,
        asker: &Asker,
        from: Option<&str>,
        random: u32,
        content: &Content,
    ) -> Result<GroupSaid, Failure> {
        let (from, time_ms) = (self.speaker(asker, from)?, self.now_ms());
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(from.as_bytes());
        digest.update(&random.to_be_bytes());
        digest.update(&content.encode_to_vec());
        let digest = digest.finish();
        let mut client_msg_id = [0; 16];
        client_msg_id.copy_from_slice(&digest.as_ref()[..16]);
        {
            let mut door = self.door();
            if let Some(said) = door.broadcasts.get(&client_msg_id, time_ms) {
                return Ok(*said);
            }
            door.broadcasts.note(client_msg_id, GroupSaid { seq: 0, time_ms }, time_ms);
        }
        let mut out = Downs::new(self.shared.links.clone());
        for room in self.shared.rooms.of_app(asker.app) {
            let message = body::Message {
                from: from.name().to_owned(),
                to: Some(With::Group(room.clone()).target()),
                client_msg_id: client_msg_id.to_vec().into(),
                content: Some(content.clone()),
                ..body::Message::default()
            };
            let delivery = body::Delivery { message: Some(message), time_ms, ..body::Delivery::default() };
            let saying = Saying { from: &from, class: Class::System, exempt: true, client_msg_id, delivery };
            self.shared.rooms.say(&room, saying, time_ms, &mut out);
        }
        out.flush();
        Ok(GroupSaid { seq: 0, time_ms })
    }

    /// Tells members of a group who are online now something of the App's own: all of them, or those of `to` who are members.
    /// Nothing of it is stored.
    pub fn notify_group(
        &self,
        asker: &Asker,
        group: &str,
        data: String,
        to: Vec<String>,
    ) -> Pending<Result<(), Failure>> {
        let (asker, group) = (asker.clone(), group.to_owned());
        self.on_desk(move |shared, now_ms, out| {
            let key = group_key(asker.app, &group)?;
            let to = to.iter().map(|name| user_key(asker.app, name)).collect::<Result<Vec<_>, _>>()?;
            desk::group::notify(shared, (&asker.admin, &key), data, &to, now_ms, out)
        })
    }

    fn room(&self, app: AppId, group: &str) -> Result<GroupKey, Failure> {
        let key = group_key(app, group)?;
        match self.of_group(&key, |group| group.kind().stored_members)? {
            false => Ok(key),
            true => Err(Failure::new(code::NO_PERMISSION, "the group is no live room")),
        }
    }
}
