//! Request bodies to trees: JSON and YAML, with every duplicate key reported and depth bounded. The length of a body is
//! bounded by who reads it.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::status::{ApiError, ApiResult};

/// Deeper trees are refused; upstream's limit for JSON is far above what any kind needs.
pub const DEPTH_MAX: usize = 120;
/// Strict errors beyond this many are not reported.
pub const STRICT_ERRORS_MAX: usize = 100;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    Json,
    Yaml,
}

/// A body as a tree, with what strict field validation wants to know.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub object: Value,
    /// Paths of keys that stood twice, such as `spec.containers[0].image`. The last one won.
    pub duplicates: Vec<String>,
}

/// Reads one document.
pub fn decode(body: &[u8], content_type: ContentType) -> ApiResult<Decoded> {
    let duplicates = RefCell::new(Vec::new());
    let seed = Node { parent: None, depth: 0, duplicates: &duplicates };
    let object = match content_type {
        ContentType::Json => decode_json(body, seed)?,
        ContentType::Yaml => decode_yaml(body, &duplicates)?,
    };
    Ok(Decoded { object, duplicates: duplicates.into_inner() })
}

fn decode_json(body: &[u8], seed: Node<'_>) -> ApiResult<Value> {
    let refused = |e: serde_json::Error| {
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {}", json_error(&e, body)))
    };
    // What is known to be UTF-8 as a whole is not checked again string by string. What is not fails where it stops to be.
    let read = match std::str::from_utf8(body) {
        Ok(text) => read_json(serde_json::Deserializer::from_str(text), seed),
        Err(_) => read_json(serde_json::Deserializer::from_slice(body), seed),
    };
    read.map_err(refused)
}

fn read_json<'de, R: serde_json::de::Read<'de>>(
    mut reader: serde_json::Deserializer<R>,
    seed: Node<'_>,
) -> Result<Value, serde_json::Error> {
    let value = seed.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The refusal in Go's words; in ours where the text is JSON by its grammar, but more than is read (too deep, say).
fn json_error(error: &serde_json::Error, body: &[u8]) -> String {
    crate::json_syntax::fault(body).unwrap_or_else(|| error.to_string())
}

thread_local! {
    /// serde-saphyr takes no seed: the sink for duplicates reaches the visitor this way, for the time of one call.
    static YAML_DUPLICATES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct YamlDocument(Value);

impl<'de> serde::Deserialize<'de> for YamlDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duplicates = RefCell::new(Vec::new());
        let value = Node { parent: None, depth: 0, duplicates: &duplicates }.deserialize(deserializer)?;
        YAML_DUPLICATES.with_borrow_mut(|sink| *sink = duplicates.into_inner());
        Ok(Self(value))
    }
}

fn decode_yaml(body: &[u8], duplicates: &RefCell<Vec<String>>) -> ApiResult<Value> {
    let refused = |e: &dyn fmt::Display| ApiError::bad_request(format!("error converting YAML to JSON: yaml: {e}"));
    let text = std::str::from_utf8(body).map_err(|e| refused(&e))?;
    let documents: Vec<YamlDocument> = serde_saphyr::from_multiple_with_options(text, yaml_options())
        .map_err(|e| refused(&yaml_error(&e.without_snippet().to_string(), text)))?;
    duplicates.replace(YAML_DUPLICATES.take());
    // As upstream, only the first document of a body counts.
    documents.into_iter().next().map(|d| d.0).ok_or_else(|| refused(&"empty document"))
}

/// A fault as Go's reader tells it: the line goes first, and the first line is not told.
fn yaml_error(error: &str, text: &str) -> String {
    let place = error.rsplit_once(" at line ").and_then(|(fault, place)| {
        let (line, column) = place.split_once(", column ")?;
        Some((fault, line.parse::<usize>().ok()?, column.parse::<usize>().ok()?))
    });
    let Some((fault, line, column)) = place else { return error.to_owned() };
    // What the reader misses is known by the token after it, which Go counts from 0.
    let (fault, line) = match fault {
        "alias references unknown anchor" => {
            let rest = text.lines().nth(line - 1).and_then(|l| l.get(column..)).unwrap_or_default();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
            return format!("unknown anchor '{name}' referenced");
        }
        "unclosed bracket '['" => ("did not find expected ',' or ']'", line - 1),
        "unclosed bracket '{'" => ("did not find expected ',' or '}'", line - 1),
        other => (other, if line == 1 { 0 } else { line }),
    };
    if line == 0 { fault.to_owned() } else { format!("line {line}: {fault}") }
}

