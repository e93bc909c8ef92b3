//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The longest that anything may take to come true: a cold pod start on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Tries until it succeeds or [`LIMIT`] is over; then fails with the last reason.
pub async fn eventually<T>(mut attempt: impl AsyncFnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error).context(format!("not within {LIMIT:?}")),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
