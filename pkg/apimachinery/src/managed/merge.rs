//! Merging an applied configuration into a live object, and taking fields out of one.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::FieldSet;
use super::shape::{Node, Shape, Types, node};

impl Types<'_> {
    /// `config` over `live`: its leaves win, maps and keyed lists merge, nothing is removed.
    pub fn merge(self, shape: Shape, live: &Value, config: &Value) -> Value {
        match (node(shape, live), node(shape, config)) {
            (Node::Fields(old), Node::Fields(new)) => {
                let mut merged = old.clone();
                for (name, value) in new {
                    let inner = self.field_or_deduced(shape, name);
                    let value = old.get(name).map_or_else(|| value.clone(), |old| self.merge(inner, old, value));
                    merged.insert(name.clone(), value);
                }
                Value::Object(merged)
            }
            (Node::Items(old), Node::Items(new)) => Value::Array(self.merge_items(shape, old, new)),
            // Null for a list or map of parts says nothing about them.
            (Node::Fields(_) | Node::Items(_), Node::Leaf) if config.is_null() && shape != Shape::Deduced => {
                live.clone()
            }
            _ => config.clone(),
        }
    }

    /// Items of both in the order of `new`; those of `old` alone keep their places between them.
    fn merge_items(self, shape: Shape, old: &[Value], new: &[Value]) -> Vec<Value> {
        let inner = self.item(shape);
        let keyed = |items: &[Value]| -> Vec<(PathElement, usize)> {
            let elements = items.iter().enumerate().map(|(i, item)| Some((self.element(shape, item).ok()?, i)));
            elements.flatten().collect()
        };
        let (left, right) = (Index::new(keyed(old)), Index::new(keyed(new)));
        let mut out = Vec::with_capacity(old.len().max(new.len()));
        let mut shared = right.order.iter().filter(|(element, _)| left.find(element).is_some()).peekable();
        let mut done = vec![false; new.len()];
        let (mut l, mut r) = (0, 0);
        while l < left.order.len() || r < right.order.len() {
            if let (Some((a, _)), Some((b, _))) = (left.order.get(l), right.order.get(r))
                && a != b
                && right.find(a).is_some()
                && shared.peek().is_some_and(|(next, _)| next != a)
            {
                // It comes later, or came already.
                l += 1;
                continue;
            }
            if let Some((element, at)) = left.order.get(l) {
                match right.find(element) {
                    None => {
                        out.push(old[*at].clone());
                        l += 1;
                        continue;
                    }
                    Some(twin) if done[twin] => {
                        l += 1;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            let Some((element, at)) = right.order.get(r) else { continue };
            // Of items that stand twice in the live object none is merged: they give way to the one.
            let twin = left.find_single(element).map(|twin| &old[twin]);
            out.push(twin.map_or_else(|| new[*at].clone(), |twin| self.merge(inner, twin, &new[*at])));
            done[*at] = true;
            r += 1;
            if left.order.get(l).is_some_and(|(other, _)| other == element) {
                l += 1;
            }
            if shared.peek().is_some_and(|(next, _)| next == element) {
                shared.next();
            }
        }
        out
    }

    /// Without the fields of `set` and all that is below them. Lists and maps that become empty vanish.
    pub fn remove(self, shape: Shape, value: &Value, set: &FieldSet) -> Option<Value> {
        match node(shape, value) {
            Node::Leaf if super::collect::is_container(shape) => None,
            Node::Leaf => Some(value.clone()),
            Node::Fields(map) => {
                let mut kept = Map::new();
                for (name, value) in map {
                    let inner = self.field_or_deduced(shape, name);
                    match set.get_field(name) {
                        Some(spot) if spot.member => {}
                        Some(spot) => {
                            // What lost all of its parts is still named.
                            kept.insert(name.clone(), self.remove(inner, value, &spot.below).unwrap_or(Value::Null));
                        }
                        None => {
                            kept.insert(name.clone(), value.clone());
                        }
                    }
                }
                (!kept.is_empty()).then_some(Value::Object(kept))
            }
            Node::Items(items) => {
                let inner = self.item(shape);
                let kept: Vec<Value> = items
                    .iter()
                    .filter_map(|item| {
                        let spot = self.element(shape, item).ok().and_then(|element| set.get(&element).cloned());
                        match spot {
                            Some(spot) if spot.member => None,
                            Some(spot) => self.remove(inner, item, &spot.below),
                            None => Some(item.clone()),
                        }
                    })
                    .collect();
                (!kept.is_empty()).then_some(Value::Array(kept))
            }
        }
    }

    /// Only the fields of `set`; atomic ones as a whole.
    pub fn extract(self, shape: Shape, value: &Value, set: &FieldSet) -> Option<Value> {
        match node(shape, value) {
            Node::Leaf => Some(value.clone()),
            Node::Fields(map) => {
                let mut kept = Map::new();
                for (name, value) in map {
                    let Some(spot) = set.get_field(name) else { continue };
                    let inner = self.field_or_deduced(shape, name);
                    // A member with nothing below is owned by its name alone.
                    let part = self.extract(inner, value, &spot.below);
                    let part = part.or_else(|| spot.member.then(|| hollow(value)));
                    kept.extend(part.map(|part| (name.clone(), part)));
                }
                (!kept.is_empty()).then_some(Value::Object(kept))
            }
            Node::Items(items) => {
                let inner = self.item(shape);
                let parts = items.iter().filter_map(|item| {
                    let element = self.element(shape, item).ok()?;
                    let spot = set.get(&element)?;
                    if spot.below.is_empty() { Some(item.clone()) } else { self.extract(inner, item, &spot.below) }
                });
                let kept: Vec<Value> = parts.collect();
                (!kept.is_empty()).then_some(Value::Array(kept))
            }
        }
    }
}

/// A value of the same kind with nothing in it.
fn hollow(value: &Value) -> Value {
    match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        other => other.clone(),
    }
}

/// The elements of a list in their order, and where to find each.
struct Index {
    order: Vec<(PathElement, usize)>,
    /// Positions in `order`, by element.
    sorted: Vec<usize>,
}

impl Index {
    fn new(order: Vec<(PathElement, usize)>) -> Self {
        let mut sorted: Vec<usize> = (0..order.len()).collect();
        sorted.sort_by(|a, b| order[*a].0.cmp(&order[*b].0));
        Self { order, sorted }
    }

    fn place(&self, element: &PathElement) -> Option<usize> {
        let first = self.sorted.partition_point(|at| self.order[*at].0 < *element);
        self.sorted.get(first).filter(|at| self.order[**at].0 == *element).map(|_| first)
    }

    /// The item with this element, as an index of the list.
    fn find(&self, element: &PathElement) -> Option<usize> {
        self.place(element).map(|place| self.order[self.sorted[place]].1)
    }

    /// The same if it is the only one.
    fn find_single(&self, element: &PathElement) -> Option<usize> {
        let place = self.place(element)?;
        let next = self.sorted.get(place + 1);
        let alone = next.is_none_or(|next| self.order[*next].0 != *element);
        alone.then(|| self.order[self.sorted[place]].1)
    }
}
