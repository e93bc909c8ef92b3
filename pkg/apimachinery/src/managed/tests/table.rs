//! How a table of cases is read and run.
//!
//! A case is a document: `name`, `steps`, and what is expected after them: `object` (without apiVersion, kind and name), and
//! `owners` (`manager Operation[ subresource][ version]` to paths). A step is `create`, `update`, `patch` (a merge patch) or
//! `apply` with the manager's name, and `with`, what it sends. It may expect `conflicts` (`manager path`) or an `error`.

use serde_json::{Map, Value, json};

use super::TABLES;
use super::schema::Things;
use crate::decode::decode_yaml_documents;
use crate::gvk::GroupVersionKind;
use crate::managed::{Applied, Filter, Managers, Updater, Writer, apply, track_create, track_update};
use crate::meta::ObjectExt as _;
use crate::patch::merge_patch;
use crate::status::{ApiError, ApiResult};

#[test]
fn cases_of_the_tables() {
    let (mut count, mut failures) = (0, Vec::new());
    for (table, text) in TABLES {
        for case in decode_yaml_documents(text).unwrap_or_else(|e| panic!("{table}: {e}")) {
            let name = case.str_at("name");
            failures.extend(run(&case).into_iter().map(|failure| format!("{table}: {name}: {failure}")));
            count += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= 190, "only {count} cases");
}

/// What of a case is not as expected.
fn run(case: &Value) -> Vec<String> {
    let mut failures = Vec::new();
    let mut differ = |what: &str, actual: Value, expected: &Value| {
        if actual != *expected {
            failures.push(format!("{what}:\n  is     {actual}\n  not as {expected}"));
        }
    };
    let mut live: Option<Value> = None;
    for (i, step) in case.array_at("steps").iter().enumerate() {
        let at = format!("step {}", i + 1);
        match (Step { step, at: i }.run(live.as_ref()), step.get("conflicts"), step.get("error")) {
            (Ok(object), None, None) => live = Some(object),
            (Err(error), Some(expected), None) => differ(&at, conflicts(&error), expected),
            (Err(error), None, Some(expected)) => differ(&at, error.message().into(), expected),
            (outcome, ..) => differ(&at, format!("{outcome:?}").into(), &Value::Null),
        }
    }
    let live = live.unwrap_or_default();
    for (name, actual) in [("object", plain(&live)), ("owners", owners(&live)), ("times", times(&live))] {
        if let Some(expected) = case.get(name) {
            differ(name, actual, expected);
        }
    }
    failures
}

/// `manager path` of each cause of a conflict.
fn conflicts(error: &ApiError) -> Value {
    if (error.code(), error.reason()) != (409, "Conflict") {
        return error.to_string().into();
    }
    let causes = error.details().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().map(|c| format!("{} {}", c.message.trim_start_matches("conflict with "), c.field)).collect()
}

struct Step<'a> {
    step: &'a Value,
    at: usize,
}

impl Step<'_> {
    fn run(&self, live: Option<&Value>) -> ApiResult<Value> {
        let subresource = self.step.str_at("subresource");
        let filter = match subresource {
            "status" => Filter::Without(&[&["spec"], &["metadata", "labels"]]),
            "part" => Filter::Only(&[&["spec", "list", "*", "value"]]),
            _ => Filter::Without(&[&["status"]]),
        };
        let api_version = self.step.get("version").and_then(Value::as_str).unwrap_or("v1");
        let things = Things { filter };
        let updater = Updater::new(&things);
        let now = format!("2026-01-01T00:00:{:02}Z", self.at + 1);
        let writer = |manager| Writer { manager, api_version, subresource, now: &now };
        let with = self.step.get("with").cloned().unwrap_or_else(|| json!({}));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::new(group, version, "Thing");
        let identified = |mut object: Value| {
            if object.get("apiVersion").is_none() {
                object["apiVersion"] = api_version.into();
            }
            object["kind"] = "Thing".into();
            object.metadata_mut().insert("name".to_owned(), "thing".into());
            object
        };
        let current =
            |live: Option<&Value>| {
                use crate::managed::Versions as _;
                live.map(|live| {
                    if live.api_version() == api_version { live.clone() } else { things.convert(live, api_version) }
                })
            };
        let mut object = if let Some(manager) = self.step.get("apply").and_then(Value::as_str) {
            let config = identified(with);
            let force = self.step.get("force") == Some(&json!(true));
            let applied = Applied { config: &config, kind: &kind, writer: writer(manager), force };
            apply(updater, current(live).as_ref(), applied)?
        } else if let Some(manager) = self.step.get("create").and_then(Value::as_str) {
            let object = identified(with);
            let list = track_create(updater, &object, writer(manager)).encode();
            with_list(object, list)
        } else {
            let old = current(live).unwrap_or_default();
            let (manager, object) = match self.step.get("patch").and_then(Value::as_str) {
                Some(manager) => {
                    let mut object = old.clone();
                    merge_patch(&mut object, &with)?;
                    (manager, object)
                }
                None => (self.step.str_at("update"), identified(with)),
            };
            let list = track_update(updater, &old, &object, writer(manager));
            with_list(object, list)
        };
        drop_nulls(&mut object);
        Ok(object)
    }
}

fn with_list(mut object: Value, list: Option<Value>) -> Value {
    let metadata = object.metadata_mut();
    metadata.remove("managedFields");
    metadata.extend(list.map(|list| ("managedFields".to_owned(), list)));
    object
}

/// What decoding into upstream's types does.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// An object without what every one has.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(map) = object.as_object_mut() else { return object };
    map.remove("apiVersion");
    map.remove("kind");
    let mut metadata = map.remove("metadata").unwrap_or_default();
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove("managedFields");
        fields.remove("name");
        if !fields.is_empty() {
            map.insert("metadata".to_owned(), metadata);
        }
    }
    object
}

fn named(entry: &crate::managed::Entry) -> String {
    let mut name = format!("{} {}", entry.manager, entry.operation.as_str());
    if !entry.subresource.is_empty() {
        name += &format!(" {}", entry.subresource);
    }
    if entry.api_version != "v1" {
        name += &format!(" {}", entry.api_version);
    }
    name
}

fn owners(object: &Value) -> Value {
    let managers = Managers::decode(object.at("metadata/managedFields")).unwrap_or_default();
    let lists = managers.0.iter().map(|entry| {
        let paths: Vec<String> = entry.fields.paths().iter().map(ToString::to_string).collect();
        (named(entry), json!(paths))
    });
    Value::Object(lists.collect::<Map<_, _>>())
}

/// The step in which each manager last wrote.
fn times(object: &Value) -> Value {
    let managers = Managers::decode(object.at("metadata/managedFields")).unwrap_or_default();
    let seconds = managers.0.iter().map(|entry| {
        let time = entry.time.as_deref().unwrap_or("2026-01-01T00:00:00Z");
        (named(entry), json!(time[17..19].parse::<u32>().unwrap_or_default()))
    });
    Value::Object(seconds.collect::<Map<_, _>>())
}
