//! Futures of which the first to end counts, and a time that may never come.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use tokio::time::sleep_until;

/// A future in a list.
pub(crate) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The first of `tasks` to end, with its name; it leaves the list. For ever if there is none. Cancel-safe.
pub(crate) async fn first<N, T>(tasks: &mut Vec<(N, Task<T>)>) -> (N, T) {
    let (at, outcome) = poll_fn(|cx| {
        for (at, (_, task)) in tasks.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = task.as_mut().poll(cx) {
                return Poll::Ready((at, outcome));
            }
        }
        Poll::Pending
    })
    .await;
    (tasks.swap_remove(at).0, outcome)
}

/// Until `at`; for ever without one. Cancel-safe.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
