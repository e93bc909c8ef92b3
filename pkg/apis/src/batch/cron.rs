//! Whether a text is a cron schedule: five fields, `@hourly` and the like, or `@every <duration>`.

/// Lowest and highest number of a field, and names that stand for numbers.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 6, names: DAYS },
];

const DESCRIPTORS: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// The name of a time zone, as it is written in the database of IANA.
pub fn is_time_zone(name: &str) -> bool {
    let found = jiff::tz::TimeZone::get(name);
    name == "UTC" || found.is_ok_and(|zone| zone.iana_name() == Some(name))
}

/// The reason why `schedule` is none. A time zone may stand before it: `CRON_TZ=Europe/Berlin 0 0 * * *`.
pub fn check(schedule: &str) -> Result<(), String> {
    let zoned = schedule.strip_prefix("CRON_").unwrap_or(schedule).strip_prefix("TZ=");
    if let Some((zone, rest)) = zoned.and_then(|zoned| zoned.split_once(' ')) {
        if !is_time_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        return check(rest.trim());
    }
    if schedule.starts_with('@') {
        return descriptor(schedule);
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        for range in text.split(',').filter(|r| !r.is_empty()) {
            field.check(range)?;
        }
    }
    Ok(())
}

fn descriptor(text: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&text) {
        return Ok(());
    }
    match text.strip_prefix("@every ") {
        Some(duration) if apimachinery::duration::parse_go_duration(duration).is_some() => Ok(()),
        Some(duration) => Err(format!("failed to parse duration {text}: time: invalid duration {duration:?}")),
        None => Err(format!("unrecognized descriptor: {text}")),
    }
}

impl Field {
    fn check(&self, range: &str) -> Result<(), String> {
        let (span, step) = match range.split_once('/') {
            Some((_, step)) if step.contains('/') => return Err(format!("too many slashes: {range}")),
            Some((span, step)) => (span, Some(number(step)?)),
            None => (range, None),
        };
        let (start, end) = match span.split_once('-') {
            _ if matches!(span, "*" | "?") => (self.low, self.high),
            Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {range}")),
            Some((start, end)) => (self.number(start)?, self.number(end)?),
            // A single number with a step runs to the end.
            None if step.is_some() => (self.number(span)?, self.high),
            None => (self.number(span)?, self.number(span)?),
        };
        if start < self.low {
            return Err(format!("beginning of range ({start}) below minimum ({}): {range}", self.low));
        }
        if end > self.high {
            return Err(format!("end of range ({end}) above maximum ({}): {range}", self.high));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
        }
        if step == Some(0) {
            return Err(format!("step of range should be a positive number: {range}"));
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_lowercase();
        match self.names.iter().position(|name| *name == lower) {
            Some(index) => Ok(self.low + u32::try_from(index).unwrap_or(0)),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => u32::try_from(number).map_err(|_| format!("failed to parse int from {text}: value out of range")),
        Err(_) => Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, is_time_zone};

    #[test]
    fn time_zones() {
        for good in ["UTC", "Europe/Berlin", "US/Eastern", "Etc/GMT+1"] {
            assert!(is_time_zone(good), "{good}");
        }
        for bad in ["europe/berlin", "Nowhere", "../etc/passwd", "local"] {
            assert!(!is_time_zone(bad), "{bad}");
        }
    }

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-6,8 1 jan-mar MON", "@hourly", "@every 1h30m", "0 0 ? * 5/2"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check("TZ=Europe/Berlin 0 0 * * *"), Ok(()));
        let bad = [
            ("CRON_TZ=Nowhere 0 0 * * *", "provided bad location Nowhere: unknown time zone Nowhere"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
            ("4294967296 * * * *", "failed to parse int from 4294967296: value out of range"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every day", "failed to parse duration @every day: time: invalid duration \"day\""),
        ];
        for (text, why) in bad {
            assert_eq!(check(text), Err(why.to_owned()), "{text}");
        }
    }
}
