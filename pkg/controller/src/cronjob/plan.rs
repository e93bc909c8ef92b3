//! When a CronJob is due, without I/O.

use jiff::{SignedDuration, Timestamp};

use super::schedule::Schedule;

/// More missed runs than this point to a clock that jumped.
const MISSED_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The last time that has come and was not run yet.
    pub missed: Option<Timestamp>,
    pub too_many: bool,
    pub next: Option<Timestamp>,
}

/// What is due at `now`, given when the last run was (or the object was made).
pub(super) fn due(schedule: &Schedule, last: Timestamp, deadline_seconds: Option<i64>, now: Timestamp) -> Due {
    let mut from = last;
    if let Some(seconds) = deadline_seconds {
        let earliest = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
        from = from.max(earliest);
    }
    let (mut missed, mut count, mut at) = (None, 0, from);
    while let Some(next) = schedule.next(at).filter(|next| *next <= now) {
        missed = Some(next);
        count += 1;
        at = next;
        if count > MISSED_MAX && deadline_seconds.is_none() {
            // Not worth walking through: jump close to now, by the distance of the last two.
            let step = schedule.next(next).map_or(60, |after| (after.as_second() - next.as_second()).max(1));
            let jump = (now.as_second() - next.as_second()) / step * step - step;
            if jump > step {
                at = Timestamp::from_second(next.as_second() + jump).unwrap_or(next);
            }
        }
    }
    Due { missed, too_many: count > MISSED_MAX, next: schedule.next(now) }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_missed_run_counts() {
        let schedule = Schedule::parse("*/10 * * * *", TimeZone::UTC).unwrap();
        let due = |last: &str, deadline, now: &str| due(&schedule, at(last), deadline, at(now));
        let fresh = due("2026-01-01T00:01:00Z", None, "2026-01-01T00:05:00Z");
        assert_eq!((fresh.missed, fresh.next), (None, Some(at("2026-01-01T00:10:00Z"))));
        let late = due("2026-01-01T00:01:00Z", None, "2026-01-01T00:35:00Z");
        assert_eq!((late.missed, late.too_many), (Some(at("2026-01-01T00:30:00Z")), false));
        assert_eq!(due("2026-01-01T00:01:00Z", Some(60), "2026-01-01T00:35:00Z").missed, None);
        let long = due("2025-01-01T00:00:00Z", None, "2026-01-01T00:35:00Z");
        assert_eq!((long.missed, long.too_many), (Some(at("2026-01-01T00:30:00Z")), true));
    }
}
