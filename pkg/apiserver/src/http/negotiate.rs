//! What the client wants to read: the first entry of Accept that can be served.

use apimachinery::{ApiError, ApiResult};
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};

use super::query::Query;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Yaml,
}

/// The object itself, or something made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    #[default]
    Whole,
    Table,
    Partial,
    PartialList,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Media {
    pub format: Format,
    pub form: Form,
    pub pretty: bool,
}

/// One entry of an Accept header.
#[derive(Debug, Default, PartialEq)]
pub struct Entry<'a> {
    pub kind: &'a str,
    pub as_: &'a str,
    pub group: &'a str,
    pub version: &'a str,
}

/// The entries, in the client's order.
pub fn entries(accept: &str) -> impl Iterator<Item = Entry<'_>> {
    accept.split(',').map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let mut found = Entry { kind: parts.next().unwrap_or(""), ..Entry::default() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key {
                "as" => found.as_ = value,
                "g" => found.group = value,
                "v" => found.version = value,
                _ => {}
            }
        }
        found
    })
}

pub fn accept(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Picks the media of an answer. `forms`: other forms than the whole object may be served.
pub fn negotiate(headers: &HeaderMap, query: &Query<'_>, forms: bool) -> ApiResult<Media> {
    let pretty = is_pretty(headers, query);
    let accept = accept(headers);
    if matches!(accept, "" | "*/*" | "application/json") {
        return Ok(Media { pretty, ..Media::default() });
    }
    for entry in entries(accept) {
        let Some(format) = format_of(entry.kind) else { continue };
        let form = match (entry.as_, entry.group, entry.version) {
            ("", ..) => Form::Whole,
            ("Table", "meta.k8s.io", "v1") if forms => Form::Table,
            ("PartialObjectMetadata", "meta.k8s.io", "v1") if forms => Form::Partial,
            ("PartialObjectMetadataList", "meta.k8s.io", "v1") if forms => Form::PartialList,
            _ => continue,
        };
        return Ok(Media { format, form, pretty });
    }
    Err(not_acceptable())
}

pub fn not_acceptable() -> ApiError {
    ApiError::not_acceptable("only the following media types are accepted: application/json, application/yaml")
}

fn format_of(kind: &str) -> Option<Format> {
    match kind {
        "application/json" | "*/*" | "application/*" | "" => Some(Format::Json),
        "application/yaml" | "text/yaml" => Some(Format::Yaml),
        _ => None,
    }
}

/// Asked for, or read by a person: browsers, curl, wget.
fn is_pretty(headers: &HeaderMap, query: &Query<'_>) -> bool {
    if let Some(value) = query.find("pretty") {
        return !matches!(value, "0" | "false");
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|reader| agent.starts_with(reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_can_be_served_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let cases = [
            ("application/vnd.kubernetes.protobuf, application/json", true, Some((Format::Json, Form::Whole))),
            ("application/vnd.kubernetes.protobuf", true, None),
            (table, true, Some((Format::Json, Form::Table))),
            (table, false, Some((Format::Json, Form::Whole))),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", false, None),
            ("application/yaml", true, Some((Format::Yaml, Form::Whole))),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                true,
                Some((Format::Json, Form::PartialList)),
            ),
        ];
        for (accept, forms, want) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            let got = negotiate(&headers, &Query::default(), forms).ok().map(|m| (m.format, m.form));
            assert_eq!(got, want, "{accept}");
        }
    }
}
