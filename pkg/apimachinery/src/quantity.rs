//! `resource.Quantity`: fixed-point numbers with decimal, binary or exponent suffixes, kept exactly in nano units.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

const NANO: i128 = 1_000_000_000;
/// Larger binary or very precise numbers are capped, as upstream does.
const MAX: i128 = i64::MAX as i128 * NANO;
/// Decimal numbers of few digits may be larger (`12E`); this is far above what `Ei` can say and keeps sums in range.
const MAX_DECIMAL: i128 = 10i128.pow(37);
/// Numbers of more digits are capped at [`MAX`].
const DIGITS_PRECISE: i32 = 18;

/// How a quantity was written, which is how it is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `1k`, `1M`, `100m`.
    DecimalSi,
    /// `1Ki`, `1Mi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An amount. Compares by value: `1` equals `1000m`.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// A number of thousandths, as `cpu` is counted.
    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format }
    }

    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, digits, fraction, suffix) = split(text)?;
        let (base, exponent, format) = interpret(suffix).ok_or_else(|| fault(digits, fraction, suffix))?;
        if digits.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let nanos = scale(digits, fraction, base, exponent)?;
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }

    /// Reads a JSON string or number.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, QuantityError> {
        match value {
            serde_json::Value::String(text) => Self::parse(text),
            serde_json::Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(QuantityError::Format),
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether nothing is lost at whole units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whole units, rounded up (away from zero, as upstream).
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// Thousandths, rounded up; capped at the ends of `i64`.
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    fn scaled(&self, unit: i128) -> i64 {
        let rounded = round_away(self.nanos, unit);
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }
}

/// The canonical text of `text`, e.g. `0.5` → `500m`, `1024Ki` → `1Mi`.
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    let quantity = Quantity::parse(text)?;
    let form = quantity.to_string();
    // What is no multiple of a suffix is written without one, and is a decimal number from then on.
    let plain =
        quantity.format != Format::DecimalSi && form.ends_with(|c: char| c.is_ascii_digit()) && !form.contains('e');
    // Written in full it may have more digits than are read precisely, and is capped from then on.
    let long = form.len() > DIGITS_PRECISE as usize;
    if plain || long { Quantity::parse(&form).map(|q| q.to_string()) } else { Ok(form) }
}

fn round_away(nanos: i128, unit: i128) -> i128 {
    let quotient = nanos / unit;
    if nanos % unit == 0 { quotient } else { quotient + nanos.signum() }
}

/// Sign, integer digits, fraction digits, suffix.
fn split(text: &str) -> Result<(bool, &str, &str, &str), QuantityError> {
    let (negative, rest) = match text.as_bytes().first() {
        None => return Err(QuantityError::Format),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let end = |s: &str| s.bytes().position(|c| !c.is_ascii_digit()).unwrap_or(s.len());
    let (digits, rest) = rest.split_at(end(rest));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(after) => after.split_at(end(after)),
        None => ("", rest),
    };
    Ok((negative, digits, fraction, suffix))
}

/// What is wrong with a text whose suffix means nothing.
fn fault(digits: &str, fraction: &str, suffix: &str) -> QuantityError {
    let letters = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let exponent = letters.strip_prefix(['+', '-']).unwrap_or(letters);
    if !exponent.bytes().all(|c| c.is_ascii_digit()) {
        QuantityError::Format
    } else if digits.is_empty() && fraction.is_empty() {
        QuantityError::Numeric
    } else {
        QuantityError::Suffix
    }
}

/// The number that `digits` say, 0 if there are none; `None` if it is out of range.
fn number(digits: &str) -> Option<i128> {
    if digits.len() > DIGITS_PRECISE as usize {
        return digits.parse().ok();
    }
    // Nearly all are short, and then this is several times cheaper.
    Some(digits.bytes().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')).into())
}

/// Base, exponent and format of a suffix.
fn interpret(suffix: &str) -> Option<(u32, i32, Format)> {
    let (base, exponent) = match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i64 = exponent.parse().ok()?;
            return Some((10, exponent.clamp(-1000, 1000) as i32, Format::DecimalExponent));
        }
    };
    Some((base, exponent, if base == 2 { Format::BinarySi } else { Format::DecimalSi }))
}

/// The magnitude in nanos, rounded up to a nano and capped at [`MAX`].
fn scale(digits: &str, fraction: &str, base: u32, exponent: i32) -> Result<i128, QuantityError> {
    let digits = digits.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if digits.is_empty() && fraction.is_empty() {
        return Ok(0);
    }
    if base == 2 {
        return Ok(scale_binary(digits, fraction, exponent));
    }
    // The number is `digits.fraction` times ten to the power `shift`, in nanos.
    let shift = exponent + 9 - i32::try_from(fraction.len()).map_err(|_| QuantityError::Numeric)?;
    let all = if fraction.is_empty() { Cow::Borrowed(digits) } else { Cow::Owned(format!("{digits}{fraction}")) };
    let all = all.trim_start_matches('0');
    let length = i32::try_from(all.len()).map_err(|_| QuantityError::Numeric)?;
    let max = if length > DIGITS_PRECISE { MAX } else { MAX_DECIMAL };
    if length + shift > 37 {
        return Ok(max);
    }
    if length + shift <= 0 {
        return Ok(1); // Smaller than a nano: rounded up.
    }
    let kept = if shift < 0 { (length + shift) as usize } else { all.len() };
    let (head, tail) = all.split_at(kept);
    let mut nanos = number(head).ok_or(QuantityError::Numeric)? * 10_i128.pow(shift.max(0).unsigned_abs());
    if tail.bytes().any(|c| c != b'0') {
        nanos += 1;
    }
    Ok(nanos.min(max))
}

