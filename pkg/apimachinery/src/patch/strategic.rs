//! Strategic merge patch: lists merge by key where the schema says so, and directives say what plain JSON cannot.
//!
//! Directives: `$patch: replace|delete|merge`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`, `$retainKeys`.

use serde_json::{Map, Value};

use super::schema::{MergeField, MergeSchema, TypeId, ValueType};
use super::strategic_order::{check_order, normalize_order, partition};
use crate::managed::go_text;
use crate::status::{ApiError, ApiResult};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// What is known of the map that is being merged.
#[derive(Clone, Copy)]
enum Scope {
    Struct(TypeId),
    /// Values of a map: structs, or unknown.
    Values(Option<TypeId>),
    Untyped,
}

impl From<ValueType> for Scope {
    fn from(value: ValueType) -> Self {
        match value {
            ValueType::Struct(id) => Self::Struct(id),
            ValueType::Map(values) => Self::Values(values),
            ValueType::List(Some(id)) => Self::Struct(id),
            ValueType::List(None) | ValueType::Scalar | ValueType::Any => Self::Untyped,
        }
    }
}

/// Merges `patch` into `object`, whose type is `root`. On an error `object` is left half-merged: pass a copy.
pub fn merge(object: &mut Value, patch: Value, schema: &dyn MergeSchema, root: TypeId) -> ApiResult<()> {
    let Value::Object(patch) = patch else { return Err(not_a_map(&patch)) };
    let original = match object.take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let merger = Merger { schema };
    *object = Value::Object(merger.merge_map(original, patch, Scope::Struct(root))?);
    Ok(())
}

/// Go's decoder on a patch that is no map.
fn not_a_map(patch: &Value) -> ApiError {
    let given = match patch {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    };
    ApiError::bad_request(format!("json: cannot unmarshal {given} into Go value of type map[string]interface {{}}"))
}

/// The same where no schema is known: lists are replaced, directives are honoured.
pub fn merge_untyped(object: &mut Value, patch: Value) -> ApiResult<()> {
    struct Nothing;
    impl MergeSchema for Nothing {
        fn field(&self, _: TypeId, _: &str) -> Option<MergeField> {
            Some(MergeField::UNTYPED)
        }
        fn type_name(&self, _: TypeId) -> &str {
            ""
        }
    }
    merge(object, patch, &Nothing, TypeId(0))
}

struct Merger<'a> {
    schema: &'a dyn MergeSchema,
}

