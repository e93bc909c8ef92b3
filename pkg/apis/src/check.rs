//! Checks of single fields that many kinds share. Each takes the path of the owner and the field's name, and builds the
//! full path only when something is wrong: a good object costs no strings.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_qualified_name, is_valid_label_value, is_valid_port_name,
    is_valid_port_num,
};
use serde_json::{Map, Value};

use crate::quantity;
use crate::tree::Tree;

/// The path of errors that are about an object as a whole, as upstream shows it: `[]`.
pub fn whole() -> Path {
    Path::default().key("")
}

/// A rule for texts: the reasons why one is refused.
pub type Rule = fn(&str) -> Vec<String>;

/// One `Invalid` error for each reason.
pub fn text(errors: &mut ErrorList, owner: &Path, field: &str, value: &str, rule: Rule) {
    for reason in rule(value) {
        errors.push(Error::invalid(&owner.child(field), value, reason));
    }
}

/// A text that must be there and follow `rule`.
pub fn required_text(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, rule: Rule) {
    required_value(errors, owner, field, object.text(field), rule);
}

/// The same for the text itself.
pub fn required_value(errors: &mut ErrorList, owner: &Path, field: &str, value: &str, rule: Rule) {
    match value {
        "" => errors.push(Error::required(&owner.child(field), "")),
        value => text(errors, owner, field, value, rule),
    }
}

/// A text that follows `rule` if it is there.
pub fn optional_text(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, rule: Rule) {
    optional_value(errors, owner, field, object.text(field), rule);
}

/// The same for the text itself.
pub fn optional_value(errors: &mut ErrorList, owner: &Path, field: &str, value: &str, rule: Rule) {
    if !value.is_empty() {
        text(errors, owner, field, value, rule);
    }
}

/// A text that must not be empty.
pub fn required(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    if object.text(field).is_empty() {
        errors.push(Error::required(&owner.child(field), ""));
    }
}

/// A field that must be there with one of the `supported` values.
pub fn choice(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, supported: &[&str]) {
    choice_value(errors, owner, field, object.text(field), supported);
}

/// The same for the value itself.
pub fn choice_value(errors: &mut ErrorList, owner: &Path, field: &str, value: &str, supported: &[&str]) {
    match value {
        "" => errors.push(Error::required(&owner.child(field), "")),
        value if supported.contains(&value) => {}
        value => errors.push(Error::not_supported(&owner.child(field), value, supported)),
    }
}

/// The same where a missing field is reported as an unsupported value, too.
pub fn one_of(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, supported: &[&str]) {
    let value = object.text(field);
    if !supported.contains(&value) {
        errors.push(Error::not_supported(&owner.child(field), value, supported));
    }
}

/// The same for a field that may be missing.
pub fn optional_choice(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, supported: &[&str]) {
    let Some(value) = object.field(field).as_str() else { return };
    if !supported.contains(&value) {
        errors.push(Error::not_supported(&owner.child(field), value, supported));
    }
}

/// `must be greater than or equal to 0`, if the number is there.
pub fn nonnegative(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    if let Some(number) = object.int(field)
        && number < 0
    {
        errors.push(Error::invalid(&owner.child(field), number, "must be greater than or equal to 0"));
    }
}

/// `field is immutable`, if `field` of the two owners differs.
pub fn immutable(errors: &mut ErrorList, owner: &Path, new: &Value, old: &Value, field: &str) {
    if new.field(field) != old.field(field) {
        errors.push(Error::invalid(&owner.child(field), new.field(field).clone(), "field is immutable"));
    }
}

/// A port number or the name of a port, as in `targetPort`.
pub fn port_or_name(errors: &mut ErrorList, owner: &Path, field: &str, value: &Value) {
    match value {
        Value::String(name) => text(errors, owner, field, name, is_valid_port_name),
        _ => port(errors, owner, field, value.as_i64().unwrap_or(0)),
    }
}

pub fn port(errors: &mut ErrorList, owner: &Path, field: &str, number: i64) {
    for reason in is_valid_port_num(number) {
        errors.push(Error::invalid(&owner.child(field), number, reason));
    }
}

/// Keys and values of a map of labels; `path` is the map itself.
pub fn labels(errors: &mut ErrorList, path: &Path, labels: &Value) {
    let Some(labels) = labels.as_object() else { return };
    for (key, value) in labels {
        let value = value.as_str().unwrap_or("");
        errors.extend(is_qualified_name(key).into_iter().map(|e| Error::invalid(path, key.as_str(), e)));
        errors.extend(is_valid_label_value(value).into_iter().map(|e| Error::invalid(path, value, e)));
    }
}

