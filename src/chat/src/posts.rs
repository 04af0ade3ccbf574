//! What other threads hand to the writer: tips, notices, what an administrator sends and changes.

pub(crate) mod orders;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nearport_wire::body::{Amended, Element};

use orders::GroupOrder;
pub use orders::GroupSaid;

use crate::admin::Asker;
use crate::callback::{Event, Origin};
use crate::key::{ConvKey, UserKey};
use crate::ledger::{Append, Appended, IdemKey, LedgerError};
use crate::reply::{Failure, With};

/// Hears what became of a post, on the writer's thread and before it is published: it must not wait for anything.
pub type Done = Box<dyn FnOnce(Result<&Appended, &LedgerError>) + Send>;

/// A message for the writer.
pub struct Post {
    /// What is stored; it is published to the owners of its logs, or to the group of its conversation.
    pub append: Append,
    /// Called once, after the commit. A post that never reaches a commit (the backend ends) drops it uncalled.
    pub done: Option<Done>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("append", &self.append).finish_non_exhaustive()
    }
}

/// A post with what else the writer is to know of it.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) post: Post,
    /// Not stored: only to devices that are online now. `done` hears of a place without a seq.
    pub(crate) online_only: bool,
    /// A message of another system, which keeps the time that it has, if that is not in front of the newest of its conversation; and
    /// the key under which the same message of the other side would be known.
    pub(crate) imported: Option<IdemKey>,
    /// What the back end of the App hears of it.
    pub(crate) told: Option<Box<Event>>,
}

impl From<Post> for Letter {
    fn from(post: Post) -> Self {
        Self { post, online_only: false, imported: None, told: None }
    }
}

/// Something that an administrator does in the name of a user.
pub(crate) struct Act {
    pub(crate) user: UserKey,
    pub(crate) with: With,
    pub(crate) what: ActWhat,
    /// Called once, after the commit or with the refusal. One that never reaches a commit (the backend ends) drops it uncalled.
    pub(crate) done: ActDone,
}

/// Hears what became of an [`Act`], on the writer's thread.
pub(crate) type ActDone = Box<dyn FnOnce(Result<Amended, Failure>) + Send>;

/// What is done. Messages are ascending and at most 30; those of groups are only cleared.
pub(crate) enum ActWhat {
    /// All up to here was read.
    Read {
        /// The last one.
        seq: u64,
        /// Where the administrator is.
        origin: Origin,
    },
    /// These were read, and need receipts.
    Receipts(Vec<u64>),
    /// These are deleted for the user alone.
    Hide(Vec<u64>),
    /// All that there is now is deleted for the user alone.
    Clear,
}

/// Hears what became of a change: its number in the change log of the conversation, or the code of a refusal. On the writer's thread.
pub type Changed = Box<dyn FnOnce(Result<u64, u32>) + Send>;

/// A recall or an edit by an administrator of the App, who may change any message of users at any time.
pub struct AdminChange {
    /// The conversation of the message.
    pub conv: ConvKey,
    /// The message.
    pub seq: u64,
    /// What becomes of it.
    pub what: AdminWhat,
    /// Who does it: back ends hear that.
    pub by: Asker,
    /// Called once, after the commit or with the refusal. One that never reaches a commit (the backend ends) drops it uncalled.
    pub done: Changed,
}

/// What becomes of a message.
#[derive(Debug, Clone)]
pub enum AdminWhat {
    /// It is taken back.
    Recall {
        /// For people.
        reason: String,
    },
    /// The same, but clients are not told: they find it when they ask for changes or history.
    RecallSilently,
    /// It says something else.
    Edit {
        /// Instead of the stored ones; empty: those stay.
        elements: Vec<Element>,
        /// Instead of the stored one; `None`: that stays.
        cloud_custom_data: Option<String>,
    },
}

impl fmt::Debug for AdminChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conv, seq, what, by, done: _ } = self;
        f.debug_struct("AdminChange")
            .field("conv", conv)
            .field("seq", seq)
            .field("what", what)
            .field("by", by)
            .finish_non_exhaustive()
    }
}

/// Most posts that wait. The writer takes that many in a few commits.
const POSTS_MAX: usize = 4096;

