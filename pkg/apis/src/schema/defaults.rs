//! Declared defaults, and a walk over every struct of an object.

use apimachinery::GroupVersionKind;
use serde_json::{Map, Value};

use super::table::{Base, Container, Type};

/// The declared default of the field at `path`, such as `spec.ports.protocol`: names only, through lists and maps.
pub fn default_value(gvk: &GroupVersionKind, path: &str) -> Option<Value> {
    let mut type_ = Type::of(gvk)?;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let field = type_.field(name)?;
        if names.peek().is_none() {
            return serde_json::from_str(field.default_text()).ok();
        }
        type_ = field.target()?;
    }
    None
}

/// Sets the declared defaults of missing fields in every struct that is there. Idempotent.
pub fn apply_defaults(gvk: &GroupVersionKind, object: &mut Value) {
    if let (Some(type_), Some(map)) = (Type::of(gvk), object.as_object_mut()) {
        walk_mut(type_, map, &mut set_defaults);
    }
}

fn set_defaults(type_: Type, map: &mut Map<String, Value>) {
    for field in type_.fields().filter(|f| !f.default_text().is_empty()) {
        // A default that vanishes in the canonical form ("" of an optional text) is as good as none.
        if map.contains_key(field.name())
            || (field.vanishes() && matches!(field.default_text(), "\"\"" | "0" | "false"))
        {
            continue;
        }
        if let Ok(default) = serde_json::from_str(field.default_text()) {
            map.insert(field.name().to_owned(), default);
        }
    }
}

/// Calls `visit` for every struct of an object, outer ones first, with its type.
pub fn walk_mut(type_: Type, map: &mut Map<String, Value>, visit: &mut impl FnMut(Type, &mut Map<String, Value>)) {
    visit(type_, map);
    for (name, value) in map.iter_mut() {
        let Some(field) = type_.field(name).filter(|f| f.base() == Base::Struct) else { continue };
        let Some(target) = field.target() else { continue };
        match (field.container(), value) {
            (Container::One, Value::Object(inner)) => walk_mut(target, inner, visit),
            (Container::List, Value::Array(items)) => {
                for inner in items.iter_mut().filter_map(Value::as_object_mut) {
                    walk_mut(target, inner, visit);
                }
            }
            (Container::Map, Value::Object(values)) => {
                for inner in values.values_mut().filter_map(Value::as_object_mut) {
                    walk_mut(target, inner, visit);
                }
            }
            _ => {}
        }
    }
}

/// The same for reading, with the path of each struct (empty for the root).
pub fn walk(
    type_: Type,
    map: &Map<String, Value>,
    path: &str,
    visit: &mut impl FnMut(Type, &Map<String, Value>, &str),
) {
    visit(type_, map, path);
    for (name, value) in map {
        let Some(field) = type_.field(name).filter(|f| f.base() == Base::Struct) else { continue };
        let Some(target) = field.target() else { continue };
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (field.container(), value) {
            (Container::One, Value::Object(inner)) => walk(target, inner, &at, visit),
            (Container::List, Value::Array(items)) => {
                for (i, inner) in items.iter().enumerate().filter_map(|(i, v)| Some((i, v.as_object()?))) {
                    walk(target, inner, &format!("{at}[{i}]"), visit);
                }
            }
            (Container::Map, Value::Object(values)) => {
                for (key, inner) in values.iter().filter_map(|(k, v)| Some((k, v.as_object()?))) {
                    walk(target, inner, &format!("{at}[{key}]"), visit);
                }
            }
            _ => {}
        }
    }
}
