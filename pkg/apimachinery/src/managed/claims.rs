//! What the creator of an object owns of it.

use serde_json::{Map, Value};

use super::compare::EMPTY;
use super::element::PathElement;
use super::set::{FieldSet, Spot};
use super::shape::{Node, Shape, Types, is_void, node};
use crate::patch::Present;

/// What stands against a value where there was no object: nothing, or what upstream's typed form writes of one that is
/// empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Null,
    Empty,
}

impl Before {
    fn of(present: Present) -> Self {
        match present {
            Present::Empty => Self::Empty,
            Present::Null => Self::Null,
        }
    }

    fn is(self, new: &Value) -> bool {
        match self {
            Self::Nothing => false,
            Self::Null => new.is_null(),
            Self::Empty => new.as_object().is_some_and(Map::is_empty),
        }
    }
}

impl Types<'_> {
    /// What [`Self::compare`] finds added to or modified in an empty object, in one walk and one set: most of all writes
    /// that are tracked in full are creates.
    pub fn claims(self, shape: Shape, new: &Value) -> FieldSet {
        self.claim(shape, Before::Empty, new).below
    }

    fn claim(self, shape: Shape, before: Before, new: &Value) -> Spot {
        if before.is(new) {
            return Spot::default();
        }
        let was_object = before == Before::Empty;
        let fills = was_object != new.is_object() && !self.always_present(shape).is_empty();
        if is_void(new) && !fills {
            return Spot::MEMBER;
        }
        let below = match node(shape, new) {
            Node::Fields(map) => self.claim_fields(shape, was_object, map),
            Node::Items(items) => self.claim_items(shape, items),
            // An object gave way to a leaf: fields were removed, none was set.
            Node::Leaf if was_object && matches!(node(shape, &EMPTY), Node::Fields(_)) => FieldSet::default(),
            Node::Leaf => return Spot::MEMBER,
        };
        let changes_form = shape == Shape::Deduced && was_object != new.is_object();
        Spot { member: before == Before::Nothing || changes_form, below }
    }

    /// The fields of `map` and those that are always there with it; `was_there`: on the other side as well.
    fn claim_fields(self, shape: Shape, was_there: bool, map: &Map<String, Value>) -> FieldSet {
        let always = self.always_present(shape);
        let mut set = FieldSet::with_capacity(map.len() + always.len());
        let mut always = always.iter().peekable();
        for (name, value) in map {
            while let Some((unset, _)) = always.next_if(|(other, _)| *other < name.as_str()) {
                if !was_there {
                    set.add(PathElement::field(unset), Spot::MEMBER);
                }
            }
            let before = match always.next_if(|(other, _)| *other == name.as_str()) {
                Some((_, present)) if was_there => Before::of(*present),
                _ => Before::Nothing,
            };
            let spot = self.claim(self.field_or_deduced(shape, name), before, value);
            set.add(PathElement::field(name), spot);
        }
        for (unset, _) in always.filter(|_| !was_there) {
            set.add(PathElement::field(unset), Spot::MEMBER);
        }
        set
    }

    fn claim_items(self, shape: Shape, items: &[Value]) -> FieldSet {
        let inner = self.item(shape);
        let mut set = FieldSet::with_capacity(items.len());
        let mut items = self.sorted(shape, items).into_iter().peekable();
        while let Some((element, item)) = items.next() {
            let mut has_twin = false;
            while items.next_if(|(other, _)| *other == element).is_some() {
                has_twin = true;
            }
            // Of items with the same key nothing more can be said than that they are there.
            let spot = if has_twin { Spot::MEMBER } else { self.claim(inner, Before::Nothing, item) };
            set.add(element, spot);
        }
        set
    }
}
