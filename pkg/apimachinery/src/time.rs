//! Instants as the API writes them: `Time` with seconds, `MicroTime` with exactly six digits, both in UTC.

use jiff::{Timestamp, Unit};

/// Now, as `metadata.creationTimestamp` has it: `2026-01-02T03:04:05Z`.
pub fn now_rfc3339() -> String {
    // Every write asks for this: jiff's own form of whole seconds is the same, and several times cheaper.
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// Now, as Leases and Events have it: `2026-01-02T03:04:05.000006Z`.
pub fn now_micro() -> String {
    format_micro(Timestamp::now())
}

/// The form of `meta/v1` `Time`; fractions of a second are cut.
pub fn format(at: Timestamp) -> String {
    let text = at.strftime("%Y-%m-%dT%H:%M:%SZ");
    text.to_string()
}

/// The form of `meta/v1` `MicroTime`.
pub fn format_micro(at: Timestamp) -> String {
    let micros = at.subsec_nanosecond().rem_euclid(1_000_000_000) / 1_000;
    let whole = at.strftime("%Y-%m-%dT%H:%M:%S");
    if at.subsec_nanosecond() < 0 {
        // Before 1970 the fraction is negative; rounding down first makes it positive.
        let floor = Timestamp::new(at.as_second() - 1, 0).unwrap_or(at);
        return format!("{}.{micros:06}Z", floor.strftime("%Y-%m-%dT%H:%M:%S"));
    }
    format!("{whole}.{micros:06}Z")
}

/// Reads RFC 3339 with any offset and any fraction.
pub fn parse(text: &str) -> Option<Timestamp> {
    // jiff reads more than RFC 3339 (a blank instead of T, no seconds); the API does not.
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes.get(10) == Some(&b'T')
        && bytes.get(13) == Some(&b':')
        && bytes.get(16) == Some(&b':')
        && text.is_ascii()
        && !text.contains('[');
    if shaped { text.parse().ok() } else { None }
}

/// Seconds since 1970, for ages and comparisons.
pub fn parse_seconds(text: &str) -> Option<i64> {
    parse(text).map(Timestamp::as_second)
}

/// The canonical `Time` for `text`, or Go's reason why it is none.
pub fn canonical(text: &str) -> Result<String, String> {
    if is_canonical(text) {
        return Ok(text.to_owned());
    }
    parse(text).map(|at| format(floor_second(at))).ok_or_else(|| parse_error(text, "2006-01-02T15:04:05Z07:00"))
}

/// The canonical `MicroTime` for `text`, or Go's reason why it is none.
pub fn canonical_micro(text: &str) -> Result<String, String> {
    parse(text).map(format_micro).ok_or_else(|| parse_error(text, "2006-01-02T15:04:05.000000Z07:00"))
}

/// Cheap check for the form that nearly all objects carry already.
pub fn is_canonical(text: &str) -> bool {
    text.len() == 20 && text.ends_with('Z') && parse(text).is_some()
}

fn floor_second(at: Timestamp) -> Timestamp {
    if at.subsec_nanosecond() < 0 { Timestamp::new(at.as_second() - 1, 0).unwrap_or(at) } else { at }
}

fn parse_error(text: &str, layout: &str) -> String {
    // Go names the first part of the layout that did not fit; for texts that are no time at all that is the year.
    format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")
}

/// Whole seconds from `then` to `now`, both RFC 3339; `None` where one of them is no time.
pub fn seconds_between(then: &str, now: &str) -> Option<i64> {
    let (then, now) = (parse(then)?, parse(now)?);
    now.since((Unit::Second, then)).ok().map(|span| span.get_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, time, micro) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z", "2026-01-02T01:04:05.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.500000Z"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(time));
            assert_eq!(canonical_micro(text).as_deref(), Ok(micro));
        }
        for bad in ["", "x", "2026-01-02", "2026-01-02 03:04:05Z", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds_between("2026-01-02T03:04:05Z", "2026-01-02T03:05:06Z"), Some(61));
        assert!(is_canonical(&now_rfc3339()));
        assert_eq!(now_micro().len(), 27);
        let now = now_rfc3339();
        assert_eq!(format(parse(&now).unwrap()), now);
    }
}
