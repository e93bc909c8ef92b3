//! Short ways to read and to fill in object trees.

use serde_json::{Map, Value};

/// The text that a field has, or an empty one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The elements of a list field, none if it is none.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Declares a view of objects with many fields of which most are absent: all that are looked at, found in one walk
/// instead of a search for each. A missing field reads as null.
macro_rules! view {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident { $($field:ident: $key:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy)]
        $visibility struct $name<'a> {
            $($visibility $field: &'a serde_json::Value,)*
        }

        impl<'a> $name<'a> {
            $visibility fn of(object: &'a serde_json::Value) -> Self {
                let mut view = Self { $($field: &serde_json::Value::Null,)* };
                for (key, value) in object.as_object().into_iter().flatten() {
                    match key.as_str() {
                        $($key => view.$field = value,)*
                        _ => {}
                    }
                }
                view
            }
        }
    };
}
pub(crate) use view;

/// Reading a field of a tree; a missing field and a field of another shape read as empty.
pub trait Tree {
    fn field(&self, name: &str) -> &Value;

    /// The field is there and not null.
    fn has(&self, name: &str) -> bool {
        !self.field(name).is_null()
    }
    fn text(&self, name: &str) -> &str {
        text(self.field(name))
    }
    fn int(&self, name: &str) -> Option<i64> {
        self.field(name).as_i64()
    }
    fn flag(&self, name: &str) -> bool {
        self.field(name).as_bool().unwrap_or(false)
    }
    fn list(&self, name: &str) -> &[Value] {
        items(self.field(name))
    }
    /// The strings of a list field.
    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name).iter().filter_map(Value::as_str)
    }
    /// The entries of a map field.
    fn entries(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.field(name).as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }
}

impl Tree for Value {
    fn field(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

impl Tree for Map<String, Value> {
    fn field(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&Value::Null)
    }
}

/// Filling in fields of an object.
pub trait Fill {
    /// Sets a field that is missing or null.
    fn default_value(&mut self, name: &str, value: impl FnOnce() -> Value);
    /// Sets a text that is missing, null or empty: for fields that cannot tell empty from unset.
    fn default_text(&mut self, name: &str, text: &str);
    /// Sets a number that is missing, null or zero: for fields that cannot tell zero from unset.
    fn default_nonzero(&mut self, name: &str, number: i64);
    /// The object at `name`, if it is one.
    fn sub(&mut self, name: &str) -> Option<&mut Map<String, Value>>;
    /// The object at `name`, made if missing.
    fn sub_or_new(&mut self, name: &str) -> &mut Map<String, Value>;
    /// Visits the objects of a list field.
    fn each(&mut self, name: &str, visit: impl FnMut(&mut Map<String, Value>));
    /// Visits the fields that are objects, by name: one walk instead of a search for each that may be there.
    fn each_object(&mut self, visit: impl FnMut(&str, &mut Map<String, Value>));
}

/// Visits the objects of a list.
pub fn each_of(list: &mut Value, visit: impl FnMut(&mut Map<String, Value>)) {
    list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(visit);
}

impl Fill for Map<String, Value> {
    fn default_value(&mut self, name: &str, value: impl FnOnce() -> Value) {
        if self.get(name).is_none_or(Value::is_null) {
            self.insert(name.to_owned(), value());
        }
    }

    fn default_text(&mut self, name: &str, text: &str) {
        if self.get(name).is_none_or(|v| v.is_null() || v == "") {
            self.insert(name.to_owned(), text.into());
        }
    }

    fn default_nonzero(&mut self, name: &str, number: i64) {
        if self.get(name).is_none_or(|v| v.is_null() || v == 0) {
            self.insert(name.to_owned(), number.into());
        }
    }

    fn sub(&mut self, name: &str) -> Option<&mut Map<String, Value>> {
        self.get_mut(name).and_then(Value::as_object_mut)
    }

    fn sub_or_new(&mut self, name: &str) -> &mut Map<String, Value> {
        if !self.get(name).is_some_and(Value::is_object) {
            self.insert(name.to_owned(), Value::Object(Map::new()));
        }
        apimachinery::meta::object_mut(self.entry(name).or_insert(Value::Null))
    }

    fn each(&mut self, name: &str, visit: impl FnMut(&mut Map<String, Value>)) {
        if let Some(list) = self.get_mut(name) {
            each_of(list, visit);
        }
    }

    fn each_object(&mut self, mut visit: impl FnMut(&str, &mut Map<String, Value>)) {
        for (name, value) in self.iter_mut() {
            if let Some(fields) = value.as_object_mut() {
                visit(name, fields);
            }
        }
    }
}

/// `spec` of an object, if it has one.
pub fn spec_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.as_object_mut().and_then(|o| o.sub("spec"))
}
