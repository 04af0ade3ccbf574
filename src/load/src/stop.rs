//! Ctrl-C: the first one ends the sending, the second one the waiting for what is still missing.

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Counts how often the user asked to stop. Clones see the same count.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked: watch::Receiver<u32>,
}

impl Stop {
    /// Listens for the signal, in a task of `tasks`. Where that is not possible nothing ever stops a run.
    pub(crate) fn on_ctrl_c(tasks: &mut JoinSet<()>) -> Self {
        let (sender, asked) = watch::channel(0);
        tasks.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                sender.send_modify(|count| *count += 1);
            }
            // Keep the channel open, or waiters would take its end for an answer.
            sender.closed().await;
        });
        Self { asked }
    }

    /// Waits until the user has asked at least `times` times. Cancel safe.
    pub(crate) async fn asked(&mut self, times: u32) {
        if self.asked.wait_for(|count| *count >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(test)]
    pub(crate) fn by_hand() -> (watch::Sender<u32>, Self) {
        let (sender, asked) = watch::channel(0);
        (sender, Self { asked })
    }
}
