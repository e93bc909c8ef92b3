//! Tasks that end together: a [`Shutdown`] that all share, and [`supervise`], which starts a failed loop again.
//! [`supervise_to_end`] gives it time to end.

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

/// How long a task of [`supervise_to_end`] may take to end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Runs a loop until shutdown, at which it is dropped wherever it waits. If it fails or panics, that is logged and it is
/// started again after a growing delay: a broken loop must not take the process with it.
pub fn supervise<F, Fut, E>(name: &'static str, shutdown: &Shutdown, start: F) -> JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send,
{
    supervise_for(name, shutdown, Duration::ZERO, start)
}

/// The same for a loop that sees to its own end (gives a Lease back, finishes a transaction): at shutdown, of which it is to
/// know itself, it has 5 s for it, and is dropped then.
pub fn supervise_to_end<F, Fut, E>(name: &'static str, shutdown: &Shutdown, start: F) -> JoinHandle<()>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send,
{
    supervise_for(name, shutdown, END_LIMIT, start)
}

/// Runs `task` to its end, but no longer than `limit` after shutdown was asked for; `None` if it took longer.
async fn run_for<T>(task: impl Future<Output = T>, stop: &Shutdown, limit: Duration) -> Option<T> {
    let mut task = std::pin::pin!(task);
    match stop.race(task.as_mut()).await {
        Some(outcome) => Some(outcome),
        None if limit.is_zero() => None,
        None => tokio::time::timeout(limit, task).await.ok(),
    }
}

fn supervise_for<F, Fut, E>(
    name: &'static str,
    shutdown: &Shutdown,
    end_limit: Duration,
    mut start: F,
) -> JoinHandle<()>
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
            let outcome = run_for(AssertUnwindSafe(start()).catch_unwind(), &stop, end_limit).await;
            match outcome {
                None if end_limit.is_zero() => return,
                None => {
                    tracing::warn!(task = name, limit = ?end_limit, "did not end in time");
                    return;
                }
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

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_sees_to_its_end_has_a_bounded_time_for_it() {
        for (needs, to_end, ends) in [(2, true, true), (60, true, false), (2, false, false)] {
            let (shutdown, ended) = (Shutdown::new(), Arc::new(AtomicU32::new(0)));
            let (counted, stop) = (ended.clone(), shutdown.clone());
            let start = move || {
                let (counted, stop) = (counted.clone(), stop.clone());
                async move {
                    stop.triggered().await;
                    tokio::time::sleep(Duration::from_secs(needs)).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                    Ok::<(), String>(())
                }
            };
            let handle =
                if to_end { supervise_to_end("slow", &shutdown, start) } else { supervise("slow", &shutdown, start) };
            tokio::task::yield_now().await;
            shutdown.trigger();
            assert!(shutdown.drained(Duration::from_secs(10)).await, "{needs} s");
            handle.await.expect("the supervisor itself does not panic");
            assert_eq!(ended.load(Ordering::SeqCst) == 1, ends, "{needs} s, to its end: {to_end}");
        }
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
