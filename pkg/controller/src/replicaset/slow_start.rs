//! Many of the same call, in batches that double: one refusal (quota, admission) must not become hundreds.

use std::future::Future;

/// Calls `call` `count` times in batches of 1, 2, 4, … in parallel, and stops after the first batch with a failure.
pub(crate) async fn slow_start<F, Fut, E>(count: usize, call: F) -> Result<(), E>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let (mut left, mut batch) = (count, 1);
    while left > 0 {
        let size = batch.min(left);
        let outcomes = futures::future::join_all((0..size).map(|_| call())).await;
        outcomes.into_iter().collect::<Result<(), E>>()?;
        left -= size;
        batch *= 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_refusal_ends_it_after_the_batch() {
        let calls = Cell::new(0);
        let outcome: Result<(), &str> = slow_start(100, || {
            calls.set(calls.get() + 1);
            let call = calls.get();
            async move { if call >= 5 { Err("no") } else { Ok(()) } }
        })
        .await;
        assert_eq!((outcome, calls.get()), (Err("no"), 7));
        let calls = Cell::new(0);
        let outcome: Result<(), &str> = slow_start(100, || {
            calls.set(calls.get() + 1);
            async { Ok(()) }
        })
        .await;
        assert_eq!((outcome, calls.get()), (Ok(()), 100));
    }
}
