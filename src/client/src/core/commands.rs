//! What the application tells a core to do.

use std::time::Instant;

use bytes::Bytes;
use nearport_session::Closing;
use nearport_wire::body;
use nearport_wire::close::CloseCode;
use nearport_wire::{Kind, Lane, check_content};
use prost::Message as _;

use super::requests::Request;
use super::{Answer, Core, NEW_PATH_TIMEOUT, State};
use crate::error::{PostError, QueueFull, RequestError};
use crate::event::{Content, Failure, HistoryQuery, MsgId, RequestId, SendOptions, Target};

/// Longest name of a target. The contract's are shorter; this only keeps a frame below its limit.
const TARGET_BYTES_MAX: usize = 256;

impl Core {
    /// Queues a message; its outcome is [`Event::Sent`](crate::Event::Sent) or
    /// [`Event::Failed`](crate::Event::Failed). `online_only`: not stored, sent at most
    /// once, only to devices that are online.
    ///
    /// # Errors
    /// [`PostError`]; nothing was queued then.
    pub fn send(
        &mut self,
        now: Instant,
        to: Target,
        content: Content,
        online_only: bool,
    ) -> Result<MsgId, PostError> {
        self.send_with(now, to, content, SendOptions { online_only, ..SendOptions::default() }, false)
    }

    /// As [`Self::send`], with everything that a message can be sent with; `awaited`: the outcome is an [`Answer`].
    ///
    /// # Errors
    /// [`PostError`]; nothing was queued then.
    pub fn send_with(
        &mut self,
        now: Instant,
        to: Target,
        content: Content,
        options: SendOptions,
        awaited: bool,
    ) -> Result<MsgId, PostError> {
        let SendOptions { online_only, priority, need_receipt, mentions, control, life_time_s } = options;
        if self.state == State::Stopped {
            return Err(PostError::Stopped);
        }
        if online_only && self.state != State::Live {
            return Err(PostError::Offline);
        }
        check_content(&content, content.encoded_len())?;
        let name_bytes = match &to {
            Target::User(name) | Target::Group(name) => name.len(),
            // Only the server speaks there.
            Target::Notices(_) => 0,
        };
        if !(1..=TARGET_BYTES_MAX).contains(&name_bytes) {
            return Err(PostError::Target(name_bytes));
        }
        let id = MsgId::new(self.instance, self.sends.next_counter());
        let body = body::Send {
            client_msg_id: Bytes::copy_from_slice(id.as_bytes()),
            to: Some(body::Target { target: Some(to.clone()) }),
            content: Some(content),
            online_only,
            priority: priority.into(),
            need_receipt,
            mentions,
            control,
            life_time_s,
        };
        let body: Bytes = body.encode_to_vec().into();
        let limits = &self.config.limits;
        self.sends.check_room(body.len(), limits.outbox_messages_max, limits.outbox_bytes_max)?;
        self.sends.push(body, online_only, awaited, to);
        self.pump(now);
        Ok(id)
    }

    /// Asks for a page of a conversation. Asked again after a reconnect.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn request_history(
        &mut self,
        now: Instant,
        with: Target,
        query: HistoryQuery,
    ) -> Result<RequestId, QueueFull> {
        self.ask(now, Request::History { with, query })
    }

    /// Moves this user's read cursor in a conversation. Asked again after a reconnect.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn mark_read(&mut self, now: Instant, with: Target, seq: u64) -> Result<RequestId, QueueFull> {
        self.ask(now, Request::MarkRead { with, seq })
    }

    /// Acknowledges what is shown and asks for an answer once that is on the server's disk. With automatic
    /// acknowledgements every event that was taken counts as shown. Asked again after a reconnect.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn flush(&mut self, now: Instant) -> Result<RequestId, QueueFull> {
        self.shown_so_far();
        self.ask(now, Request::Flush)
    }

    /// A request of any kind. `repeatable`: it does the same the second time, so it is asked again after a reconnect; otherwise it
    /// fails with [`Failure::Lost`] then.
    ///
    /// # Errors
    /// [`RequestError::QueueFull`]; [`RequestError::NotARequest`] for what would end the session.
    pub fn request_other(
        &mut self,
        now: Instant,
        lane: Lane,
        kind: Kind,
        body: Bytes,
        repeatable: bool,
    ) -> Result<RequestId, RequestError> {
        if !kind.is_request() || body.len() > nearport_wire::Limits::default().body_bytes_max {
            return Err(RequestError::NotARequest { kind: kind.0, bytes: body.len() });
        }
        Ok(self.ask(now, Request::Other { lane, kind, body, repeatable })?)
    }

    /// The user has just entered or left a group: what the server says about all of them is asked for.
    pub fn groups_changed(&mut self, now: Instant) {
        self.groups_behind();
        self.pump(now);
    }

    fn ask(&mut self, now: Instant, request: Request) -> Result<RequestId, QueueFull> {
        let id = self.requests.push(request, self.config.limits.requests_max)?;
        if self.state == State::Stopped {
            self.requests.settle(id);
            self.answers.push_back(Answer::Request { id, result: Err(Failure::Stopped) });
        }
        self.pump(now);
        Ok(id)
    }

    /// Says that everything up to `position` is shown on this device. Positions beyond what was received are cut
    /// back to it. Needed with [`Acks::Manual`](crate::Acks::Manual) only.
    pub fn acknowledge(&mut self, now: Instant, position: u64) {
        self.inbox.tick(now);
        self.inbox.acknowledge(position);
        self.pump(now);
    }

    /// Says that a group is shown up to message `seq` on this device. Needed with [`Acks::Manual`](crate::Acks::Manual) only.
    pub fn acknowledge_group(&mut self, now: Instant, group: &str, seq: u64) {
        self.groups.show(now, group, seq);
        self.pump(now);
    }

    /// Takes other credentials for the next login, after which [`Self::reconnect_now`] leaves [`State::Stopped`].
    pub fn renew_usersig(&mut self, usersig: String) {
        self.config.usersig = usersig;
    }

    /// Ends the wait of a back-off, or leaves [`State::Stopped`]. A live session is asked at once whether it lives. No
    /// effect in other states.
    pub fn reconnect_now(&mut self, now: Instant) {
        match self.state {
            State::Backoff | State::Stopped => {
                self.backoff.reset();
                self.begin_attempt(now);
            }
            State::Live => {
                if let Some(session) = &mut self.session {
                    session.ping(now, NEW_PATH_TIMEOUT);
                }
            }
            State::Connecting | State::Opening => {}
        }
    }

    /// Acknowledges what is shown, says good-bye and stops. What has no answer yet fails with
    /// [`Failure::Stopped`].
    pub fn close(&mut self, now: Instant) {
        if self.state == State::Stopped {
            return;
        }
        self.shown_so_far();
        if self.state != State::Backoff {
            self.disconnect = Some(CloseCode::BYE);
        }
        match &mut self.session {
            Some(session) if self.state == State::Live => {
                if let Some(position) = self.inbox.take_ack(now, true) {
                    session.acknowledge(now, position);
                }
                self.tell_shown(now, true);
                if let Some(session) = &mut self.session {
                    session.close(now);
                }
                self.part();
            }
            _ => self.session = None,
        }
        self.stop(Closing::new(CloseCode::BYE, "closed by the client"));
    }
}
