//! Cron schedules: five fields, names, ranges, steps, and the `@` short forms.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A schedule in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A field that says `*`: of day and weekday then only the other counts; otherwise either one does.
    any_day: bool,
    any_weekday: bool,
    zone: TimeZone,
    /// `@every`: seconds between two runs.
    every: Option<i64>,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Further ahead than this a schedule is taken for one that never comes (30 February).
const YEARS_MAX: i16 = 5;

impl Schedule {
    /// Parses a schedule; the text of the error names the field.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let text = text.trim();
        if text.contains("TZ=") {
            return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".into());
        }
        if let Some(every) = text.strip_prefix("@every ") {
            let nanos = apimachinery::duration::parse_go_duration(every.trim());
            let seconds = nanos.map(|nanos| nanos / 1_000_000_000).filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or_else(|| format!("failed to parse duration {every}"))?;
            let mut all = Self::parse("* * * * *", zone)?;
            all.every = Some(seconds);
            return Ok(all);
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other if other.starts_with('@') => return Err(format!("unrecognized descriptor: {other}")),
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
        };
        // Both 0 and 7 are Sunday.
        let mut weekday_bits = field(weekdays, 0, 7, &WEEKDAYS, 0)?;
        weekday_bits |= (weekday_bits >> 7) & 1;
        let any = |text: &str| text.starts_with('*') || text == "?";
        Ok(Self {
            minutes: field(minutes, 0, 59, &[], 0)?,
            hours: field(hours, 0, 23, &[], 0)?,
            days: field(days, 1, 31, &[], 0)?,
            months: field(months, 1, 12, &MONTHS, 1)?,
            weekdays: weekday_bits,
            any_day: any(days),
            any_weekday: any(weekdays),
            zone,
            every: None,
        })
    }

    /// The first time after `after`, if there is one in the next years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if let Some(seconds) = self.every {
            return Timestamp::from_second(after.as_second() + seconds).ok();
        }
        let start = after.to_zoned(self.zone.clone());
        let mut at =
            start.datetime().with().second(0).subsec_nanosecond(0).build().ok()?.checked_add(1.minute()).ok()?;
        let last_year = at.year() + YEARS_MAX;
        while at.year() <= last_year {
            if !has(self.months, at.month()) {
                at = at.date().first_of_month().checked_add(1.month()).ok()?.at(0, 0, 0, 0);
            } else if !self.is_day(at.date()) {
                at = at.date().tomorrow().ok()?.at(0, 0, 0, 0);
            } else if !has(self.hours, at.hour()) {
                at = at.date().at(at.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
            } else if !has(self.minutes, at.minute()) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                let found = self.zone.to_ambiguous_timestamp(at).compatible().ok()?;
                // In the hour that a clock is set back by, a time may come out as not later than the last.
                if found > after {
                    return Some(found);
                }
                at = at.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    fn is_day(&self, date: jiff::civil::Date) -> bool {
        let weekday = match date.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let (day, weekday) = (has(self.days, date.day()), has(self.weekdays, weekday));
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

/// One field as bits; `names` stand for numbers from `first_name` on.
fn field(text: &str, low: u8, high: u8, names: &[&str], first_name: u8) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',') {
        bits |= range(part, low, high, names, first_name)?;
    }
    Ok(bits)
}

fn range(text: &str, low: u8, high: u8, names: &[&str], first_name: u8) -> Result<u64, String> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(step.parse::<u8>().map_err(|_| format!("failed to parse int from {step}"))?)),
        None => (text, None),
    };
    let number = |text: &str| -> Result<u8, String> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|i| u8::try_from(i).ok()).map(|i| i + first_name);
        named.or_else(|| text.parse().ok()).ok_or_else(|| format!("failed to parse int from {text}"))
    };
    let (first, last) = match span {
        "*" | "?" => (low, if high == 7 { 6 } else { high }),
        span => match span.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            // `5/15` means from 5 on.
            None if step.is_some() => (number(span)?, high),
            None => (number(span)?, number(span)?),
        },
    };
    if first < low {
        return Err(format!("beginning of range ({first}) below minimum ({low}): {text}"));
    }
    if last > high {
        return Err(format!("end of range ({last}) above maximum ({high}): {text}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok((first..=last).step_by(step.into()).fold(0, |bits, value| bits | 1_u64 << value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let schedule = Schedule::parse(schedule, TimeZone::UTC).unwrap();
        schedule.next(after.parse().unwrap()).map_or_else(|| "never".into(), |at| at.to_string())
    }

    #[test]
    fn next_times() {
        for (schedule, after, wanted) in [
            ("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z"),
            ("5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"),
            ("0 9-17 * * MON-FRI", "2026-01-02T17:30:00Z", "2026-01-05T09:00:00Z"),
            ("30 4 1,15 * 5", "2026-01-02T05:00:00Z", "2026-01-09T04:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
            ("59 23 31 dec ?", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"),
        ] {
            assert_eq!(next(schedule, after), wanted, "{schedule}");
        }
    }

    #[test]
    fn faults_are_named() {
        for (schedule, wanted) in [
            ("* * * *", "expected exactly 5 fields, found 4"),
            ("60 * * * *", "end of range (60) above maximum (59)"),
            ("* * 0 * *", "beginning of range (0) below minimum (1)"),
            ("5-1 * * * *", "beyond end of range"),
            ("x * * * *", "failed to parse int from x"),
            ("*/0 * * * *", "positive number"),
            ("TZ=UTC * * * * *", "timeZone field"),
            ("@often", "unrecognized descriptor"),
        ] {
            let error = Schedule::parse(schedule, TimeZone::UTC).unwrap_err();
            assert!(error.contains(wanted), "{schedule}: {error}");
        }
    }
}
