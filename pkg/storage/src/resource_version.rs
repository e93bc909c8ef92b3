use std::fmt;

/// A resourceVersion that a client sent: a number to compare revisions with, and nothing that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceVersion(u64);

/// A text that is no resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strconv.ParseUint: parsing {0:?}: invalid syntax")]
pub struct InvalidResourceVersion(String);

impl ResourceVersion {
    /// Reads what a client sent. Empty means "not given" and is the caller's to handle.
    pub fn parse(text: &str) -> Result<Self, InvalidResourceVersion> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = digits.then(|| text.parse().ok()).flatten();
        value.map(Self).ok_or_else(|| InvalidResourceVersion(text.to_owned()))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decimal_numbers_are_versions() {
        for (text, value) in [("0", Some(0)), ("12", Some(12)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(ResourceVersion::parse(text).ok().map(ResourceVersion::get), value);
        }
        for text in ["", "+1", "-1", " 1", "1.0", "abc", "18446744073709551616"] {
            assert!(ResourceVersion::parse(text).is_err(), "{text}");
        }
    }
}
