//! What one object has that another has not.

use std::cmp::Ordering;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::{FieldSet, Spot};
use super::shape::{NULL, Node, Shape, Types, is_void, node};
use crate::patch::Present;

/// The differences between two objects. No field is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// The same for one value and what is below it.
#[derive(Default)]
struct Change {
    added: Spot,
    modified: Spot,
    removed: Spot,
}

/// An item of a list with what tells it apart.
type Keyed<'v> = (PathElement, &'v Value);

impl Change {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Adds what changed at `element`.
    fn push(&mut self, element: PathElement, inner: Self) {
        let Change { added, modified, removed } = inner;
        let sides = [(&mut self.added, added), (&mut self.modified, modified), (&mut self.removed, removed)];
        // Most changes are of one kind.
        for (side, spot) in sides.into_iter().filter(|(_, spot)| !spot.is_empty()) {
            side.below.add(element.clone(), spot);
        }
    }
}

pub(super) static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));

impl Types<'_> {
    /// Compares two objects. Fields that upstream's typed form always writes count as there on both sides.
    pub fn compare(self, shape: Shape, old: &Value, new: &Value) -> Comparison {
        let Change { added, modified, removed } = self.change(shape, Some(old), Some(new));
        Comparison { added: added.below, modified: modified.below, removed: removed.below }
    }

    fn change(self, shape: Shape, old: Option<&Value>, new: Option<&Value>) -> Change {
        // Most of two objects is alike, and seen to be so without the schema.
        if old == new {
            return Change::default();
        }
        let (old_node, new_node) = (old.map(|v| node(shape, v)), new.map(|v| node(shape, v)));
        let mut change = match (old_node, new_node) {
            // Nothing on both sides: the difference between missing, null and empty is one of leaves.
            _ if old.is_none_or(is_void) && new.is_none_or(is_void) && !self.fills(shape, old, new) => {
                return leaf(old, new);
            }
            (Some(Node::Fields(old)), Some(Node::Fields(new))) => self.fields(shape, Some(old), Some(new)),
            (Some(Node::Fields(old)), _) => self.fields(shape, Some(old), None),
            (_, Some(Node::Fields(new))) => self.fields(shape, None, Some(new)),
            (Some(Node::Items(old)), Some(Node::Items(new))) => self.items(shape, old, new),
            (Some(Node::Items(old)), _) => self.items(shape, old, &[]),
            (_, Some(Node::Items(new))) => self.items(shape, &[], new),
            _ => return leaf(old, new),
        };
        match (old, new) {
            (None, Some(_)) => change.added.member = true,
            (Some(_), None) => change.removed.member = true,
            // A map became a scalar, or the other way round.
            (Some(old), Some(new)) if shape == Shape::Deduced && old.is_object() != new.is_object() => {
                change.modified.member = true;
            }
            _ => {}
        }
        change
    }

    /// True if an empty struct on one side has fields that are always there, so that it is no leaf.
    fn fills(self, shape: Shape, old: Option<&Value>, new: Option<&Value>) -> bool {
        old.is_some_and(Value::is_object) != new.is_some_and(Value::is_object) && !self.always_present(shape).is_empty()
    }

    fn fields(self, shape: Shape, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Change {
        let mut change = Change::default();
        let (mut olds, mut news) = (old.into_iter().flatten().peekable(), new.into_iter().flatten().peekable());
        let mut present = self.always_present(shape).iter().peekable();
        loop {
            // The smallest name that is next on any side.
            let names = [olds.peek().map(|(k, _)| k.as_str()), news.peek().map(|(k, _)| k.as_str())];
            let known = present.peek().map(|(name, _)| *name);
            let Some(name) = names.into_iter().chain([known]).flatten().min() else { return change };
            let default = match known.map(|known| known.cmp(name)) {
                Some(Ordering::Equal) => present.next().map(|(_, default)| stand_in(*default)),
                _ => None,
            };
            let at = |entry: Option<&(&String, _)>| entry.is_some_and(|(key, _)| key.as_str() == name);
            let (has_old, has_new) = (at(olds.peek()), at(news.peek()));
            let left = if has_old { olds.next().map(|(_, v)| v) } else { old.and(default) };
            let right = if has_new { news.next().map(|(_, v)| v) } else { new.and(default) };
            let inner = if has_old || has_new {
                self.change(self.field_or_deduced(shape, name), left, right)
            } else {
                // Nobody set it: it comes and goes with the struct around it.
                leaf(left, right)
            };
            if !inner.is_empty() {
                change.push(PathElement::field(name), inner);
            }
        }
    }

    fn items(self, shape: Shape, old: &[Value], new: &[Value]) -> Change {
        let (old, new) = (self.sorted(shape, old), self.sorted(shape, new));
        let inner = self.item(shape);
        let mut change = Change::default();
        let (mut old, mut new) = (old.as_slice(), new.as_slice());
        while let Some(element) = old.first().into_iter().chain(new.first()).map(|(element, _)| element).min() {
            let (left, old_rest) = split(old, element);
            let (right, new_rest) = split(new, element);
            change.push(element.clone(), self.twins(inner, left, right));
            (old, new) = (old_rest, new_rest);
        }
        change
    }

    /// Compares the items of one key. Several with the same key are taken as a whole.
    fn twins(self, shape: Shape, old: &[Keyed<'_>], new: &[Keyed<'_>]) -> Change {
        let (one_old, one_new) = (single(old), single(new));
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => self.change(shape, one_old, one_new),
            (2.., 2..) => {
                let same = old.iter().map(|(_, v)| v).eq(new.iter().map(|(_, v)| v));
                let modified = if same { Spot::default() } else { Spot::MEMBER };
                Change { modified, ..Change::default() }
            }
            (2.., _) => {
                let mut change = if new.is_empty() { Change::default() } else { self.change(shape, None, one_new) };
                change.removed.member = true;
                change
            }
            _ => {
                let mut change = if old.is_empty() { Change::default() } else { self.change(shape, one_old, None) };
                change.added.member = true;
                change
            }
        }
    }

    /// The items of a list by their elements; items that have none are left out.
    pub(super) fn sorted(self, shape: Shape, items: &[Value]) -> Vec<Keyed<'_>> {
        let keyed = items.iter().filter_map(|item| Some((self.element(shape, item).ok()?, item)));
        let mut keyed: Vec<_> = keyed.collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        keyed
    }
}

fn single<'v>(items: &[Keyed<'v>]) -> Option<&'v Value> {
    match items {
        [(_, item)] => Some(item),
        _ => None,
    }
}

/// The items of `element`, which come first, and the rest.
fn split<'s, 'v>(items: &'s [Keyed<'v>], element: &PathElement) -> (&'s [Keyed<'v>], &'s [Keyed<'v>]) {
    items.split_at(items.iter().take_while(|(other, _)| other == element).count())
}

fn stand_in(present: Present) -> &'static Value {
    match present {
        Present::Empty => &EMPTY,
        Present::Null => &NULL,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Change {
    let mut change = Change::default();
    match (old, new) {
        (None, Some(_)) => change.added = Spot::MEMBER,
        (Some(_), None) => change.removed = Spot::MEMBER,
        (Some(old), Some(new)) if old != new => change.modified = Spot::MEMBER,
        _ => {}
    }
    change
}
