//! `metadata.managedFields`: who set which fields, how and when.

use serde_json::{Map, Value};

use super::fields_v1::write_text;
use super::set::FieldSet;

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub manager: String,
    pub operation: Operation,
    /// The version that `fields` is written in.
    pub api_version: String,
    /// Empty for the main endpoint.
    pub subresource: String,
    /// RFC 3339 in seconds; `None` if it was never known.
    pub time: Option<String>,
    pub fields: FieldSet,
}

impl Entry {
    /// Whether both entries are of one manager. Appliers stay the same in every version.
    pub fn is_same_manager(&self, other: &Self) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    pub fn is_applier(&self) -> bool {
        self.operation == Operation::Apply
    }

    /// Unix seconds; 0 if there is no time.
    pub(super) fn seconds(&self) -> i64 {
        let time = self.time.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        time.map_or(0, jiff::Timestamp::as_second)
    }

    /// The manager as messages name it: `"kubectl" with subresource "scale" using apps/v1`.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }

    fn decode(index: usize, value: &Value) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match value.get("operation").and_then(Value::as_str) {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType").as_str() {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
        }
        let fields = FieldSet::from_value(value.get("fieldsV1").unwrap_or(&Value::Null))
            .map_err(|why| format!("error decoding set: {why}"))?;
        Ok(Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields,
        })
    }

    fn encode(&self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("apiVersion", self.api_version.as_str().into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.to_value());
        put("operation", self.operation.as_str().into());
        if !self.manager.is_empty() {
            put("manager", self.manager.as_str().into());
        }
        if !self.subresource.is_empty() {
            put("subresource", self.subresource.as_str().into());
        }
        if let Some(time) = &self.time {
            put("time", time.as_str().into());
        }
        Value::Object(map)
    }

    /// What [`Self::encode`] makes, as text.
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"apiVersion\":");
        write_text(out, &self.api_version);
        out.extend_from_slice(b",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":");
        self.fields.write_json(out);
        let rest = [
            ("manager", Some(self.manager.as_str()).filter(|name| !name.is_empty())),
            ("operation", Some(self.operation.as_str())),
            ("subresource", Some(self.subresource.as_str()).filter(|name| !name.is_empty())),
            ("time", self.time.as_deref()),
        ];
        for (name, value) in rest {
            let Some(value) = value else { continue };
            out.push(b',');
            write_text(out, name);
            out.push(b':');
            write_text(out, value);
        }
        out.push(b'}');
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers(pub Vec<Entry>);

impl Managers {
    /// Reads `metadata.managedFields`. Of two entries of one manager the later wins.
    pub fn decode(list: Option<&Value>) -> Result<Self, String> {
        let mut managers = Self::default();
        for (i, value) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
            managers.put(Entry::decode(i, value)?);
        }
        Ok(managers)
    }

    /// The list to store: appliers first, older ones before newer ones. `None` if there is nothing to say.
    pub fn encode(mut self) -> Option<Value> {
        self.sort();
        (!self.0.is_empty()).then(|| self.0.iter().map(Entry::encode).collect())
    }

    /// The same as text, as [`Ordered`](super::Ordered) writes it.
    pub fn to_json(mut self) -> Option<String> {
        self.sort();
        if self.0.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(1024);
        for entry in &self.0 {
            out.push(if out.is_empty() { b'[' } else { b',' });
            entry.write_json(&mut out);
        }
        out.push(b']');
        // Only JSON was written.
        String::from_utf8(out).ok()
    }

    fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            (a.operation, a.seconds())
                .cmp(&(b.operation, b.seconds()))
                .then_with(|| a.manager.cmp(&b.manager))
                .then_with(|| a.api_version.cmp(&b.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn find(&self, like: &Entry) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_same_manager(like))
    }

    /// Adds an entry in place of the one of the same manager.
    pub fn put(&mut self, entry: Entry) {
        match self.0.iter_mut().find(|other| other.is_same_manager(&entry)) {
            Some(slot) => *slot = entry,
            None => self.0.push(entry),
        }
    }

    /// True if the list that a client sent says that all be forgotten: `[]` or `[{}]`.
    pub fn is_reset(list: Option<&Value>) -> bool {
        match list.and_then(Value::as_array).map(Vec::as_slice) {
            Some([]) => true,
            Some([only]) => only.as_object().is_some_and(Map::is_empty),
            _ => false,
        }
    }
}
