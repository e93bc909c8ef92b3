//! Rows of `resource.k8s.io`: devices and claims to them.

mod admin;
mod claim;
mod class;
mod device;
mod request;
mod slice;
mod status;
mod taint;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

use crate::podspec::volume_sources::driver_name;
use crate::resource::Resource;
use crate::tree::Tree;

const GROUP: &str = "resource.k8s.io";

pub const ROWS: &[Resource] = &[class::ROW, taint::ROW, claim::ROW, claim::TEMPLATE, slice::ROW];

/// What checks one item of a list or map.
type Check<'a> = &'a dyn Fn(&mut ErrorList, &Path, &Value);

/// At most `max` items; only a list that is not too long is looked at.
fn items(errors: &mut ErrorList, at: &Path, list: &[Value], max: usize, check: Check<'_>) {
    if list.len() > max {
        errors.push(Error::too_many(at, list.len(), max));
        return;
    }
    for (i, item) in list.iter().enumerate() {
        check(errors, &at.index(i), item);
    }
}

/// The same, and no two items with the same key.
fn unique(
    errors: &mut ErrorList,
    at: &Path,
    list: &[Value],
    max: usize,
    key: impl Fn(&Value) -> String,
    check: Check<'_>,
) {
    items(errors, at, list, max, check);
    if list.len() > max {
        return;
    }
    let mut seen = std::collections::BTreeSet::new();
    for (i, item) in list.iter().enumerate() {
        let key = key(item);
        if seen.contains(&key) {
            errors.push(Error::duplicate(&at.index(i), key));
        } else {
            seen.insert(key);
        }
    }
}

/// A text as the key of an item.
fn text_key(item: &Value) -> String {
    item.as_str().unwrap_or("").to_owned()
}

fn name_key(item: &Value) -> String {
    item.text("name").to_owned()
}

const POOL_NAME_MAX: usize = 253;

/// Subdomains, joined by `/`.
fn pool_name(errors: &mut ErrorList, at: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    if name.len() > POOL_NAME_MAX {
        errors.push(Error::too_long(at, POOL_NAME_MAX));
    }
    for part in name.split('/') {
        errors.extend(is_dns1123_subdomain(part).into_iter().map(|e| Error::invalid(at, part, e)));
    }
}

/// `[domain/]identifier`: the name of an attribute or a capacity.
fn qualified_name(errors: &mut ErrorList, at: &Path, name: &str) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(errors, at, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.push(Error::invalid(at, "", "the domain must not be empty"));
            } else {
                driver_name(errors, at, domain);
            }
            if id.is_empty() {
                errors.push(Error::invalid(at, "", "the name must not be empty"));
            } else {
                identifier(errors, at, id);
            }
        }
        _ => errors.push(Error::invalid(at, name, "must not contain more than one slash")),
    }
}

/// The same with a domain in any case.
fn fully_qualified_name(errors: &mut ErrorList, at: &Path, name: &str) {
    qualified_name(errors, at, name);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(Error::invalid(at, name, why));
    }
}

fn identifier(errors: &mut ErrorList, at: &Path, id: &str) {
    const ID_MAX: usize = 32;
    if id.len() > ID_MAX {
        errors.push(Error::too_long(at, ID_MAX));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if id.is_empty() || id.starts_with(|c: char| c.is_ascii_digit()) || !id.chars().all(legal) {
        let text = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric \
                    characters or '_'";
        let examples = ["my_name", "MY_NAME", "MyName"];
        let why = apimachinery::validation::regex_error(text, "[A-Za-z_][A-Za-z0-9_]*", &examples);
        errors.push(Error::invalid(at, id, why));
    }
}

/// A UID in the form of RFC 4122, in lower case.
fn uid(errors: &mut ErrorList, at: &Path, uid: &str) {
    let groups: Vec<&str> = uid.split('-').collect();
    let hex = |group: &&str| group.bytes().all(|c| c.is_ascii_hexdigit());
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let why = if uid.len() != 36 {
        format!("error validating uid: invalid UUID length: {}", uid.len())
    } else if lengths != [8, 4, 4, 4, 12] || !groups.iter().all(hex) {
        "error validating uid: invalid UUID format".to_owned()
    } else if uid.bytes().any(|c| c.is_ascii_uppercase()) {
        "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal \
         characters"
            .to_owned()
    } else {
        return;
    };
    errors.push(Error::invalid(at, uid, why));
}

/// An object whose meaning only the driver knows.
fn raw_object(errors: &mut ErrorList, at: &Path, value: &Value) {
    const RAW_MAX: usize = 10 * 1024;
    match value {
        Value::Null => errors.push(Error::required(at, "")),
        Value::Object(_) if value.to_string().len() > RAW_MAX => errors.push(Error::too_long(at, RAW_MAX)),
        Value::Object(_) => {}
        _ => errors.push(Error::invalid(at, "<value omitted>", "must be a valid JSON object")),
    }
}

/// The drivers' own parameters in a class, a claim or an allocation.
fn opaque(errors: &mut ErrorList, at: &Path, config: &Value) {
    let at = at.child("opaque");
    if !config.has("opaque") {
        errors.push(Error::required(&at, ""));
        return;
    }
    let opaque = config.field("opaque");
    driver_name(errors, &at.child("driver"), opaque.text("driver"));
    raw_object(errors, &at.child("parameters"), opaque.field("parameters"));
}

/// Operations of the node that a driver does not need.
fn skipped_operations(errors: &mut ErrorList, at: &Path, owner: &Value) {
    const KEY: &str = "skipNodeOperations";
    const OPERATIONS: &[&str] = &["*", "NodePrepareResources", "NodeUnprepareResources"];
    let list: Vec<&str> = owner.texts(KEY).collect();
    for (i, operation) in list.iter().enumerate().filter(|(_, o)| !OPERATIONS.contains(o)) {
        errors.push(Error::not_supported(&at.child(KEY).index(i), *operation, OPERATIONS));
    }
    let skips = |operation: &str| list.contains(&operation);
    if skips("NodePrepareResources") && !skips("NodeUnprepareResources") && !skips("*") {
        let why = "NodePrepareResources cannot be skipped unless NodeUnprepareResources is also skipped";
        errors.push(Error::invalid(&at.child(KEY), owner.field(KEY).clone(), why));
    }
}

#[cfg(test)]
mod tests;