impl Merger<'_> {
    fn field(&self, scope: Scope, name: &str) -> ApiResult<MergeField> {
        match scope {
            Scope::Struct(id) => self.schema.field(id, name).ok_or_else(|| {
                let of = self.schema.type_name(id).rsplit('.').next().unwrap_or_default();
                failed(format!("unable to find api field in struct {of} for the json field {name:?}"))
            }),
            Scope::Values(Some(id)) => Ok(MergeField { value: ValueType::Struct(id), ..MergeField::UNTYPED }),
            Scope::Values(None) | Scope::Untyped => Ok(MergeField::UNTYPED),
        }
    }

    fn merge_map(
        &self,
        mut original: Map<String, Value>,
        mut patch: Map<String, Value>,
        scope: Scope,
    ) -> ApiResult<Map<String, Value>> {
        if let Some(directive) = patch.get(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => Ok(clean_map(patch)),
                Some("delete") => Ok(Map::new()),
                _ => Err(bad_directive(&patch)),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.merge_ordered_lists(&mut original, &mut patch, scope)?;
        for (key, value) in patch {
            self.merge_entry(&mut original, key, value, scope)?;
        }
        Ok(original)
    }

    fn merge_entry(&self, original: &mut Map<String, Value>, key: String, value: Value, scope: Scope) -> ApiResult<()> {
        if let Some(list) = key.strip_prefix(DELETE_FROM_LIST) {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (original.get_mut(list), &value) {
                items.retain(|item| !gone.contains(item));
            }
            return Ok(());
        }
        if value.is_null() {
            original.remove(&key);
            return Ok(());
        }
        let Some(slot) = original.get_mut(&key) else {
            if let Some(value) = clean(value) {
                original.insert(key, value);
            }
            return Ok(());
        };
        match (slot.take(), value) {
            (Value::Object(old), Value::Object(new)) => {
                let field = self.field(scope, &key)?;
                let merged = if field.strategy.replace { new } else { self.merge_map(old, new, field.value.into())? };
                *slot = Value::Object(merged);
            }
            (Value::Array(old), Value::Array(new)) => {
                let field = self.field(scope, &key)?;
                *slot = Value::Array(self.merge_list(old, new, &field)?);
            }
            (_, new) => match clean(new) {
                Some(new) => *slot = new,
                None => {
                    original.remove(&key);
                }
            },
        }
        Ok(())
    }

    fn merge_list(&self, original: Vec<Value>, patch: Vec<Value>, field: &MergeField) -> ApiResult<Vec<Value>> {
        if !field.strategy.merge {
            return Ok(clean_list(patch));
        }
        if original.is_empty() && patch.is_empty() {
            return Ok(original);
        }
        let (order, server_order) = (patch.clone(), original.clone());
        let merged = if of_objects(&original, &patch)? {
            if field.merge_key.is_empty() {
                return Err(failed("cannot merge lists without merge key for type struct"));
            }
            self.merge_keyed(original, patch, field)?
        } else {
            merge_scalars(original, patch)
        };
        let (patched, server_only) = partition(merged, &order, field.merge_key);
        Ok(normalize_order(patched, server_only, &order, &server_order, field.merge_key))
    }

    /// Items are objects that `field.merge_key` tells apart.
    fn merge_keyed(&self, mut original: Vec<Value>, patch: Vec<Value>, field: &MergeField) -> ApiResult<Vec<Value>> {
        let (key, mut replace, mut plain) = (field.merge_key, false, Vec::with_capacity(patch.len()));
        for item in patch {
            match item.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default().to_owned()).as_deref() {
                None => plain.push(item),
                Some("replace") => replace = true,
                Some("delete") => {
                    let value = merge_value(&item, key)?;
                    original.retain(|old| old.get(key) != Some(value));
                }
                Some("merge") => return Err(failed("merging lists cannot yet be specified in the patch")),
                Some(_) => return Err(item.as_object().map_or_else(super::unprocessable, bad_directive)),
            }
        }
        if replace {
            return Ok(plain.into_iter().filter_map(clean).collect());
        }
        for item in plain {
            let value = merge_value(&item, key)?;
            match original.iter_mut().find(|old| old.get(key) == Some(value)) {
                Some(slot) => {
                    if let (Value::Object(old), Value::Object(new)) = (slot.take(), item) {
                        *slot = Value::Object(self.merge_map(old, new, field.value.into())?);
                    }
                }
                None => original.extend(clean(item)),
            }
        }
        Ok(original)
    }

    /// Handles each `$setElementOrder/<list>` with its list; both are taken out of `patch`.
    fn merge_ordered_lists(
        &self,
        original: &mut Map<String, Value>,
        patch: &mut Map<String, Value>,
        scope: Scope,
    ) -> ApiResult<()> {
        let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
        for directive in directives {
            let order = list(patch.remove(&directive).unwrap_or_default())?;
            let name = &directive[SET_ORDER.len()..];
            let old = original.remove(name).map(list).transpose()?;
            let new = patch.remove(name).map(list).transpose()?;
            let field = self.field(scope, name)?;
            if let Some(new) = &new {
                check_order(new, &order, field.merge_key)?;
            }
            let server_order = old.clone().or_else(|| new.clone()).unwrap_or_default();
            let merged = match (old, new) {
                (Some(old), None) => old,
                (None, Some(new)) => new.into_iter().filter_map(clean).collect(),
                (Some(old), Some(new)) => self.merge_list(old, new, &field)?,
                (None, None) => continue,
            };
            let (patched, server_only) = partition(merged, &order, field.merge_key);
            let ordered = normalize_order(patched, server_only, &order, &server_order, field.merge_key);
            original.insert(name.to_owned(), Value::Array(ordered));
        }
        Ok(())
    }
}

