//! Checks of names with more structure than a label: domains, paths below domains, segments of URL paths.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_path_segment_name, regex_error};
use serde_json::Value;

use crate::check;

/// A name that must be there and fit into a URL path.
pub fn required_segment(errors: &mut ErrorList, owner: &Path, object: &Value, field: &str) {
    check::required_text(errors, owner, object, field, is_path_segment_name);
}

/// A domain of at least `parts` parts; its faults are joined into one error. `path` is the field itself.
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

/// Total bytes of the keys and values of a map of texts.
pub fn map_size(map: &Value) -> usize {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
}