/// Every document of a stream such as a manifest file; empty ones are left out.
pub fn decode_yaml_documents(text: &str) -> ApiResult<Vec<Value>> {
    let documents: Vec<YamlDocument> = serde_saphyr::from_multiple_with_options(text, yaml_options())
        .map_err(|e| ApiError::bad_request(format!("error converting YAML to JSON: yaml: {}", e.without_snippet())))?;
    Ok(documents.into_iter().map(|d| d.0).filter(|v| !v.is_null()).collect())
}

pub(crate) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    }
}

/// Where in the tree a value stands, on the stack of the reader: no path is built unless it is reported.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Key(key) if self.parent.is_some() => write!(f, ".{key}"),
            Step::Key(key) => f.write_str(key),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

struct Node<'a> {
    parent: Option<&'a Place<'a>>,
    depth: usize,
    duplicates: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(D::Error::custom("exceeded max depth"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i128<E: serde::de::Error>(self, v: i128) -> Result<Value, E> {
        i64::try_from(v).map(Value::from).map_err(|_| E::custom(format!("number {v} out of range")))
    }
    fn visit_u128<E: serde::de::Error>(self, v: u128) -> Result<Value, E> {
        u64::try_from(v).map(Value::from).map_err(|_| E::custom(format!("number {v} out of range")))
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let place = Place { parent: self.parent, step: Step::Index(items.len()) };
            let seed = Node { parent: Some(&place), depth: self.depth + 1, duplicates: self.duplicates };
            match seq.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(Key)? {
            let place = Place { parent: self.parent, step: Step::Key(&key) };
            let seed = Node { parent: Some(&place), depth: self.depth + 1, duplicates: self.duplicates };
            let value = access.next_value_seed(seed)?;
            match map.entry(key) {
                Entry::Vacant(slot) => {
                    slot.insert(value);
                }
                Entry::Occupied(mut slot) => {
                    if self.duplicates.borrow().len() < STRICT_ERRORS_MAX {
                        let place = Place { parent: self.parent, step: Step::Key(slot.key()) };
                        self.duplicates.borrow_mut().push(place.to_string());
                    }
                    slot.insert(value);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// A map key; YAML's numbers and booleans become text, as upstream's converter does.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }
    fn visit_string<E>(self, v: String) -> Result<String, E> {
        Ok(v)
    }
    fn visit_bool<E>(self, v: bool) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_i64<E>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_u64<E>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_f64<E>(self, v: f64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_with_duplicates() {
        let body = br#"{"a":1,"b":[{"c":1,"c":2}],"a":3.5,"m":{"x.y":1,"x.y":2},"n":null}"#;
        let decoded = decode(body, ContentType::Json).unwrap();
        assert_eq!(decoded.object, json!({"a": 3.5, "b": [{"c": 2}], "m": {"x.y": 2}, "n": null}));
        assert_eq!(decoded.duplicates, ["b[0].c", "a", "m.x.y"]);
    }

    #[test]
    fn yaml_as_kubectl_reads_it() {
        let body = b"a: 0644\nb: yes\nc: \"yes\"\nd: 1.5\ne:\n- x: 1\n  x: 2\nf: ~\n1: one\ntrue: t\ng: 1e3\nh: 0x1f\ni: 12E\nj: |\n  x\n  y\n";
        let decoded = decode(body, ContentType::Yaml).unwrap();
        let expected = json!({"a": 420, "b": true, "c": "yes", "d": 1.5, "e": [{"x": 2}], "f": null, "1": "one",
            "true": "t", "g": 1000.0, "h": 31, "i": "12E", "j": "x\ny\n"});
        assert_eq!(decoded.object, expected);
        assert_eq!(decoded.duplicates, ["e[0].x"]);
    }

    #[test]
    fn refused() {
        for (body, kind) in [
            (&b"{"[..], ContentType::Json),
            (b"", ContentType::Json),
            (b"{} x", ContentType::Json),
            (b"a: [", ContentType::Yaml),
            (b"\xff", ContentType::Json),
            (b"\xff", ContentType::Yaml),
            (b"{\"a\":1e999}", ContentType::Json),
        ] {
            let error = decode(body, kind).unwrap_err();
            assert_eq!(error.code(), 400, "{error}");
        }
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        assert_eq!(decode(deep.as_bytes(), ContentType::Json).unwrap_err().code(), 400);
        assert_eq!(decode(deep.as_bytes(), ContentType::Yaml).unwrap_err().code(), 400);
        let text = decode(b"{\"a\": x}", ContentType::Json).unwrap_err().to_string();
        assert!(text.ends_with("invalid character 'x' looking for beginning of value"), "{text}");
    }

    #[test]
    fn yaml_streams() {
        let documents = decode_yaml_documents("---\na: 1\n---\n---\nb: 2\n").unwrap();
        assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
    }
}
