use std::sync::{Arc, LazyLock};

use apimachinery::managed::Ordered;
use bytes::Bytes;
use mvcc::{Record, Revision};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value};

use crate::Attributes;
use crate::encodings::Slot;

/// An object on its way into the store.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Canonical JSON; the value of `metadata.resourceVersion` is an empty string.
    pub body: Bytes,
    /// The offset between the quotes of that string.
    pub stamp_at: u32,
    /// What selectors look at.
    pub attributes: Attributes,
}

impl NewObject {
    /// Writes `object` once, leaving the place for its revision open. Whatever `metadata.resourceVersion` it has is
    /// not written.
    pub fn encode(object: &Value, attributes: Attributes) -> Self {
        Self::encode_with(object, None, attributes)
    }

    /// The same with this JSON as `metadata.managedFields`, in place of what the object has there.
    pub fn encode_with(object: &Value, managed_fields: Option<&str>, attributes: Attributes) -> Self {
        let mut writer = Writer { out: Vec::with_capacity(CAPACITY), stamp_at: 0, managed_fields };
        let empty = Map::new();
        writer.object(object.as_object().unwrap_or(&empty));
        Self { body: Bytes::from(writer.out), stamp_at: writer.stamp_at as u32, attributes }
    }
}

struct Writer<'a> {
    out: Vec<u8>,
    stamp_at: usize,
    managed_fields: Option<&'a str>,
}

/// Most objects are smaller.
const CAPACITY: usize = 4096;

const METADATA: &str = "metadata";
const RESOURCE_VERSION: &str = "resourceVersion";
const MANAGED_FIELDS: &str = "managedFields";

impl Writer<'_> {
    fn object(&mut self, object: &Map<String, Value>) {
        let empty = Map::new();
        let metadata = object.get(METADATA).and_then(Value::as_object).unwrap_or(&empty);
        self.fields(object, &[METADATA], |writer, _| writer.metadata(metadata));
    }

    fn metadata(&mut self, metadata: &Map<String, Value>) {
        let special: &[&str] = match self.managed_fields {
            Some(_) => &[MANAGED_FIELDS, RESOURCE_VERSION],
            None => &[RESOURCE_VERSION],
        };
        self.fields(metadata, special, |writer, name| match (name, writer.managed_fields) {
            (MANAGED_FIELDS, Some(list)) => writer.out.extend_from_slice(list.as_bytes()),
            _ => {
                writer.out.push(b'"');
                writer.stamp_at = writer.out.len();
                writer.out.push(b'"');
            }
        });
    }

    /// Writes a map in the order of its keys, with `special` (in order, too) written by `write` whether or not the map
    /// has them.
    fn fields(&mut self, map: &Map<String, Value>, special: &[&str], write: impl Fn(&mut Self, &str)) {
        let mut special = special.iter().peekable();
        self.out.push(b'{');
        for (key, value) in map {
            while let Some(name) = special.next_if(|name| **name < key.as_str()) {
                self.key(name);
                write(self, name);
            }
            self.key(key);
            match special.next_if(|name| **name == key.as_str()) {
                Some(name) => write(self, name),
                None => self.value(value),
            }
        }
        for name in special {
            self.key(name);
            write(self, name);
        }
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.json(key);
        self.out.push(b':');
    }

    fn value(&mut self, value: &Value) {
        self.json(&Ordered(value));
    }

    fn json(&mut self, value: &(impl serde::Serialize + ?Sized)) {
        // Trees and strings always serialise, and a Vec takes everything.
        let _ = serde_json::to_writer(&mut self.out, value);
    }
}

/// An object of the store. Cloning shares it.
#[derive(Clone, Debug)]
pub struct StoredObject {
    record: Arc<Record>,
}

/// What is derived from an object and kept with it.
struct Derived {
    attributes: Attributes,
    encoding: Slot,
}

static DECODES: LazyLock<Counter> = LazyLock::new(|| {
    let help = "Stored objects that were parsed. Reads of the stored version in JSON parse none.";
    component_base::metrics::register("coracle_storage_object_decodes", help, Counter::default())
});

static NO_ATTRIBUTES: LazyLock<Attributes> = LazyLock::new(Attributes::default);

