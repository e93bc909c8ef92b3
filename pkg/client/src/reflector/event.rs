//! What a watch tells.

use std::fmt;
use std::marker::PhantomData;

use compact_str::CompactString;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One line of a watch. The object is parsed once, as what it is to the sink: there may be thousands a second.
pub(super) enum Event<T> {
    Changed(T),
    Deleted(T),
    Bookmark(JustRevision),
    Error(Box<RawValue>),
    Unknown(CompactString),
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Event<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor(PhantomData))
    }
}

struct EventVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for EventVisitor<T> {
    type Value = Event<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<T>, A::Error> {
        let (mut kind, mut early, mut event) = (None::<CompactString>, None::<Box<RawValue>>, None);
        while let Some(key) = map.next_key::<CompactString>()? {
            match (key.as_str(), &kind) {
                ("type", _) => kind = Some(map.next_value()?),
                ("object", Some(kind)) => event = Some(map.next_value_seed(Object(kind, PhantomData))?),
                // No server is known to write the object first.
                ("object", None) => early = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match (event, kind, early) {
            (Some(event), ..) => Ok(event),
            (None, Some(kind), Some(raw)) => {
                let mut raw = serde_json::Deserializer::from_str(raw.get());
                Object(&kind, PhantomData).deserialize(&mut raw).map_err(A::Error::custom)
            }
            (None, None, _) => Err(A::Error::missing_field("type")),
            (None, Some(_), None) => Err(A::Error::missing_field("object")),
        }
    }
}

/// The object of an event of a type.
struct Object<'k, T>(&'k str, PhantomData<T>);

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Object<'_, T> {
    type Value = Event<T>;

    fn deserialize<D: Deserializer<'de>>(self, object: D) -> Result<Event<T>, D::Error> {
        match self.0 {
            "ADDED" | "MODIFIED" => T::deserialize(object).map(Event::Changed),
            "DELETED" => T::deserialize(object).map(Event::Deleted),
            "BOOKMARK" => JustRevision::deserialize(object).map(Event::Bookmark),
            "ERROR" => Box::deserialize(object).map(Event::Error),
            other => IgnoredAny::deserialize(object).map(|_| Event::Unknown(other.into())),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct JustRevision {
    pub(super) metadata: Revision,
}

#[derive(Deserialize)]
pub(super) struct Revision {
    #[serde(default, rename = "resourceVersion")]
    pub(super) resource_version: String,
}
