//! Paths to fields that a schema knows: `.spec.replicas` and `.labels['app.kubernetes.io/name']`, relative to the schema.

use serde_json::Value;

use crate::tree::Tree;

/// Whether a path may name fields in brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Brackets {
    Allowed,
    Forbidden,
}

const UNKNOWN: &str = "does not refer to a valid field";
const ENDS: &str = "unexpected end of JSON path";

/// The schema of the field at `path`, or why there is none.
pub fn find<'a>(schema: &'a Value, path: &str, brackets: Brackets) -> Result<&'a Value, String> {
    let mut tokens = Tokens { rest: path };
    let mut schema = schema;
    while let Some(token) = tokens.next() {
        schema = match token {
            "." => member(schema, tokens.next().ok_or(ENDS)?).ok_or(UNKNOWN)?,
            "[" if brackets == Brackets::Forbidden => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let name = unquote(tokens.next().ok_or(ENDS)?)?;
                let found = member(schema, &name).ok_or(UNKNOWN)?;
                match tokens.next().ok_or(ENDS)? {
                    "]" => found,
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
    }
    Ok(schema)
}

/// A property, or a value of a map: lists have no members that a path can name.
fn member<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    if schema.has("properties") {
        return schema.field("properties").get(name);
    }
    Some(schema.field("additionalProperties")).filter(|values| values.is_object())
}

/// What stands between single quotes, with its escapes resolved.
fn unquote(token: &str) -> Result<String, String> {
    let inner = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let inner = inner.ok_or_else(|| format!("expected single quoted string but got {token}"))?;
    let doubled = format!("\"{}\"", inner.replace("\\'", "'").replace('"', "\\\""));
    serde_json::from_str(&doubled).map_err(|_| "invalid string literal: invalid syntax".to_owned())
}

/// Cuts a path into `.`, `[`, `]`, texts in single quotes, and what stands between those.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let length = match bytes.first()? {
            b'.' | b'[' | b']' => Some(1),
            b'\'' => (1..bytes.len()).find(|i| bytes[*i] == b'\'' && bytes[i - 1] != b'\\').map(|i| i + 1),
            _ => bytes.iter().position(|byte| matches!(byte, b'.' | b'[' | b']')),
        };
        // All that end a token are ASCII, so that no character is cut.
        let (token, rest) = self.rest.split_at(length.unwrap_or(bytes.len()));
        self.rest = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_the_schema_of_a_field_or_say_why_not() {
        let schema = json!({ "type": "object", "properties": {
            "spec": { "type": "object", "properties": {
                "a.b": { "type": "integer" }, "it's": { "type": "boolean" }, "\u{fc}": { "type": "string" },
                "list": { "type": "array", "items": { "type": "object", "properties": { "x": { "type": "string" } } } },
                "map": { "type": "object", "additionalProperties": { "type": "number" } },
                "open": { "type": "object", "additionalProperties": true },
            } },
        } });
        for (path, want) in [
            ("", Ok("object")),
            (".spec", Ok("object")),
            (".spec.\u{fc}", Ok("string")),
            (".spec['a.b']", Ok("integer")),
            ("['spec']['it\\'s']", Ok("boolean")),
            (".spec['\\u00fc']", Ok("string")),
            (".spec.list", Ok("array")),
            (".spec.map.anything", Ok("number")),
            (".spec.map['any thing']", Ok("number")),
            ("spec", Err("expected [ or . but got: spec")),
            (".spec.", Err("unexpected end of JSON path")),
            (".spec..map", Err("does not refer to a valid field")),
            (".spec.a.b", Err("does not refer to a valid field")),
            (".spec.list.x", Err("does not refer to a valid field")),
            (".spec.open.x", Err("does not refer to a valid field")),
            (".spec.list]", Err("expected [ or . but got: ]")),
            (".spec.list[0]", Err("expected single quoted string but got 0")),
            (".spec['a.b", Err("expected single quoted string but got 'a.b")),
            (".spec['", Err("expected single quoted string but got '")),
            (".spec['\\q']", Err("invalid string literal: invalid syntax")),
            (".spec['a.b'", Err("unexpected end of JSON path")),
            (".spec['a.b'x]", Err("expected ] but got x")),
            (".spec[", Err("unexpected end of JSON path")),
        ] {
            let found = find(&schema, path, Brackets::Allowed).map(|schema| schema.text("type"));
            assert_eq!(found, want.map_err(str::to_owned), "{path}");
        }
        let plain = find(&schema, ".spec['a.b']", Brackets::Forbidden);
        assert_eq!(plain, Err("array notation is not allowed".to_owned()));
    }
}
