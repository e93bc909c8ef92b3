//! Tasks that end together: a [`Shutdown`] that all share, and [`supervise`], which starts a failed loop again.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The first and the longest wait before a failed loop is started again.
const RESTART_DELAY_MIN: Duration = Duration::from_millis(200);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(10);

/// A request to stop, and the tasks that are to be waited for. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that ends with this one and can be triggered on its own. Its tasks are counted with this one's.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tasks: self.tasks.clone() }
    }

    pub fn trigger(&self) {
        self.token.cancel();
    }

    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until shutdown is asked for.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Starts a task that [`Self::drained`] waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Runs `task` until it ends or shutdown is asked for; `None` if shutdown came first.
    pub async fn race<F: Future>(&self, task: F) -> Option<F::Output> {
        self.token.run_until_cancelled(task).await
    }

    /// Waits until every task has ended, at most `limit`. False if some have not.
    pub async fn drained(&self, limit: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait()).await.is_ok()
    }
}

/// Runs a loop until shutdown. If it fails or panics, that is logged and it is started again after a growing delay:
/// a broken loop must not take the process with it.
pub fn supervise<F, Fut, E>(name: &'static str, shutdown: &Shutdown, mut start: F) -> JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send,
{
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        let mut delay = RESTART_DELAY_MIN;
        while !stop.is_triggered() {
            let started = tokio::time::Instant::now();
            let outcome = stop.race(AssertUnwindSafe(start()).catch_unwind()).await;
            match outcome {
                None => return,
                Some(Ok(Ok(()))) if stop.is_triggered() => return,
                Some(Ok(Ok(()))) => tracing::warn!(task = name, "ended on its own; starting it again"),
                Some(Ok(Err(error))) => tracing::error!(task = name, %error, "failed; starting it again"),
                Some(Err(_)) => tracing::error!(task = name, "panicked; starting it again"),
            }
            if started.elapsed() > RESTART_DELAY_MAX {
                delay = RESTART_DELAY_MIN;
            }
            if stop.race(tokio::time::sleep(delay)).await.is_none() {
                return;
            }
            delay = (delay * 2).min(RESTART_DELAY_MAX);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panicking_loop_is_started_again() {
        let shutdown = Shutdown::new();
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, stop) = (runs.clone(), shutdown.clone());
        let handle = supervise("flaky", &shutdown, move || {
            let (counted, stop) = (counted.clone(), stop.clone());
            async move {
                if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                    panic!("planted");
                }
                stop.trigger();
                Ok::<(), String>(())
            }
        });
        handle.await.expect("the supervisor itself does not panic");
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn drained_waits_for_spawned_tasks() {
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        shutdown.spawn(async move { stop.triggered().await });
        assert!(!shutdown.drained(Duration::from_millis(10)).await);
        shutdown.trigger();
        assert!(shutdown.drained(Duration::from_secs(5)).await);
    }
}
