//! Sets of completion indexes, written as `1,3-5`.

use std::collections::BTreeSet;

/// Indexes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Parses what status or a success policy say; what is not a number, or not below `end`, is left out.
    pub(super) fn parse(text: &str, end: i32) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.extend(first.max(0)..=last.min(end - 1));
            }
        }
        Self(set)
    }

    pub(super) fn insert(&mut self, index: i32) {
        self.0.insert(index);
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn len(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    pub(super) fn is_superset(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// How many indexes are in both.
    pub(super) fn common(&self, other: &Self) -> i32 {
        i32::try_from(self.0.intersection(&other.0).count()).unwrap_or(i32::MAX)
    }

    pub(super) fn text(&self) -> String {
        let mut parts: Vec<(i32, i32)> = Vec::new();
        for &index in &self.0 {
            match parts.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => parts.push((index, index)),
            }
        }
        let part = |(first, last): &(i32, i32)| match last - first {
            0 => first.to_string(),
            // Two neighbours are listed, not spanned.
            1 => format!("{first},{last}"),
            _ => format!("{first}-{last}"),
        };
        parts.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "0", "0,1", "1,3-5,7", "0-99"] {
            assert_eq!(Indexes::parse(text, 100).text(), text);
        }
        assert_eq!(Indexes::parse("1,3-500,x", 5).text(), "1,3,4");
        assert_eq!(Indexes::parse("0-9", 100).len(), 10);
    }
}
