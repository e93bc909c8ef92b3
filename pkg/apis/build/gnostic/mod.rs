//! OpenAPI in the protobuf forms of gnostic, which client-go asks for. Field numbers are facts of those formats.

pub mod v2;
pub mod v3;

use serde_json::{Map, Value};

/// A message that is being written.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn message(&mut self, field: u64, message: Message) {
        self.bytes(field, &message.0);
    }

    /// What is not true is not written.
    pub fn flag(&mut self, field: u64, value: &Value) {
        if value == true {
            self.truth(field, true);
        }
    }

    pub fn truth(&mut self, field: u64, value: bool) {
        self.varint(field << 3);
        self.varint(u64::from(value));
    }

    pub fn double(&mut self, field: u64, value: f64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// One text field for each name of `map`.
    pub fn texts_of(&mut self, map: &Value, fields: &[(u64, &str)]) {
        fields.iter().for_each(|(field, name)| self.text(*field, &map[*name]));
    }

    /// The operations of a path: both versions number the methods in this order, from another number on.
    pub fn operations(&mut self, first: u64, item: &Value, operation: fn(&Value) -> Self) {
        for (field, method) in (first..).zip(["get", "put", "post", "delete", "options", "head", "patch"]) {
            if item[method].is_object() {
                self.message(field, operation(&item[method]));
            }
        }
    }

    pub fn texts(&mut self, field: u64, value: &Value) {
        value.as_array().into_iter().flatten().for_each(|v| self.text(field, v));
    }

    /// `NamedX { name = 1, value = 2 }` for each entry.
    pub fn named(&mut self, field: u64, map: &Value, write: impl Fn(&Value) -> Message) {
        for (name, value) in map.as_object().into_iter().flatten() {
            let mut entry = Message::default();
            entry.bytes(1, name.as_bytes());
            entry.message(2, write(value));
            self.message(field, entry);
        }
    }

    pub fn extensions(&mut self, field: u64, map: &Value) {
        let all = map.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"));
        let extensions: Map<String, Value> = all.map(|(n, v)| (n.clone(), v.clone())).collect();
        self.named(field, &extensions.into(), any);
    }
}

/// Wraps a message as the only field of another.
pub fn wrap(field: u64, inner: Message) -> Message {
    let mut outer = Message::default();
    outer.message(field, inner);
    outer
}

/// Any value, as YAML; JSON is YAML.
pub fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, format!("{value}\n").as_bytes());
    message
}
