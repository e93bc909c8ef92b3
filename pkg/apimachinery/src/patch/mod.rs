//! Patches over trees: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.
//!
//! All of them are pure, so that the store can apply them again when an object changed meanwhile.

pub mod schema;
pub mod strategic;
mod strategic_order;
#[cfg(test)]
mod strategic_tests;

use json_patch::PatchOperation;
use serde_json::Value;

use crate::decode::DEPTH_MAX;
use crate::status::{ApiError, ApiResult, Details};

pub use schema::{ListType, MapType, MergeField, MergeSchema, MergeStrategy, Present, ScalarKind, TypeId, ValueType};

/// More operations in one JSON patch are refused.
pub const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;
/// So many bytes may the copies of one patch have together; upstream's limit is that of bodies, too.
const JSON_PATCH_COPIED_MAX: usize = 3 * 1024 * 1024;

/// The four ways to write a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// By media type, without parameters.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// A JSON patch, read once and applied as often as needed.
#[derive(Clone, Debug)]
pub struct JsonPatch(json_patch::Patch);

impl JsonPatch {
    pub fn parse(patch: &[u8]) -> ApiResult<Self> {
        let refused = |e: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {e}"));
        // By way of a tree, in which the last of two equal members wins, as it does upstream.
        let tree: Value = serde_json::from_slice(patch).map_err(refused)?;
        let patch: json_patch::Patch = serde_json::from_value(tree).map_err(refused)?;
        if patch.len() > JSON_PATCH_OPERATIONS_MAX {
            let given = patch.len();
            let max = JSON_PATCH_OPERATIONS_MAX;
            return Err(ApiError::request_too_large(format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {max}, got {given}"
            )));
        }
        Ok(Self(patch))
    }

    /// All operations or none: on an error `object` is as before. What operations take from the object itself is bounded in
    /// size and depth: it can be taken again and again.
    pub fn apply(&self, object: &mut Value) -> ApiResult<()> {
        let mut patched = object.clone();
        let mut copied = 0;
        for operation in &self.0.0 {
            let (from, path, copies) = match operation {
                PatchOperation::Copy(copy) => (Some(&copy.from), operation.path(), true),
                PatchOperation::Move(moved) => (Some(&moved.from), operation.path(), false),
                _ => (None, operation.path(), false),
            };
            let taken = from.and_then(|from| patched.pointer(from.as_str()));
            copied += taken.filter(|_| copies).map_or(0, size);
            let deep = path.tokens().count() + taken.map_or(0, |value| depth(value, DEPTH_MAX)) > DEPTH_MAX;
            if deep || copied > JSON_PATCH_COPIED_MAX {
                return Err(unprocessable());
            }
            // One at a time, on a tree of our own: the library cannot undo all of its operations, and panics then.
            json_patch::patch_unsafe(&mut patched, std::slice::from_ref(operation)).map_err(|_| unprocessable())?;
        }
        *object = patched;
        Ok(())
    }
}

/// About as many bytes as the value has in JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>(),
        _ => 5,
    }
}

/// How many lists and objects lie in each other, counted up to `max`.
fn depth(value: &Value, max: usize) -> usize {
    if max == 0 {
        return 0;
    }
    match value {
        Value::Array(items) => 1 + items.iter().map(|item| depth(item, max - 1)).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(|value| depth(value, max - 1)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Reads and applies a JSON patch.
pub fn json_patch(object: &mut Value, patch: &[u8]) -> ApiResult<()> {
    JsonPatch::parse(patch)?.apply(object)
}

/// Applies a merge patch: null deletes, objects merge, everything else replaces.
pub fn merge_patch(object: &mut Value, patch: &Value) -> ApiResult<()> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("Invalid JSON Patch"));
    }
    json_patch::merge(object, patch);
    Ok(())
}

/// Upstream says no more than this about a patch that does not fit the object.
pub(crate) fn unprocessable() -> ApiError {
    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_details(Details::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_patches() {
        let cases = [
            (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), Some(json!({"a": 1, "b": 2}))),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/a"}]), Some(json!({}))),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}]), None),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/a", "value": null}]), Some(json!({"a": null}))),
            (json!({"a": 1}), json!([{"op": "replace", "path": "/b", "value": 1}]), None),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), Some(json!({"a": [1, 2]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/0", "value": 0}]), Some(json!({"a": [0, 1]}))),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/7", "value": 0}]), None),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1}]), Some(json!({"a": 1}))),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 2}]), None),
            (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/b"}]), Some(json!({"b": 1}))),
            (json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), Some(json!({"a": 1, "b": 1}))),
            (
                json!({"x/y": 1, "~": 2}),
                json!([{"op": "remove", "path": "/x~1y"}, {"op": "remove", "path": "/~0"}]),
                Some(json!({})),
            ),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"}]), None),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/a", "huh": 1}]), Some(json!({}))),
        ];
        for (object, patch, expected) in cases {
            let mut patched = object.clone();
            let outcome = json_patch(&mut patched, patch.to_string().as_bytes());
            match expected {
                Some(expected) => assert_eq!((outcome, patched), (Ok(()), expected), "{patch}"),
                None => {
                    assert_eq!(outcome.unwrap_err().code(), 422, "{patch}");
                    assert_eq!(patched, object, "nothing half-done: {patch}");
                }
            }
        }
        assert_eq!(json_patch(&mut json!({}), b"{}").unwrap_err().code(), 400);
        assert_eq!(json_patch(&mut json!({}), b"[{\"op\":\"huh\",\"path\":\"/\"}]").unwrap_err().code(), 400);
        let many = serde_json::to_vec(&vec![json!({"op": "test", "path": "", "value": 1}); 10_001]).unwrap();
        assert_eq!(json_patch(&mut json!({}), &many).unwrap_err().code(), 413);
    }

    #[test]
    fn what_json_patches_copy_and_nest_is_bounded() {
        let doubled: Vec<Value> =
            (0..100).map(|i| json!({"op": "copy", "from": "", "path": format!("/c{i}")})).collect();
        let nested: Vec<Value> = (0..3000)
            .flat_map(|_| {
                [
                    json!({"op": "move", "from": "/a", "path": "/b"}),
                    json!({"op": "add", "path": "/a", "value": {}}),
                    json!({"op": "move", "from": "/b", "path": "/a/a"}),
                ]
            })
            .collect();
        // The library cannot undo a move to the root, which has to be told from a patch that fits.
        let to_root = vec![json!({"op": "move", "from": "/a", "path": ""}), json!({"op": "remove", "path": "/none"})];
        for patch in [Value::from(doubled), Value::from(nested), Value::from(to_root)] {
            let (before, text) = (json!({"a": {"text": "0123456789"}}), patch.to_string());
            let mut object = before.clone();
            assert_eq!(json_patch(&mut object, text.as_bytes()).unwrap_err().code(), 422);
            assert_eq!(object, before);
        }
    }

    #[test]
    fn merge_patches() {
        for (object, patch, expected) in [
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": null, "e": 3}}),
                json!({"a": 1, "b": {"d": 2, "e": 3}}),
            ),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (json!({"a": 1}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}})),
            (json!({"a": {"b": 1}}), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": 1}), json!({"z": null}), json!({"a": 1})),
            (json!({"a": 1}), json!({"z": {"y": null}}), json!({"a": 1, "z": {}})),
        ] {
            let mut patched = object;
            merge_patch(&mut patched, &patch).unwrap();
            assert_eq!(patched, expected, "{patch}");
        }
        assert_eq!(merge_patch(&mut json!({}), &json!([])).unwrap_err().code(), 400);
    }
}
