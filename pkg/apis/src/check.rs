//! Checks of single fields that many kinds share. Each takes the path of the owner and the field's name, and builds the
//! full path only when something is wrong: a good object costs no strings.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{
    is_dns1123_label, is_dns1123_subdomain, is_path_segment_name, is_qualified_name, is_valid_label_value,
    is_valid_port_name, is_valid_port_num, regex_error,
};
use serde_json::{Map, Value};

use crate::quantity;
use crate::tree::Tree;

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
    match object.text(field) {
        "" => errors.push(Error::required(&owner.child(field), "")),
        value => text(errors, owner, field, value, rule),
    }
}

/// A text that follows `rule` if it is there.
pub fn optional_text(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str, rule: Rule) {
    let value = object.text(field);
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
    match object.text(field) {
        "" => errors.push(Error::required(&owner.child(field), "")),
        value if supported.contains(&value) => {}
        value => errors.push(Error::not_supported(&owner.child(field), value, supported)),
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
    let Some(annotations) = annotations.as_object() else { return };
    let mut total = 0;
    for (key, value) in annotations {
        let reasons = is_qualified_name(&key.to_lowercase());
        errors.extend(reasons.into_iter().map(|e| Error::invalid(path, key.as_str(), e)));
        total += key.len() + value.as_str().map_or(0, str::len);
    }
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
        selector_operator(errors, &at, expression);
        text(errors, &at, "key", expression.text("key"), is_qualified_name);
        for (j, value) in expression.texts("values").enumerate() {
            let reasons = is_valid_label_value(value);
            errors.extend(reasons.into_iter().map(|e| Error::invalid(&at.child("values").index(j), value, e)));
        }
    }
}

fn selector_operator(errors: &mut ErrorList, at: &Path, expression: &Value) {
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
        other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
    }
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

/// What an Invalid error says about a user or group id.
pub fn id(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    const ID_MAX: i64 = i32::MAX as i64;
    if let Some(number) = object.int(field)
        && !(0..=ID_MAX).contains(&number)
    {
        let why = apimachinery::validation::inclusive_range_error(0, ID_MAX);
        errors.push(Error::invalid(&owner.child(field), number, why));
    }
}

/// A name that must be there and fit into a URL path.
pub fn required_segment(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    required_text(errors, owner, object, field, is_path_segment_name);
}

/// The domain of at least `parts` parts; its texts are joined into one error. `path` is the field itself.
pub fn domain(errors: &mut ErrorList, path: &Path, name: &str, parts: usize) {
    let reasons = is_dns1123_subdomain(name);
    if name.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !reasons.is_empty() {
        errors.push(Error::invalid(path, name, reasons.join(",")));
    } else if name.split('.').count() < parts {
        let parts = if parts == 2 { "two" } else { "three" };
        let why = format!("should be a domain with at least {parts} segments separated by dots");
        errors.push(Error::invalid(path, name, why));
    }
}

/// `example.com/some/path`; `path` is the field itself.
pub fn domain_prefixed_path(errors: &mut ErrorList, path: &Path, value: &str) {
    const HTTP_PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
    if value.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    let Some((host, rest)) = value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(Error::invalid(path, value, why));
        return;
    };
    errors.extend(is_dns1123_subdomain(host).into_iter().map(|e| Error::invalid(path, host, e)));
    if !rest.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c)) {
        errors.push(Error::invalid(path, rest, regex_error("Invalid path", HTTP_PATH, &[])));
    }
}
