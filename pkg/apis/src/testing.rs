//! Helpers of the table tests of kinds.

use apimachinery::Object;
use apimachinery::field::ErrorList;
use apimachinery::validation::{
    is_config_map_key, is_dns1035_label, is_dns1123_label, is_dns1123_subdomain, is_qualified_name,
    is_valid_label_value, is_valid_percent,
};
use serde_json::Value;

use crate::resource::Resource;

/// 2026-11-21T00:00:00Z, the `now` of cell tests.
pub const NOW: i64 = 1_795_219_200;

pub fn row(group: &str, plural: &str) -> &'static Resource {
    crate::find(group, plural).expect("the row is in the table")
}

pub fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The object with defaults; defaulting again changes nothing.
pub fn defaulted(row: &Resource, mut object: Object) -> Object {
    (row.strategy.default)(&mut object);
    let once = object.clone();
    (row.strategy.default)(&mut object);
    assert_eq!(once, object, "defaults of {} are idempotent", row.kind);
    object
}

/// As the registry makes it: defaults, then what a new object gets.
pub fn created(row: &Resource, object: Object) -> Object {
    let mut object = defaulted(row, object);
    (row.strategy.prepare_for_create)(&mut object);
    object
}

/// The errors of a new object, after defaults.
pub fn create_errors(row: &Resource, object: Object) -> Vec<String> {
    texts(&(row.strategy.validate)(&created(row, object)))
}

/// The errors of an update of `old`, as stored, by `change`.
pub fn update_errors(row: &Resource, old: Object, change: impl FnOnce(&mut Object)) -> Vec<String> {
    let old = created(row, old);
    let mut new = old.clone();
    change(&mut new);
    (row.strategy.default)(&mut new);
    (row.strategy.prepare_for_update)(&mut new, &old);
    texts(&(row.strategy.validate_update)(&new, &old))
}

/// The cells of an object as texts.
pub fn cells(row: &Resource, object: &Object) -> Vec<String> {
    let cells = (row.cells)(object, NOW);
    assert_eq!(cells.len(), row.columns.len(), "cells of {}", row.kind);
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    cells.iter().map(text).collect()
}

