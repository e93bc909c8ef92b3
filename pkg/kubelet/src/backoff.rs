//! Growing waits between restarts and between pulls.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// Waits that double per failure, and start over after a long time without one.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Backoff {
    /// 10 s, 20 s, … 5 min: restarts of containers and pulls of images.
    pub fn kubernetes() -> Self {
        Self::new(Duration::from_secs(10), Duration::from_secs(300))
    }

    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, entries: Mutex::default() }
    }

    /// How much longer to wait after a failure at `failed`, if at all, and the whole wait.
    pub fn remaining(&self, key: &str, failed: Timestamp, now: Timestamp) -> Option<(Duration, Duration)> {
        let entry = *self.entries.lock().get(key)?;
        if self.expired(&entry, now) {
            return None;
        }
        let passed = elapsed(failed, now);
        (passed < entry.delay).then(|| (entry.delay - passed, entry.delay))
    }

    /// Counts a failure.
    pub fn next(&self, key: &str, now: Timestamp) {
        let mut entries = self.entries.lock();
        let delay = match entries.get(key) {
            Some(entry) if !self.expired(entry, now) => (entry.delay * 2).min(self.longest),
            _ => self.first,
        };
        entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    pub fn reset(&self, key: &str) {
        self.entries.lock().remove(key);
    }

    /// Forgets all keys with this prefix.
    pub fn forget(&self, prefix: &str) {
        self.entries.lock().retain(|key, _| !key.starts_with(prefix));
    }

    fn expired(&self, entry: &Entry, now: Timestamp) -> bool {
        elapsed(entry.updated, now) > self.longest * 2
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A duration as Go prints it in messages: `10s`, `2m40s`, `5m0s`.
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{}s", seconds % 60),
        _ => format!("{hours}h{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_start_over() {
        let backoff = Backoff::kubernetes();
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        assert_eq!(backoff.remaining("k", at(0), at(0)), None);
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoff.next("k", at(100));
            waits.push(backoff.remaining("k", at(100), at(100)).map_or(0, |(left, _)| left.as_secs()));
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff.remaining("k", at(100), at(399)).map(|(left, _)| left.as_secs()), Some(1));
        assert_eq!(backoff.remaining("k", at(100), at(400)), None);
        backoff.next("k", at(701));
        assert_eq!(backoff.remaining("k", at(701), at(701)).map(|(left, _)| left.as_secs()), Some(10));
    }

    #[test]
    fn durations_read_as_gos() {
        for (seconds, text) in [(10, "10s"), (160, "2m40s"), (300, "5m0s"), (3661, "1h1m1s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }
}
