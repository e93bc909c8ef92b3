//! Whether a configuration can be applied: every field known, of the right type, no two items with one key.

use std::fmt;

use serde_json::{Map, Value};

use super::element::{Path, PathElement};
use super::shape::{Shape, Types};
use crate::decode::STRICT_ERRORS_MAX;
use crate::patch::{ScalarKind, TypeId, ValueType};

/// What is wrong with a configuration, in upstream's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeErrors(Vec<(Path, String)>);

impl fmt::Display for TypeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(path, why)] = self.0.as_slice() {
            return write_error(f, path, why);
        }
        f.write_str("errors:")?;
        for (path, why) in &self.0 {
            f.write_str("\n  ")?;
            write_error(f, path, why)?;
        }
        Ok(())
    }
}

fn write_error(f: &mut fmt::Formatter<'_>, path: &Path, why: &str) -> fmt::Result {
    if path.0.is_empty() { f.write_str(why) } else { write!(f, "{path}: {why}") }
}

impl Types<'_> {
    /// Checks a whole object.
    pub fn check(self, shape: Shape, value: &Value) -> Result<(), TypeErrors> {
        let mut checker = Checker { types: self, path: Path::default(), errors: TypeErrors::default() };
        checker.value(shape, ScalarKind::Any, value);
        if checker.errors.0.is_empty() { Ok(()) } else { Err(checker.errors) }
    }
}

struct Checker<'a> {
    types: Types<'a>,
    path: Path,
    errors: TypeErrors,
}

impl Checker<'_> {
    fn refuse(&mut self, why: impl Into<String>) {
        if self.errors.0.len() < STRICT_ERRORS_MAX {
            self.errors.0.push((self.path.clone(), why.into()));
        }
    }

    fn below(&mut self, element: PathElement, visit: impl FnOnce(&mut Self)) {
        self.path.0.push(element);
        visit(self);
        self.path.0.pop();
    }

    /// `scalar` is what scalars below are where the shape does not say. Null is of every type.
    fn value(&mut self, shape: Shape, scalar: ScalarKind, value: &Value) {
        if value.is_null() {
            return;
        }
        match (shape, value) {
            (Shape::Leaf(ValueType::Scalar), _) => self.refuse_if(misfit(scalar, value)),
            (Shape::Deduced, Value::Object(_) | Value::Array(_)) => {}
            (Shape::Deduced, _) => self.refuse_if(misfit(scalar, value)),
            (Shape::Leaf(ValueType::List(items)), Value::Array(values)) => self.atomic_items(items, scalar, values),
            (Shape::Leaf(ValueType::Struct(id)), Value::Object(map)) => self.fields(Shape::Struct(id), scalar, map),
            (Shape::Leaf(ValueType::Map(items)), Value::Object(map)) => self.fields(Shape::Map(items), scalar, map),
            (Shape::Leaf(ValueType::Any), _) => {}
            (Shape::Struct(_) | Shape::Map(_), Value::Object(map)) => self.fields(shape, scalar, map),
            (Shape::Keyed(..) | Shape::Set, Value::Array(items)) => self.items(shape, scalar, items),
            (Shape::Leaf(ValueType::List(_)) | Shape::Keyed(..) | Shape::Set, other) => {
                self.refuse(format!("expected list, got &{{{}}}", go_text(other)));
            }
            (_, other) => self.refuse(format!("expected map, got &{{{}}}", go_text(other))),
        }
    }

    fn refuse_if(&mut self, why: Option<String>) {
        why.into_iter().for_each(|why| self.refuse(why));
    }

    fn fields(&mut self, shape: Shape, scalar: ScalarKind, map: &Map<String, Value>) {
        for (name, value) in map {
            let Some(inner) = self.types.field(shape, name) else {
                self.below(PathElement::field(name), |at| at.refuse("field not declared in schema"));
                // As upstream: what follows an unknown field is not looked at.
                return;
            };
            let scalar = match shape {
                Shape::Struct(id) => self.types.schema.scalar(id, name),
                _ => scalar,
            };
            self.below(PathElement::field(name), |at| at.value(inner, scalar, value));
        }
    }

    fn items(&mut self, shape: Shape, scalar: ScalarKind, items: &[Value]) {
        let inner = self.types.item(shape);
        let mut seen = std::collections::BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            match self.types.element(shape, item) {
                Err(why) => self.refuse(format!("element {i}: {why}")),
                Ok(element) => {
                    if !seen.insert(element.clone()) {
                        self.refuse(format!("duplicate entries for key {element}"));
                    }
                    self.below(element, |at| at.value(inner, scalar, item));
                }
            }
        }
    }

    fn atomic_items(&mut self, items: Option<TypeId>, scalar: ScalarKind, values: &[Value]) {
        let inner = items.map_or(Shape::Deduced, Shape::Struct);
        for (i, item) in values.iter().enumerate() {
            let index = PathElement::Index(i64::try_from(i).unwrap_or(i64::MAX));
            self.below(index, |at| at.value(inner, scalar, item));
        }
    }
}

/// Why a value is no scalar of this kind, in Go's words.
fn misfit(kind: ScalarKind, value: &Value) -> Option<String> {
    match (kind, value) {
        (ScalarKind::Text, Value::String(_))
        | (ScalarKind::Number, Value::Number(_))
        | (ScalarKind::Bool, Value::Bool(_))
        | (ScalarKind::Any, Value::String(_) | Value::Number(_) | Value::Bool(_)) => None,
        (ScalarKind::Text, Value::Object(_) | Value::Array(_)) => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)))
        }
        (ScalarKind::Text, other) => Some(format!("expected string, got &value.valueUnstructured{{Value:{other}}}")),
        (ScalarKind::Number, other) => Some(format!("expected numeric (int or float), got {}", go_type(other))),
        (ScalarKind::Bool, other) => Some(format!("expected boolean, got &{{{}}}", go_text(other))),
        (ScalarKind::Any, other) => Some(format!("expected any scalar, got &{{{}}}", go_text(other))),
    }
}

/// The type of a decoded value as Go names it.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A decoded value as Go code.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// A tree as Go prints it: `map[spec:map[replicas:x]]`.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}
