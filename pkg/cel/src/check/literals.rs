//! Texts that stand in an expression as durations, times and regular expressions. Only what is surely wrong is told.

use crate::ast::{Expr, Kind, Literal};
use crate::issue::Issues;

type Rule = fn(&str) -> bool;

/// Functions whose first argument is such a text, and whether a text is one.
const RULES: &[(&str, Rule)] =
    &[("duration", is_duration), ("timestamp", is_timestamp), ("matches", super::regex::is_regex)];

pub fn check(expr: &Expr, issues: &mut Issues) {
    if let Kind::Call { target, function, args } = &expr.kind
        && let Some((name, rule)) = RULES.iter().find(|(name, _)| name == function)
        && (target.is_some() || *name != "matches")
        && let [Expr { at, kind: Kind::Literal(Literal::String(text)), .. }, ..] = &args[..]
        && !rule(text)
    {
        issues.report(*at, format!("invalid {name} argument"));
    }
    expr.each_part(&mut |part| check(part, issues));
}

/// Units of durations, and how many nanoseconds they are.
const UNITS: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// `1h30m`, `-1.5s`, `0`; no more than 64 bits of nanoseconds.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else { return false };
        let Ok(value) = digits.parse::<f64>() else { return false };
        sum += value * scale;
        rest = after;
    }
    // Rounding: what is just at the limit is let through.
    !text.is_empty() && sum <= 1.001 * (i64::MAX as f64)
}

/// `2006-01-02T15:04:05.999Z` or with an offset.
fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let numbers: Option<Vec<u32>> = date.split('-').map(|part| part.parse().ok()).collect();
    let Some([year, month, day]) = numbers.as_deref() else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    let Some(clock) = time.find(['Z', '+', '-']).map(|end| &time[..end]) else { return false };
    let numbers: Option<Vec<f64>> = clock.replace(',', ".").split(':').map(|part| part.parse().ok()).collect();
    let Some([hour, minute, second]) = numbers.as_deref() else { return false };
    (1..=9999).contains(year) && (1..=days).contains(day) && *hour < 24.0 && *minute < 60.0 && *second < 60.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_are_told_from_others() {
        for good in ["0", "1s", "-1.5h", "+1h30m2.5s", ".5s", "10µs", "2540400h", "1ns"] {
            assert!(is_duration(good), "{good}");
        }
        for wrong in ["", "-", "1", "1d", "s", "1 s", "1s ", "1.2.3s", "9999999h", "1x2s"] {
            assert!(!is_duration(wrong), "{wrong}");
        }
        for good in ["2023-06-14T10:00:00Z", "2024-02-29T23:59:59.999999999+01:00", "0001-01-01T00:00:00-00:00"] {
            assert!(is_timestamp(good), "{good}");
        }
        for wrong in
            ["", "2023-06-14", "2023-06-14T10:00:00", "2023-02-29T00:00:00Z", "2023-13-01T00:00:00Z", "aT:Z", "T"]
        {
            assert!(!is_timestamp(wrong), "{wrong}");
        }
    }
}
