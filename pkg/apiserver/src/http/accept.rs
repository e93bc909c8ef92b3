//! The entries of an Accept header, in the order in which upstream's library goes through them.

/// More entries than any client sends; the rest is not looked at.
const ENTRIES_MAX: usize = 64;

/// One entry: a media type with parameters.
#[derive(Debug, Default, PartialEq)]
pub struct Entry<'a> {
    type_: &'a str,
    subtype: &'a str,
    quality: f32,
    /// As written, after the first semicolon.
    parameters: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (type_, subtype) = match media.split_once('/') {
            Some((type_, subtype)) if !subtype.contains('/') => (trim(type_), trim(subtype)),
            None if trim(media) == "*" => ("*", "*"),
            _ => return None,
        };
        let mut entry = Self { type_, subtype, quality: 1.0, parameters };
        if let Some(quality) = entry.parameter("q") {
            entry.quality = quality.parse().unwrap_or(0.0);
        }
        Some(entry)
    }

    /// The last value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.parameters.split(';').filter_map(|part| part.split_once('='));
        pairs.rfind(|(key, value)| trim(key) == name && !value.contains('=')).map(|(_, value)| trim(value))
    }

    /// Whether a media type is meant, by name or by a wildcard.
    pub fn matches(&self, type_: &str, subtype: &str) -> bool {
        (self.type_ == type_ && (self.subtype == subtype || self.subtype == "*"))
            || (self.type_ == "*" && self.subtype == "*")
    }

    /// Whether this goes before another one that was written before it.
    fn goes_before(&self, other: &Self) -> bool {
        self.quality > other.quality
            || (self.type_ != "*" && other.type_ == "*")
            || (self.subtype != "*" && other.subtype == "*")
    }
}

/// Only blanks; a tab is part of a word.
fn trim(text: &str) -> &str {
    text.trim_matches(' ')
}

/// The entries by quality, wildcards last, else as written.
pub fn entries(accept: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = accept.split(',').filter_map(Entry::parse).take(ENTRIES_MAX).collect();
    // By insertion, for the order is none that a sort may rely on: a wildcard of higher quality and a name go before each
    // other.
    for end in 1..entries.len() {
        for at in (1..=end).rev() {
            if !entries[at].goes_before(&entries[at - 1]) {
                break;
            }
            entries.swap(at, at - 1);
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_quality_with_wildcards_last() {
        for (accept, want) in [
            ("application/json, application/yaml", "json yaml"),
            ("application/json;q=0.5, application/yaml", "yaml json"),
            ("*/*, application/json;q=0.1", "json *"),
            ("application/*, application/json", "json *"),
            ("*, application/yaml", "yaml *"),
            ("nonsense, a/b/c, application/json", "json"),
            ("application/json;q=x, application/yaml;q=0.1", "yaml json"),
            ("", ""),
        ] {
            let got: Vec<&str> = entries(accept).iter().map(|entry| entry.subtype).collect();
            assert_eq!(got.join(" "), want, "{accept}");
        }
    }

    #[test]
    fn parameters_are_read_without_blanks() {
        let all = entries("application/json ; as=Table ;v= v1;broken;g=a=b");
        let found = ["as", "v", "g", "broken"].map(|name| all[0].parameter(name));
        assert_eq!(found, [Some("Table"), Some("v1"), None, None]);
    }
}