impl StoredObject {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record }
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Its key. Keys are written as text and read as such.
    pub fn key(&self) -> &str {
        std::str::from_utf8(self.record.key()).unwrap_or_default()
    }

    /// Canonical JSON with the resourceVersion in it.
    pub fn body(&self) -> &Bytes {
        self.record.body()
    }

    /// The revision that wrote it; for the object of a deletion event the deletion's.
    pub fn revision(&self) -> Revision {
        self.record.mod_revision()
    }

    /// The revision that created it.
    pub fn create_revision(&self) -> Revision {
        self.record.create_revision()
    }

    fn derived(&self) -> Option<&Derived> {
        self.record.extension(|| Derived {
            attributes: Attributes::decode(self.record.attributes()).unwrap_or_default(),
            encoding: Slot::default(),
        })
    }

    /// What selectors look at. Decoded at the first call and shared by all who have the object.
    pub fn attributes(&self) -> &Attributes {
        self.derived().map_or(&NO_ATTRIBUTES, |derived| &derived.attributes)
    }

    /// The object in a second encoding (protobuf), made at the first call and shared by all who have the object, while
    /// there is room for it among the encodings of all objects.
    pub fn encoding(&self, make: impl FnOnce(&Self) -> Bytes) -> Bytes {
        match self.derived() {
            Some(derived) => derived.encoding.get_or_make(|| make(self)),
            None => make(self),
        }
    }

    /// The same object carrying another revision: how a watcher sees it that does not see the change of that revision.
    #[must_use]
    pub fn restamped(&self, revision: Revision) -> Self {
        Self::new(Arc::new(self.record.restamped(revision)))
    }

    /// Parses the body. What the store holds was written by [`NewObject::encode`] and is JSON. Counted: nothing on the way
    /// of a GET or LIST in the stored version may need it.
    pub fn decode(&self) -> Value {
        DECODES.inc();
        serde_json::from_slice(self.body()).unwrap_or_else(|error| {
            tracing::error!(key = self.key(), %error, "a stored object is not JSON");
            Value::Null
        })
    }

    /// Whether writing `new` would change nothing but the revision.
    pub(crate) fn same_as(&self, new: &NewObject) -> bool {
        let (head, tail) = self.record.body_around_stamp();
        let at = new.stamp_at as usize;
        new.body.len() == head.len() + tail.len() && new.body.get(..at) == Some(head) && &new.body[at..] == tail
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The written bytes are what serde_json writes for the same tree with an empty resourceVersion.
    fn check(object: Value) {
        let new = NewObject::encode(&object, Attributes::default());
        let mut expected = object;
        if !expected[METADATA].is_object() {
            expected[METADATA] = json!({});
        }
        expected[METADATA][RESOURCE_VERSION] = json!("");
        assert_eq!(std::str::from_utf8(&new.body).unwrap(), expected.to_string());
        let around = &new.body[new.stamp_at as usize - 19..=new.stamp_at as usize];
        assert_eq!(around, b"\"resourceVersion\":\"\"");
    }

    #[test]
    fn a_list_of_owners_is_written_as_if_it_were_in_the_tree() {
        let list = json!([{"manager": "m", "fieldsV1": {"f:data": {}}}]);
        for metadata in [json!({}), json!({"name": "a", "uid": "u"}), json!({"labels": {}, "managedFields": [1]})] {
            let mut object = json!({"kind": "A", "metadata": metadata});
            let text = list.to_string();
            let beside = NewObject::encode_with(&object, Some(&text), Attributes::default());
            object["metadata"]["managedFields"] = list.clone();
            let inside = NewObject::encode(&object, Attributes::default());
            assert_eq!((beside.body, beside.stamp_at), (inside.body, inside.stamp_at));
        }
    }

    #[test]
    fn encoding_is_canonical_and_leaves_the_revision_open() {
        check(json!({}));
        check(json!({"kind": "A"}));
        check(json!({"metadata": {}, "spec": {"b": [1, "x", null], "a": {"resourceVersion": "7"}}}));
        check(
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"resourceVersion": "12", "name": "a", "uid": "u"}}),
        );
        check(json!({"data": {"metadata": "\"resourceVersion\":\"\""}, "metadata": {"name": "z"}, "zeta": 1.5}));
        check(json!({"metadata": null, "a": "\u{1f600}\n"}));
    }
}
