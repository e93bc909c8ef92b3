//! Time as a parameter, so that cores that depend on it can be tested without sleeping.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic and wall time.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Instant;
    /// Time since the Unix epoch.
    fn wall(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Duration {
        // A clock before 1970 reads as 1970: nothing here can do better.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
