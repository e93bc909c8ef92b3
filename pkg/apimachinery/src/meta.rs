//! Reading and writing `metadata` of an untyped object. Readers answer empty or `None` where the shape is wrong:
//! shapes are checked once, at decoding.

use serde_json::{Map, Value};

/// Annotations of one object together, in bytes.
pub const ANNOTATIONS_SIZE_MAX: usize = 256 * 1024;

/// Access to `apiVersion`, `kind` and `metadata` of an object tree.
pub trait ObjectExt {
    fn api_version(&self) -> &str;
    fn kind(&self) -> &str;
    /// The text at `metadata.<field>`, or empty.
    fn meta_str(&self, field: &str) -> &str;
    /// `metadata`, made an object where it is missing.
    fn metadata_mut(&mut self) -> &mut Map<String, Value>;
    /// The value at a `/`-separated path of field names below the root, e.g. `at("spec/replicas")`.
    fn at(&self, path: &str) -> Option<&Value>;

    fn name(&self) -> &str {
        self.meta_str("name")
    }
    fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }
    fn uid(&self) -> &str {
        self.meta_str("uid")
    }
    fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }
    fn generation(&self) -> i64 {
        self.at("metadata/generation").and_then(Value::as_i64).unwrap_or(0)
    }
    fn is_deleting(&self) -> bool {
        !self.meta_str("deletionTimestamp").is_empty()
    }
    fn labels(&self) -> Option<&Map<String, Value>> {
        self.at("metadata/labels").and_then(Value::as_object)
    }
    fn annotations(&self) -> Option<&Map<String, Value>> {
        self.at("metadata/annotations").and_then(Value::as_object)
    }
    fn finalizers(&self) -> Vec<&str> {
        let list = self.at("metadata/finalizers").and_then(Value::as_array);
        list.map(|l| l.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }
    fn str_at(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }
    fn i64_at(&self, path: &str) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }
    fn array_at(&self, path: &str) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

impl ObjectExt for Value {
    fn api_version(&self) -> &str {
        self.get("apiVersion").and_then(Value::as_str).unwrap_or("")
    }
    fn kind(&self) -> &str {
        self.get("kind").and_then(Value::as_str).unwrap_or("")
    }
    fn meta_str(&self, field: &str) -> &str {
        self.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or("")
    }
    fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        let object = object_mut(self);
        // It nearly always is there, and asking for an entry costs a key of its own.
        if !object.contains_key("metadata") {
            object.insert("metadata".to_owned(), Value::Null);
        }
        object_mut(&mut object["metadata"])
    }
    fn at(&self, path: &str) -> Option<&Value> {
        // Paths are short: to look at each byte is cheaper than a search that is made for long texts.
        let (mut value, mut rest) = (self, path);
        while let Some(end) = rest.bytes().position(|byte| byte == b'/') {
            value = value.get(&rest[..end])?;
            rest = &rest[end + 1..];
        }
        value.get(rest)
    }
}

/// `value` as an object, replacing whatever else it was.
pub fn object_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // The line above made it an object.
        _ => unreachable!("value was just made an object"),
    }
}
