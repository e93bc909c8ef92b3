//! The fields that an object has.

use serde_json::Value;

use super::element::PathElement;
use super::set::{FieldSet, Node as SetNode, Spot};
use super::shape::{Node, Shape, Types, node};

impl Types<'_> {
    /// Every leaf of `value` and every item of its lists: what somebody owns who applied it.
    pub fn collect(self, shape: Shape, value: &Value) -> FieldSet {
        match node(shape, value) {
            Node::Leaf => FieldSet::default(),
            Node::Fields(map) => {
                let mut set = FieldSet::default();
                for (name, value) in map {
                    let known = self.field(shape, name);
                    // Keys of maps are members by themselves, fields of structs through what is in them.
                    let named = matches!(shape, Shape::Struct(_)) && known.is_some();
                    let inner = known.unwrap_or(Shape::Deduced);
                    let mut spot = self.spot(inner, value);
                    spot.member |=
                        !named || value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                    set.add(PathElement::field(name), spot);
                }
                set
            }
            Node::Items(items) => self.collect_items(shape, items),
        }
    }

    fn spot(self, shape: Shape, value: &Value) -> Spot {
        match node(shape, value) {
            // A missing list or map is no leaf of its own.
            Node::Leaf => Spot { member: !is_container(shape), below: FieldSet::default() },
            _ => Spot { member: false, below: self.collect(shape, value) },
        }
    }

    fn collect_items(self, shape: Shape, items: &[Value]) -> FieldSet {
        let mut set = FieldSet::default();
        let mut seen: Vec<(PathElement, usize)> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            // Lists are checked before they are walked: an item without a key has no field.
            let Ok(element) = self.element(shape, item) else { continue };
            seen.push((element, i));
        }
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        let inner = self.item(shape);
        for twins in seen.chunk_by(|a, b| a.0 == b.0) {
            let [(element, first), ..] = twins else { continue };
            // Of items with the same key nothing more can be said than that they are there.
            let below = if twins.len() > 1 { FieldSet::default() } else { self.collect(inner, &items[*first]) };
            set.add(element.clone(), Spot { member: true, below });
        }
        set
    }

    /// Adds the fields of structs above the members of a set: `a` for `a.b`, where `a` is a field and not a map's key.
    pub fn ensure_named(self, shape: Shape, set: &FieldSet) -> FieldSet {
        let nodes = set.nodes().iter().map(|node| {
            let (inner, named) = self.below(shape, &node.element);
            let below = self.ensure_named(inner, &node.spot.below);
            let member = node.spot.member || (named && !below.is_empty());
            SetNode { element: node.element.clone(), spot: Spot { member, below } }
        });
        FieldSet::from_nodes(nodes.collect())
    }

    /// A set that was written when the schema had parts where it now has a whole: who owned parts owns the whole.
    pub fn up_to_date(self, shape: Shape, set: FieldSet) -> FieldSet {
        set.changed(|element, spot| {
            if spot.below.is_empty() {
                return;
            }
            match self.below(shape, element) {
                (Shape::Leaf(_), _) => *spot = Spot::MEMBER,
                (Shape::Deduced, _) => {}
                (inner, _) => spot.below = self.up_to_date(inner, std::mem::take(&mut spot.below)),
            }
        })
    }

    /// The shape below an element, and whether the element is a field of a struct.
    fn below(self, shape: Shape, element: &PathElement) -> (Shape, bool) {
        match element {
            PathElement::Field(name) => match self.field(shape, name) {
                Some(inner) => (inner, matches!(shape, Shape::Struct(_))),
                None => (Shape::Deduced, false),
            },
            _ => (self.item(shape), false),
        }
    }
}

/// True if a value of this shape consists of fields.
pub(super) fn is_container(shape: Shape) -> bool {
    !matches!(shape, Shape::Leaf(_) | Shape::Deduced)
}
