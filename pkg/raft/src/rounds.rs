//! Many who ask the same at the same time share one answer.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::ProposeError;

type Answer = Result<u64, ProposeError>;

/// Rounds of questions. An answer is only given to those who came before its question was put.
#[derive(Default)]
pub(crate) struct Rounds(Mutex<State>);

#[derive(Default)]
struct State {
    running: bool,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Rounds {
    /// The answer of the next round. `ask` puts the question; it is the same for everybody.
    pub(crate) async fn join<F>(self: &Arc<Self>, ask: impl Fn() -> F + Send + Sync + 'static) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let first = {
            let mut state = self.0.lock();
            state.waiting.push(answer);
            !std::mem::replace(&mut state.running, true)
        };
        if first {
            let rounds = self.clone();
            // A task of its own: whoever came first may give up, the others still wait.
            tokio::spawn(async move {
                while let Some(waiting) = rounds.next() {
                    let answer = ask().await;
                    for one in waiting {
                        let _ = one.send(answer.clone());
                    }
                }
            });
        }
        answered.await.unwrap_or_else(|_| Err(ProposeError::Stopped("it is shutting down".to_owned())))
    }

    fn next(&self) -> Option<Vec<oneshot::Sender<Answer>>> {
        let mut state = self.0.lock();
        state.waiting.retain(|one| !one.is_closed());
        state.running = !state.waiting.is_empty();
        state.running.then(|| std::mem::take(&mut state.waiting))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn those_who_come_during_a_round_get_the_next_ones_answer() {
        let rounds = Arc::new(Rounds::default());
        let (asked, go) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
        let ask = || {
            let (asked, go) = (asked.clone(), go.clone());
            move || {
                let (number, go) = (asked.fetch_add(1, Ordering::SeqCst), go.clone());
                async move {
                    go.acquire().await.expect("open").forget();
                    Ok(number)
                }
            }
        };
        let mut first = Box::pin(rounds.join(ask()));
        assert!(first.as_mut().now_or_never().is_none());
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // A hundred come while the first round is on, and one of them leaves.
        let mut late: Vec<_> = (0..100).map(|_| Box::pin(rounds.join(ask()))).collect();
        assert!(late.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        late.pop();
        go.add_permits(2);
        assert_eq!(first.await, Ok(0));
        for one in late {
            assert_eq!(one.await, Ok(1), "one question for all of them");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
