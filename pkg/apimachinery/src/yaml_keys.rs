//! Keys that stand twice in YAML, as Go's strict reader tells them: by the lines of their values.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::decode::{STRICT_ERRORS_MAX, yaml_options};

/// `line 3: key "a" already set in map` for each key of the first document that its map had already; what is wrong within
/// a value comes before what is wrong with its key. Nothing for what is no YAML.
pub fn repeated(text: &str) -> Vec<String> {
    let documents = serde_saphyr::from_multiple_with_options::<Faults>(text, yaml_options());
    let first = documents.ok().and_then(|documents| documents.into_iter().next());
    first.map(|faults| faults.0).unwrap_or_default()
}

struct Faults(Vec<String>);

impl<'de> Deserialize<'de> for Faults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk).map(Faults)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_i128<E>(self, _: i128) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_u128<E>(self, _: u128) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Faults(faults)) = seq.next_element()? {
            put(&mut all, faults);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut all, mut keys) = (Vec::new(), HashSet::new());
        while let Some(key) = access.next_key::<String>()? {
            if all.len() >= STRICT_ERRORS_MAX {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let Spanned { value: Faults(faults), referenced, .. } = access.next_value::<Spanned<Faults>>()?;
            put(&mut all, faults);
            if !keys.insert(key.clone()) {
                put(&mut all, vec![format!("line {}: key {key:?} already set in map", referenced.line())]);
            }
        }
        Ok(all)
    }
}

fn put(all: &mut Vec<String>, more: Vec<String>) {
    let room = STRICT_ERRORS_MAX.saturating_sub(all.len());
    all.extend(more.into_iter().take(room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_line_and_those_within_first() {
        for (text, want) in [
            ("a: 1\nb: 2\n", ""),
            ("a: 1\nb: 2\na: 3\n", r#"line 3: key "a" already set in map"#),
            (
                "a: 1\na:\n  b: 1\n  c: x\n  b: 2\n",
                "line 5: key \"b\" already set in map, line 3: key \"a\" already set in map",
            ),
            (
                "l:\n- x: 1\n  x: 2\n- y: ~\n  y: []\n",
                "line 3: key \"x\" already set in map, line 5: key \"y\" already set in map",
            ),
            (
                r#"{"a":1,"m":{"b":1,"b":2},"a":3}"#,
                "line 1: key \"b\" already set in map, line 1: key \"a\" already set in map",
            ),
            ("a: [", ""),
        ] {
            assert_eq!(repeated(text).join(", "), want, "{text}");
        }
    }
}