/// Total bytes of all annotations.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Keys and total size of a map of annotations.
pub fn annotations(errors: &mut ErrorList, path: &Path, annotations: &Value) {
    for key in annotations.as_object().into_iter().flat_map(Map::keys) {
        let reasons = is_qualified_name(&key.to_lowercase());
        errors.extend(reasons.into_iter().map(|e| Error::invalid(path, key.as_str(), e)));
    }
    annotations_size(errors, path, annotations);
}

/// Keys and values of a map of annotations are not too long, taken together.
pub fn annotations_size(errors: &mut ErrorList, path: &Path, annotations: &Value) {
    let entries = annotations.as_object().into_iter().flatten();
    let total: usize = entries.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if total > ANNOTATIONS_MAX {
        errors.push(Error::too_long(path, ANNOTATIONS_MAX));
    }
}

/// A `meta/v1` `LabelSelector`.
pub fn label_selector(errors: &mut ErrorList, path: &Path, selector: &Value) {
    if !selector.field("matchLabels").is_null() {
        labels(errors, &path.child("matchLabels"), selector.field("matchLabels"));
    }
    for (i, expression) in selector.list("matchExpressions").iter().enumerate() {
        let at = path.child("matchExpressions").index(i);
        if !selector_operator(errors, &at, expression) {
            let operator = expression.text("operator");
            errors.push(Error::invalid(&at.child("operator"), operator, "not a valid selector operator"));
        }
        label_requirement(errors, &at, expression);
    }
}

/// Key and values of a requirement of labels.
pub fn label_requirement(errors: &mut ErrorList, at: &Path, expression: &Value) {
    text(errors, at, "key", expression.text("key"), is_qualified_name);
    for (j, value) in expression.texts("values").enumerate() {
        let reasons = is_valid_label_value(value);
        errors.extend(reasons.into_iter().map(|e| Error::invalid(&at.child("values").index(j), value, e)));
    }
}

/// There are values where the operator of a requirement wants some, and none where it wants none. Says whether the
/// operator is known.
pub fn selector_operator(errors: &mut ErrorList, at: &Path, expression: &Value) -> bool {
    let count = expression.list("values").len();
    match expression.text("operator") {
        "In" | "NotIn" if count == 0 => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(Error::required(&at.child("values"), why));
        }
        "Exists" | "DoesNotExist" if count > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&at.child("values"), why));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => return false,
    }
    true
}

/// The selector selects something by name.
pub fn is_empty_selector(selector: &Value) -> bool {
    let labels = selector.field("matchLabels").as_object().is_none_or(Map::is_empty);
    labels && selector.list("matchExpressions").is_empty()
}

/// A quantity that is not negative.
pub fn nonnegative_quantity(errors: &mut ErrorList, path: &Path, value: &Value) {
    if quantity::parse(value).is_some_and(|q| q.is_negative()) {
        errors.push(Error::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
}

pub fn label(errors: &mut ErrorList, owner: &Path, field: &str, value: &str) {
    text(errors, owner, field, value, is_dns1123_label);
}

pub fn subdomain(errors: &mut ErrorList, owner: &Path, field: &str, value: &str) {
    text(errors, owner, field, value, is_dns1123_subdomain);
}

/// An address in a field that is older than the canonical form; the value itself is at `path`.
pub fn ip(errors: &mut ErrorList, path: &Path, value: &str) {
    crate::addresses::legacy_ip(errors, path, value, &[]);
}

/// A network in such a field.
pub fn cidr(errors: &mut ErrorList, path: &Path, value: &str) {
    crate::addresses::legacy_cidr(errors, path, value, &[]);
}

/// A relative path that stays below where it starts.
pub fn descending_path(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.push(Error::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

pub fn no_backsteps(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, value, "must not contain '..'"));
    }
}

/// A path inside a volume: relative, without `..` at its start or as a part.
pub fn local_nonreserved_path(errors: &mut ErrorList, path: &Path, value: &str) {
    descending_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.push(Error::invalid(path, value, "must not start with '..'"));
    }
}

/// The number of a user or group, if it is there.
pub fn id(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    id_value(errors, || owner.child(field), object.field(field));
}

/// The same for the number itself.
pub fn id_value(errors: &mut ErrorList, path: impl Fn() -> Path, value: &Value) {
    const ID_MAX: i64 = i32::MAX as i64;
    if let Some(number) = value.as_i64()
        && !(0..=ID_MAX).contains(&number)
    {
        let why = apimachinery::validation::inclusive_range_error(0, ID_MAX);
        errors.push(Error::invalid(&path(), number, why));
    }
}