/// How long [`Posts::push`] waits for room. The writer waits for nobody, so only a disk that stands still takes so long.
const WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Waiting {
    posts: VecDeque<Letter>,
    changes: VecDeque<AdminChange>,
    acts: VecDeque<Act>,
    orders: VecDeque<GroupOrder>,
    ended: bool,
    /// Threads that wait for [`Posts::changed`]: to notify costs a system call, also where nobody waits.
    sleepers: usize,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Self { posts, changes, acts, orders, ended: _, sleepers: _ } = self;
        posts.is_empty() && changes.is_empty() && acts.is_empty() && orders.is_empty()
    }
}

/// The queue of posts: bounded, in order. Cheap to share.
#[derive(Default)]
pub struct Posts {
    waiting: Mutex<Waiting>,
    /// Something was taken, came, or nothing comes any more.
    changed: Condvar,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Posts {
    /// Appends posts in order, waiting for room for at most five seconds in all. What found none comes back, to be
    /// refused as busy; all of them after `end`.
    ///
    /// Never called by the writer, which would wait for itself.
    pub fn push(&self, posts: Vec<Post>) -> Vec<Post> {
        let until = Instant::now() + WAIT_MAX;
        let mut posts = VecDeque::from(posts);
        loop {
            let mut waiting = self.lock();
            if waiting.ended {
                break;
            }
            let room = POSTS_MAX.saturating_sub(waiting.posts.len()).min(posts.len());
            waiting.posts.extend(posts.drain(..room).map(Letter::from));
            if room > 0 {
                self.came(waiting);
            } else {
                drop(waiting);
            }
            let left = until.saturating_duration_since(Instant::now());
            if posts.is_empty() || left.is_zero() {
                break;
            }
            let full = |waiting: &mut Waiting| waiting.posts.len() >= POSTS_MAX && !waiting.ended;
            self.sleep_while(left, full);
        }
        posts.into()
    }

    /// Appends letters in order, all or none, without waiting.
    ///
    /// # Errors
    /// The letters: there is no room for all of them, or nothing is taken any more.
    pub(crate) fn offer(&self, letters: Vec<Letter>) -> Result<(), Vec<Letter>> {
        let mut waiting = self.lock();
        if waiting.ended || waiting.posts.len() + letters.len() > POSTS_MAX {
            return Err(letters);
        }
        waiting.posts.extend(letters);
        self.came(waiting);
        Ok(())
    }

    /// Appends an act, as [`Self::change`] does a change.
    ///
    /// # Errors
    /// The act.
    pub(crate) fn act(&self, act: Act) -> Result<(), Box<Act>> {
        let mut waiting = self.lock();
        if waiting.ended || waiting.acts.len() >= POSTS_MAX {
            return Err(Box::new(act));
        }
        waiting.acts.push_back(act);
        self.came(waiting);
        Ok(())
    }

    /// Takes the oldest act.
    pub(crate) fn take_act(&self) -> Option<Act> {
        self.lock().acts.pop_front()
    }

    /// Something has come.
    fn came(&self, waiting: MutexGuard<'_, Waiting>) {
        self.notify(waiting);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    fn notify(&self, waiting: MutexGuard<'_, Waiting>) {
        let sleepers = waiting.sleepers;
        drop(waiting);
        if sleepers > 0 {
            self.changed.notify_all();
        }
    }

    fn sleep_while(&self, timeout: Duration, condition: impl FnMut(&mut Waiting) -> bool) {
        let mut waiting = self.lock();
        waiting.sleepers += 1;
        let waited = self.changed.wait_timeout_while(waiting, timeout, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0.sleepers -= 1;
    }

    /// Appends a change, if there is room; it comes back if there is none, to be refused as busy, and after `end`.
    ///
    /// # Errors
    /// The change.
    pub fn change(&self, change: AdminChange) -> Result<(), Box<AdminChange>> {
        let mut waiting = self.lock();
        if waiting.ended || waiting.changes.len() >= POSTS_MAX {
            return Err(Box::new(change));
        }
        waiting.changes.push_back(change);
        self.came(waiting);
        Ok(())
    }

    /// Appends orders, all of them or none. `false`: there is no room, or nothing is taken any more; they are dropped.
    pub(crate) fn order(&self, orders: Vec<GroupOrder>) -> bool {
        let mut waiting = self.lock();
        if waiting.ended || waiting.orders.len() + orders.len() > POSTS_MAX {
            return false;
        }
        waiting.orders.extend(orders);
        self.came(waiting);
        true
    }

    /// Takes orders of up to `max` items in all, oldest first.
    pub(crate) fn take_orders(&self, max: usize) -> Vec<GroupOrder> {
        let mut waiting = self.lock();
        let (mut taken, mut items) = (Vec::new(), 0);
        while let Some(order) = waiting.orders.front()
            && items + order.items() <= max
        {
            items += order.items();
            taken.extend(waiting.orders.pop_front());
        }
        taken
    }

    /// Takes up to `max` changes, oldest first.
    pub(crate) fn take_changes(&self, max: usize) -> Vec<AdminChange> {
        let mut waiting = self.lock();
        let count = waiting.changes.len().min(max);
        waiting.changes.drain(..count).collect()
    }

    /// Takes up to `max`, oldest first.
    pub(crate) fn take(&self, max: usize) -> Vec<Letter> {
        let mut waiting = self.lock();
        let count = waiting.posts.len().min(max);
        let posts: Vec<_> = waiting.posts.drain(..count).collect();
        if !posts.is_empty() {
            self.notify(waiting);
        }
        posts
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes nothing more from here on.
    pub(crate) fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        self.notify(waiting);
    }

    /// Whether nothing waits and nothing will come.
    pub(crate) fn has_ended(&self) -> bool {
        let waiting = self.lock();
        waiting.ended && waiting.is_empty()
    }

    /// Waits until something is there, or nothing comes any more.
    pub(crate) fn wait(&self, timeout: Duration) {
        let idle = |waiting: &mut Waiting| waiting.is_empty() && !waiting.ended;
        self.sleep_while(timeout, idle);
    }

    /// What wakes the writer when something comes; said once, by whoever runs it on a thread.
    pub(crate) fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Posts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Posts").field("waiting", &self.lock().posts.len()).finish_non_exhaustive()
    }
}

/// A shared queue.
pub(crate) type SharedPosts = Arc<Posts>;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::key::{AppId, ConvKey, UserKey};
    use crate::ledger::IdemKey;

    fn post(n: u8) -> Post {
        let sender = UserKey::new(AppId(1), "alice").unwrap();
        let append = Append {
            conv: ConvKey::pair(&sender, &sender),
            idem: IdemKey { sender, client_msg_id: [n; 16] },
            logs: Vec::new(),
            time_ms: u64::from(n),
            body: Bytes::new(),
            uncounted: false,
        };
        Post { append, done: None }
    }

    #[test]
    fn posts_keep_their_order_and_a_full_queue_waits_for_the_writer() {
        let posts = Arc::new(Posts::default());
        assert!(
            posts.push((0..POSTS_MAX).map(|n| post(u8::try_from(n % 251).unwrap())).collect()).is_empty()
        );
        let pusher = {
            let posts = posts.clone();
            std::thread::spawn(move || posts.push(vec![post(7)]).len())
        };
        let mut taken = Vec::new();
        while taken.len() <= POSTS_MAX {
            taken.extend(posts.take(1000));
            std::thread::yield_now();
        }
        assert_eq!(pusher.join().unwrap(), 0);
        let times: Vec<u64> = taken.iter().map(|letter| letter.post.append.time_ms).collect();
        let want: Vec<u64> = (0..POSTS_MAX as u64).map(|n| n % 251).chain([7]).collect();
        assert_eq!(times, want);
    }

    #[test]
    fn what_comes_after_the_end_comes_back() {
        let posts = Posts::default();
        assert!(posts.push(vec![post(1)]).is_empty());
        posts.end();
        assert!(!posts.has_ended(), "one waits still");
        assert_eq!(posts.push(vec![post(2)]).len(), 1);
        assert_eq!(posts.take(9).len(), 1);
        assert!(posts.has_ended());
    }
}