/// Rows of a table of rules: changes of a base object, and the errors that they lead to (none: accepted).
/// Errors may name well-known reasons, as `{subdomain}` (see [`REASONS`]); `{…}` stands for any value, for long ones.
///
/// A change is `path = value`, several are joined by ` ; `. The value is JSON, or a text as it stands; `null` removes the
/// field. `a[0].b` names list items (an index one past the end adds an item) and `a[x/y]` the key `x/y` of a map.
pub type Rules<'a> = &'a [(&'a str, &'a [&'a str])];

/// Names of reasons with long texts, a rule that gives the reason, and a text that it refuses.
const REASONS: &[(&str, crate::check::Rule, &str)] = &[
    ("{config key}", is_config_map_key, "a b"),
    ("{dns-1035}", is_dns1035_label, "A"),
    ("{label}", is_dns1123_label, "A"),
    ("{label value}", is_valid_label_value, "a b"),
    ("{name part}", is_qualified_name, "a b"),
    ("{percent}", is_valid_percent, "half"),
    ("{subdomain}", is_dns1123_subdomain, "A"),
];

/// The texts are those of a row; `what` was done to get them.
pub fn assert_texts(mut got: Vec<String>, want: &[&str], what: impl FnOnce() -> String) {
    let want: Vec<String> = want.iter().map(|text| expand(text)).collect();
    for (got, want) in got.iter_mut().zip(&want) {
        if let Some((start, end)) = want.split_once("{…}")
            && got.starts_with(start)
            && got.ends_with(end)
        {
            got.clone_from(want);
        }
    }
    assert_eq!(got, want, "{}", what());
}

/// The text with the reasons that it names.
fn expand(text: &str) -> String {
    let named = REASONS.iter().filter(|(name, ..)| text.contains(name));
    named.fold(text.to_owned(), |text, (name, rule, refused)| text.replace(name, &rule(refused)[0]))
}

/// Applies the changes of one row of [`Rules`].
pub fn change(object: &mut Value, changes: &str) {
    for one in changes.split(" ; ").filter(|c| !c.is_empty()) {
        let (path, value) = one.split_once(" = ").unwrap_or_else(|| panic!("{one}: not `path = value`"));
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        let steps: Vec<&str> = path.split('[').flat_map(split_names).collect();
        set(object, &steps, value);
    }
}

/// `0].b.c` gives `0`, `b`, `c`; a key in brackets may have dots.
fn split_names(part: &str) -> Vec<&str> {
    let (key, rest) = part.split_once(']').map_or((None, part), |(key, rest)| (Some(key), rest));
    key.into_iter().chain(rest.split('.').filter(|name| !name.is_empty())).collect()
}

fn set(object: &mut Value, steps: &[&str], value: Value) {
    let [step, rest @ ..] = steps else {
        *object = value;
        return;
    };
    if let Value::Array(items) = object {
        let index: usize = step.parse().unwrap_or_else(|_| panic!("{step}: not an index"));
        if rest.is_empty() && value.is_null() {
            items.remove(index);
            return;
        }
        if index == items.len() {
            items.push(Value::Null);
        }
        return set(&mut items[index], rest, value);
    }
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    let map = apimachinery::meta::object_mut(object);
    if rest.is_empty() && value.is_null() {
        map.remove(*step);
    } else {
        set(map.entry(*step).or_insert(Value::Null), rest, value);
    }
}

/// Checks what creating the changed `base` objects says.
pub fn check_create(row: &Resource, base: &Value, rules: Rules<'_>) {
    for (changes, want) in rules {
        let mut object = base.clone();
        change(&mut object, changes);
        assert_texts(create_errors(row, object), want, || format!("create {} with {changes}", row.kind));
    }
}

/// Checks what updating `base`, as stored, by the changes says.
pub fn check_update(row: &Resource, base: &Value, rules: Rules<'_>) {
    for (changes, want) in rules {
        let errors = update_errors(row, base.clone(), |object| change(object, changes));
        assert_texts(errors, want, || format!("update {} with {changes}", row.kind));
    }
}

/// Checks what writing the changes to the status endpoint of `base`, as stored, says.
pub fn check_status(row: &Resource, base: &Value, rules: Rules<'_>) {
    for (changes, want) in rules {
        let old = defaulted(row, base.clone());
        let mut new = old.clone();
        change(&mut new, changes);
        (row.strategy.prepare_for_status_update)(&mut new, &old);
        let errors = texts(&(row.strategy.validate_status_update)(&new, &old));
        assert_texts(errors, want, || format!("status of {} with {changes}", row.kind));
    }
}

/// Checks what writing the changes to the endpoint `name` of `base`, as stored with its status, says.
pub fn check_part(row: &Resource, name: &str, base: &Value, rules: Rules<'_>) {
    let part = row.subresource(name).and_then(|part| part.update).expect("the endpoint writes a part of the object");
    for (changes, want) in rules {
        let old = defaulted(row, base.clone());
        let mut new = old.clone();
        change(&mut new, changes);
        (row.strategy.default)(&mut new);
        (part.prepare)(&mut new, &old);
        let what = || format!("{name} of {} with {changes}", row.kind);
        assert_texts(texts(&(part.validate)(&new, &old)), want, what);
    }
}

/// Checks defaults: changes of `base`, then fields of the result as in [`change`] (`null`: not there).
pub fn check_defaults(row: &Resource, base: &Value, rules: &[(&str, &str)]) {
    for (changes, want) in rules {
        let mut object = base.clone();
        change(&mut object, changes);
        let got = defaulted(row, object);
        let mut wanted = got.clone();
        change(&mut wanted, want);
        assert_eq!(got, wanted, "defaults of {} with {changes}", row.kind);
    }
}

/// The Warning texts of a new object, after defaults.
pub fn warnings(row: &Resource, object: &Value) -> Vec<String> {
    (row.strategy.warnings)(&defaulted(row, object.clone()), None)
}

/// Checks what the creator of the changed `base` objects is warned of.
pub fn check_warnings(row: &Resource, base: &Value, rules: Rules<'_>) {
    for (changes, want) in rules {
        let mut object = base.clone();
        change(&mut object, changes);
        assert_texts(warnings(row, &object), want, || format!("warnings about {} with {changes}", row.kind));
    }
}
