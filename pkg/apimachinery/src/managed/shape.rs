//! How a value splits into fields, by the schema: what all walks over objects share.

use compact_str::CompactString;
use serde_json::{Map, Value};

use super::element::PathElement;
use crate::patch::{ListType, MapType, MergeField, MergeSchema, Present, TypeId, ValueType};

/// What a value is to server-side apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Owned as a whole: scalars, atomic lists, maps and structs.
    Leaf(ValueType),
    /// A struct: its fields are known by name.
    Struct(TypeId),
    /// A map: its keys are fields.
    Map(Items),
    /// A list whose items are told apart by these fields (comma-separated).
    Keyed(&'static str, Items),
    /// A list of unlike scalars.
    Set,
    /// As the value itself shows: maps are fields, everything else is a leaf.
    Deduced,
}

/// What items of a list or values of a map are: structs, or unknown.
type Items = Option<TypeId>;

pub(super) static NULL: Value = Value::Null;

/// Walks over values of the types of one schema.
#[derive(Clone, Copy)]
pub(super) struct Types<'a> {
    pub schema: &'a dyn MergeSchema,
}

impl<'a> Types<'a> {
    /// The shape of a whole object; without a type all is deduced.
    pub fn root(self, root: Option<TypeId>) -> Shape {
        root.map_or(Shape::Deduced, Shape::Struct)
    }

    /// `None`: the struct has no such field.
    pub fn field(self, shape: Shape, name: &str) -> Option<Shape> {
        match shape {
            Shape::Struct(id) => self.schema.field(id, name).map(|field| self.of_field(&field)),
            Shape::Map(items) => Some(self.of_items(items)),
            _ => Some(Shape::Deduced),
        }
    }

    /// As [`Self::field`]; what is not known is deduced.
    pub fn field_or_deduced(self, shape: Shape, name: &str) -> Shape {
        self.field(shape, name).unwrap_or(Shape::Deduced)
    }

    pub fn item(self, shape: Shape) -> Shape {
        match shape {
            Shape::Keyed(_, items) => self.of_items(items),
            Shape::Set => Shape::Leaf(ValueType::Scalar),
            _ => Shape::Deduced,
        }
    }

    fn of_field(self, field: &MergeField) -> Shape {
        match field.value {
            ValueType::Scalar => Shape::Leaf(field.value),
            ValueType::Any => Shape::Deduced,
            ValueType::Struct(_) | ValueType::Map(_) if field.map_type == MapType::Atomic => Shape::Leaf(field.value),
            ValueType::Struct(id) => self.of_items(Some(id)),
            ValueType::Map(items) => Shape::Map(items),
            ValueType::List(items) => match field.list_type {
                ListType::Atomic => Shape::Leaf(field.value),
                ListType::Set => Shape::Set,
                ListType::Map => Shape::Keyed(field.list_map_keys, items),
            },
        }
    }

    fn of_items(self, items: Items) -> Shape {
        match items {
            Some(id) if self.schema.is_atomic(id) => Shape::Leaf(ValueType::Struct(id)),
            Some(id) => Shape::Struct(id),
            None => Shape::Deduced,
        }
    }

    /// Fields of a value of this shape that upstream's typed form always writes.
    pub fn always_present(self, shape: Shape) -> &'a [(&'a str, Present)] {
        match shape {
            Shape::Struct(id) => self.schema.always_present(id),
            _ => &[],
        }
    }

    /// What tells an item of a keyed list or set from the others.
    pub fn element(self, shape: Shape, item: &Value) -> Result<PathElement, String> {
        match shape {
            Shape::Keyed(keys, items) => self.key_of(keys, items, item),
            _ => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                scalar => Ok(PathElement::Value(Box::new(scalar.clone()))),
            },
        }
    }

    /// Missing keys have their declared defaults, or are left out as long as there are others.
    fn key_of(self, keys: &'static str, items: Items, item: &Value) -> Result<PathElement, String> {
        let Value::Object(map) = item else {
            let what = if item.is_null() { "a null element" } else { "non-map elements" };
            return Err(format!("associative list with keys may not have {what}"));
        };
        let mut fields = Vec::with_capacity(1 + usize::from(keys.contains(',')));
        for name in keys.split(',') {
            let value = map.get(name).cloned().or_else(|| {
                let default = self.schema.default_text(items?, name);
                serde_json::from_str(default).ok()
            });
            fields.extend(value.map(|value| (CompactString::const_new(name), value)));
        }
        if fields.is_empty() {
            let names: Vec<String> = keys.split(',').map(|name| format!("{name:?}")).collect();
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
                 for any key fields)",
                names.join(" ")
            ));
        }
        Ok(PathElement::key(fields))
    }
}

/// What stands at a value when it is walked with a shape.
pub(super) enum Node<'v> {
    Leaf,
    Fields(&'v Map<String, Value>),
    Items(&'v [Value]),
}

/// A value as its shape wants it; a value of another form is a leaf.
pub(super) fn node(shape: Shape, value: &Value) -> Node<'_> {
    match (shape, value) {
        (Shape::Struct(_) | Shape::Map(_) | Shape::Deduced, Value::Object(map)) => Node::Fields(map),
        (Shape::Keyed(..) | Shape::Set, Value::Array(items)) => Node::Items(items),
        _ => Node::Leaf,
    }
}

/// True for null, `{}` and `[]`: to a walk, they are leaves if nothing else stands against them.
pub(super) fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
