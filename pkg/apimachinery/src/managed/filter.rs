//! Fields that an endpoint does not let its writers own: the status for the main endpoint, the spec for `status`.

use super::element::PathElement;
use super::set::{FieldSet, Spot};

/// Names from the root down; `*` stands for any element. What is below counts as well.
pub type Pattern = &'static [&'static str];

/// Which fields writers through one endpoint may own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All but these.
    Without(&'static [Pattern]),
    /// These alone.
    Only(&'static [Pattern]),
}

impl Filter {
    /// Lets everything through.
    pub const NONE: Self = Self::Without(&[]);

    pub fn apply(self, set: FieldSet) -> FieldSet {
        match self {
            Self::Without([]) => set,
            Self::Without(patterns) => without(set, patterns),
            Self::Only(patterns) => only(set, patterns),
        }
    }
}

fn matches(element: &PathElement, first: &str) -> bool {
    first == "*" || matches!(element, PathElement::Field(name) if name == first)
}

/// The rests of the patterns that `element` matches. They are few and short.
fn rests(patterns: &[Pattern], element: &PathElement) -> Vec<Pattern> {
    let rest = |pattern: &Pattern| pattern.split_first().filter(|(first, _)| matches(element, first)).map(|(_, r)| r);
    patterns.iter().filter_map(rest).collect()
}

fn without(set: FieldSet, patterns: &[Pattern]) -> FieldSet {
    set.changed(|element, spot| {
        let rests = rests(patterns, element);
        if rests.iter().any(|rest| rest.is_empty()) {
            *spot = Spot::default();
        } else if !rests.is_empty() {
            spot.below = without(std::mem::take(&mut spot.below), &rests);
        }
    })
}

fn only(set: FieldSet, patterns: &[Pattern]) -> FieldSet {
    set.changed(|element, spot| {
        let rests = rests(patterns, element);
        if rests.is_empty() {
            *spot = Spot::default();
        } else if !rests.iter().any(|rest| rest.is_empty()) {
            spot.below = only(std::mem::take(&mut spot.below), &rests);
        }
    })
}
