//! An outcome that another thread is about to tell.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// An outcome that is not there yet: a future that any runtime may poll. `None` if nobody will tell it: the backend has ended, or
/// the call was lost with it.
pub struct Pending<T>(Arc<Cell<T>>);

/// The end that tells. Dropped untold, the other end hears `None`.
pub(crate) struct Done<T>(Option<Arc<Cell<T>>>);

struct Cell<T> {
    state: Mutex<State<T>>,
    told: Condvar,
}

enum State<T> {
    Waiting(Waiter),
    Told(Option<T>),
}

/// Who is to be woken.
enum Waiter {
    Nobody,
    Thread,
    Future(Waker),
}

impl<T> Pending<T> {
    pub(crate) fn new() -> (Self, Done<T>) {
        let cell = Arc::new(Cell { state: Mutex::new(State::Waiting(Waiter::Nobody)), told: Condvar::new() });
        (Self(cell.clone()), Done(Some(cell)))
    }

    pub(crate) fn ready(value: T) -> Self {
        Self(Arc::new(Cell { state: Mutex::new(State::Told(Some(value))), told: Condvar::new() }))
    }

    /// Blocks the thread until it is told.
    #[must_use]
    pub fn wait(self) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            match &mut *state {
                State::Told(value) => return value.take(),
                State::Waiting(waiter) => {
                    *waiter = Waiter::Thread;
                    state = self.0.told.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut *self.0.lock() {
            State::Told(value) => Poll::Ready(value.take()),
            State::Waiting(waiter) => {
                *waiter = Waiter::Future(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Done<T> {
    pub(crate) fn tell(mut self, value: T) {
        if let Some(cell) = self.0.take() {
            cell.tell(Some(value));
        }
    }
}

impl<T> Drop for Done<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.tell(None);
        }
    }
}

impl<T> Cell<T> {
    fn tell(&self, value: Option<T>) {
        let former = std::mem::replace(&mut *self.lock(), State::Told(value));
        match former {
            // To notify costs a system call, also where nobody waits.
            State::Waiting(Waiter::Thread) => self.told.notify_all(),
            State::Waiting(Waiter::Future(waker)) => waker.wake(),
            State::Waiting(Waiter::Nobody) | State::Told(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl<T> fmt::Debug for Done<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Done")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard_and_what_is_dropped_untold_too() {
        let (pending, done) = Pending::new();
        let teller = std::thread::spawn(move || done.tell(7));
        assert_eq!(pending.wait(), Some(7));
        teller.join().unwrap();
        let (pending, done) = Pending::<u8>::new();
        drop(done);
        assert_eq!(pending.wait(), None);
        assert_eq!(Pending::ready(1).wait(), Some(1));
    }

    #[test]
    fn a_future_that_waits_is_woken_once_it_is_told() {
        struct Flag(std::sync::atomic::AtomicBool);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(false.into()));
        let waker = flag.clone().into();
        let mut cx = Context::from_waker(&waker);
        let (mut pending, done) = Pending::new();
        assert!(Pin::new(&mut pending).poll(&mut cx).is_pending());
        done.tell("x");
        assert!(flag.0.load(std::sync::atomic::Ordering::SeqCst));
        assert_eq!(Pin::new(&mut pending).poll(&mut cx), Poll::Ready(Some("x")));
    }
}