fn scale_binary(digits: &str, fraction: &str, exponent: i32) -> i128 {
    let Some(whole) = number(digits) else { return MAX };
    let factor = 1i128 << exponent;
    let Some(mut nanos) = whole.checked_mul(factor).filter(|v| *v <= MAX / NANO).map(|v| v * NANO) else { return MAX };
    // Up to 18 digits of fraction are exact, more than any real quantity has; what is below is rounded up.
    let kept = &fraction[..fraction.len().min(18)];
    if !kept.is_empty() {
        let divisor = 10i128.pow(kept.len() as u32);
        let numerator = number(kept).unwrap_or(0);
        // numerator < 10^18 and factor * NANO < 2^90: split the product to stay in range.
        let product = numerator * factor;
        let (quotient, rest) = (product / divisor, product % divisor);
        nanos += quotient * NANO + (rest * NANO + divisor - 1) / divisor;
    }
    nanos.min(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        match self.format {
            Format::BinarySi if !small && self.is_whole() => write_binary(f, self.nanos / NANO),
            Format::DecimalExponent => write_decimal(f, self.nanos, true),
            Format::BinarySi | Format::DecimalSi => write_decimal(f, self.nanos, false),
        }
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, mut whole: i128) -> fmt::Result {
    let mut step = 0;
    while whole % 1024 == 0 && step < 6 {
        whole /= 1024;
        step += 1;
    }
    write!(f, "{whole}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step])
}

fn write_decimal(f: &mut fmt::Formatter<'_>, mut number: i128, exponent_form: bool) -> fmt::Result {
    let mut exponent = -9;
    while number % 1000 == 0 && exponent < 18 {
        number /= 1000;
        exponent += 3;
    }
    if exponent_form {
        return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
    }
    let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((exponent + 9) / 3) as usize];
    write!(f, "{number}{suffix}")
}

impl Add for Quantity {
    type Output = Self;
    /// Zero takes over the format of what is added to it.
    fn add(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX_DECIMAL, MAX_DECIMAL), format }
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self { nanos: -self.nanos, ..self }
    }
}

impl Mul<i64> for Quantity {
    type Output = Self;
    fn mul(self, factor: i64) -> Self {
        Self { nanos: self.nanos.saturating_mul(i128::from(factor)).clamp(-MAX_DECIMAL, MAX_DECIMAL), ..self }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_form_is_its_own_canonical_form() {
        for (text, expected) in [
            ("11111111111111111.5G", "9223372036854775807"),
            ("-11111111111111111.5G", "-9223372036854775807"),
            ("111111111111111115G", "111111111111111115G"),
            ("0.1Ei", "115292150460684697600m"),
            ("0.5Ki", "512"),
        ] {
            let form = canonical(text).unwrap();
            assert_eq!(canonical(&form).as_ref(), Ok(&form), "{text}");
            assert_eq!(form, expected);
        }
    }

    #[test]
    fn canonical_forms() {
        for (text, expected) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("5.", "5"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1.5", "1500m"),
            ("1000", "1k"),
            ("100000", "100k"),
            ("1024", "1024"),
            ("12E", "12E"),
            ("1E", "1E"),
            ("1E3", "1e3"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("0.1e3", "100"),
            ("1e-3", "1e-3"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("0.5Ki", "512"),
            ("1000Ki", "1000Ki"),
            ("0.001Ki", "1024m"),
            ("1.1Mi", "1153433600m"),
            ("64Mi", "64Mi"),
            ("+1", "1"),
            ("-1.5", "-1500m"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("1u", "1u"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775807"),
            ("100E", "100E"),
            ("8Ei", "9223372036854775807"),
            ("00100m", "100m"),
            ("1.0000000001", "1000000001n"),
            ("1.20", "1200m"),
            ("1000k", "1M"),
            ("1T", "1T"),
            ("3P", "3P"),
        ] {
            // Over the cap the format decides how the number is written; only compare values there.
            if expected == "9223372036854775807" {
                assert_eq!(Quantity::parse(text).map(|q| q.value()), Ok(i64::MAX), "{text}");
            } else {
                assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("1Zi", QuantityError::Format),
            ("1mm", QuantityError::Suffix),
            ("1i", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            (".", QuantityError::Numeric),
            ("m", QuantityError::Numeric),
            ("1e1.5", QuantityError::Format),
        ] {
            assert_eq!(Quantity::parse(text).err(), Some(error), "{text:?}");
        }
    }

    #[test]
    fn arithmetic() {
        let q = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(q("1"), q("1000m"));
        assert!(q("1Gi") > q("1G"));
        assert_eq!(q("100m").add(q("1.95")).to_string(), "2050m");
        assert_eq!(Quantity::ZERO.add(q("1Gi")).to_string(), "1Gi");
        assert_eq!(q("1Gi").sub(q("512Mi")).to_string(), "512Mi");
        assert_eq!(q("1").sub(q("2")).to_string(), "-1");
        assert_eq!(q("1.1").value(), 2);
        assert_eq!(q("-1.1").value(), -2);
        assert_eq!(q("0.0001").milli_value(), 1);
        assert_eq!(q("2").milli_value(), 2000);
        assert_eq!(q("12E").milli_value(), i64::MAX);
    }
}
