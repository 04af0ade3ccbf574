//! What back ends of Apps hand to the desk.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::desk::group::Call;
use crate::downs::Downs;
use crate::shared::Shared;

/// Work on the desk's thread, with the time and a way to tell clients. It must wait for nothing but the directory and the ledger.
pub(crate) type Work = Box<dyn FnOnce(&Shared, u64, &mut Downs) + Send>;

/// Something for the desk.
pub(crate) enum Task {
    /// A call about a group, written together with others.
    Group(Box<Call>),
    /// Anything else that changes the directory.
    Do(Work),
}

/// Most tasks that wait. What comes beyond is refused: the caller says so to the back end, which tries again.
const TASKS_MAX: usize = 4096;

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    ended: bool,
}

/// The queue of tasks: bounded, in order.
#[derive(Default)]
pub(crate) struct Tasks {
    waiting: Mutex<Waiting>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Tasks {
    /// Appends tasks, all of them or none. What is refused is dropped: its caller hears that nobody answers.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn push(&self, tasks: Vec<Task>) -> Result<(), Full> {
        {
            let mut waiting = self.lock();
            if waiting.ended || waiting.tasks.len() + tasks.len() > TASKS_MAX {
                return Err(Full);
            }
            waiting.tasks.extend(tasks);
        }
        self.wake();
        Ok(())
    }

    /// Takes up to `max`, oldest first. If some are left, the desk is woken again: its clients have their turn in between.
    pub(crate) fn take(&self, max: usize) -> VecDeque<Task> {
        let (taken, left) = {
            let mut waiting = self.lock();
            let count = waiting.tasks.len().min(max);
            let rest = waiting.tasks.split_off(count);
            let left = !rest.is_empty();
            (std::mem::replace(&mut waiting.tasks, rest), left)
        };
        if left {
            self.wake();
        }
        taken
    }

    fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Takes nothing more from here on; what waits is dropped.
    pub(crate) fn end(&self) {
        let dropped = {
            let mut waiting = self.lock();
            waiting.ended = true;
            std::mem::take(&mut waiting.tasks)
        };
        drop(dropped);
    }

    /// What wakes the desk when something comes; said once, by whoever runs it on a thread.
    pub(crate) fn wake_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.wake.set(Box::new(wake));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("waiting", &self.lock().tasks.len()).finish_non_exhaustive()
    }
}

/// There is no room for a task, or the backend ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;