fn merge_value<'a>(item: &'a Value, key: &str) -> ApiResult<&'a Value> {
    item.get(key).ok_or_else(|| failed(format!("map: {} does not contain declared merge key: {key}", go_text(item))))
}

/// A value that must be a list, in the words of Go's reflection.
fn list(value: Value) -> ApiResult<Vec<Value>> {
    let given = match value {
        Value::Array(items) => return Ok(items),
        Value::Null => "%!s(<nil>)",
        Value::Object(_) => "map[string]interface {}",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
    };
    Err(failed(format!("expected a []interface {{}}, but received a {given}")))
}

fn bad_directive(map: &Map<String, Value>) -> ApiError {
    let directive = map.get(DIRECTIVE).map(go_text).unwrap_or_default();
    failed(format!("unknown patch type: {directive} in map: {}", go_text(&Value::Object(map.clone()))))
}

/// An error that upstream does not tell apart from others: 500 without a reason.
pub(super) fn failed(why: impl Into<String>) -> ApiError {
    ApiError::new(500, "", why)
}

/// Keys of `original` that `$retainKeys` does not name are dropped.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> ApiResult<()> {
    let invalid = || ApiError::bad_request("invalid patch format of retainKeys");
    let keep = match patch.remove(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(keep)) => keep,
        Some(_) => return Err(invalid()),
    };
    let kept = |key: &str| keep.iter().any(|k| k.as_str() == Some(key));
    let directive = |key: &str| key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !kept(key)) {
        return Err(invalid());
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// Whether items are objects; refuses lists of lists and of mixed items.
fn of_objects(original: &[Value], patch: &[Value]) -> ApiResult<bool> {
    let mut all = original.iter().chain(patch);
    let Some(first) = all.next() else { return Ok(false) };
    if first.is_array() {
        return Err(super::unprocessable());
    }
    if all.any(|item| go_kind(item) != go_kind(first)) {
        let lists = [original, patch].map(|items| go_text(&Value::Array(items.to_vec()))).join(" ");
        return Err(failed(format!("list element types are not identical: [{lists}]")));
    }
    Ok(first.is_object())
}

/// Values of one Go type have one number.
fn go_kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(number) if number.is_f64() => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn merge_scalars(mut original: Vec<Value>, patch: Vec<Value>) -> Vec<Value> {
    original.extend(patch);
    let mut unique: Vec<Value> = Vec::with_capacity(original.len());
    for item in original {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

/// A value that is new to the object: nulls and directives in it mean nothing; `None` if it says that it be deleted.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.get(DIRECTIVE).is_some_and(|d| d == "delete") => None,
        Value::Object(map) => Some(Value::Object(clean_map(map))),
        Value::Array(items) => Some(Value::Array(clean_list(items))),
        other => Some(other),
    }
}

/// In a list, `{"$patch": "replace"}` is about the list: there is nothing to replace, and it is no item.
fn clean_list(items: Vec<Value>) -> Vec<Value> {
    let live = items.into_iter().filter(|item| item.get(DIRECTIVE).is_none_or(|directive| directive != "replace"));
    live.filter_map(clean).collect()
}

fn clean_map(map: Map<String, Value>) -> Map<String, Value> {
    let directive = |key: &str| {
        key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER)
    };
    let live = map.into_iter().filter(|(key, value)| !value.is_null() && !directive(key));
    live.filter_map(|(key, value)| Some((key, clean(value)?))).collect()
}
