//! Discovery: which groups, versions and resources there are. Made from the rows once, at start.

use std::collections::BTreeMap;

use apimachinery::{ApiError, ApiResult};
use apis::resource::{Resource, Subresource};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderValue, StatusCode};
use registry::Rows;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::http::accept::entries;
use crate::http::body::ResponseBody;
use crate::http::negotiate::{self, FORMATS, Format, Media};
use crate::http::respond::{self, Response};

/// The group version of the aggregated form. Upstream serves `v2beta1` no more since 1.33.
const AGGREGATED: (&str, &str) = ("apidiscovery.k8s.io", "v2");

/// All discovery documents.
pub struct Documents {
    /// By path without trailing slash: `/api`, `/apis`, `/apis/apps`, `/apis/apps/v1`.
    plain: BTreeMap<String, Value>,
    /// `/api` and `/apis` in the aggregated form.
    aggregated: BTreeMap<&'static str, Aggregated>,
    paths: Vec<String>,
}

struct Aggregated {
    body: Bytes,
    etag: HeaderValue,
}

/// The groups in the order of the rows, each with its versions, preferred first.
fn groups(rows: &Rows) -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for row in rows.all() {
        let index = groups.iter().position(|(group, _)| *group == row.group).unwrap_or_else(|| {
            groups.push((row.group, Vec::new()));
            groups.len() - 1
        });
        for version in row.versions {
            if !groups[index].1.contains(version) {
                groups[index].1.push(version);
            }
        }
    }
    for (_, versions) in &mut groups {
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    }
    groups
}

/// Stable before beta before alpha, then by number: `v2` > `v1` > `v1beta2` > `v1beta1` > `v1alpha1`.
fn priority(version: &str) -> (u8, u32, u32) {
    let text = version.trim_start_matches('v');
    let number = |text: &str| text.parse().unwrap_or(0);
    if let Some((major, minor)) = text.split_once("beta") {
        return (1, number(major), number(minor));
    }
    if let Some((major, minor)) = text.split_once("alpha") {
        return (0, number(major), number(minor));
    }
    (2, number(text), 0)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn in_version<'a>(rows: &'a Rows, group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> {
    rows.all().iter().filter(move |row| row.group == group && row.versions.contains(&version))
}

impl Documents {
    pub fn new(rows: &Rows) -> Self {
        let groups = groups(rows);
        let mut plain = BTreeMap::new();
        let legacy: Vec<&str> =
            groups.iter().filter(|(group, _)| group.is_empty()).flat_map(|(_, versions)| versions.clone()).collect();
        plain.insert(
            "/api".to_owned(),
            json!({
                "kind": "APIVersions", "versions": legacy,
                "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "" }],
            }),
        );
        let named = groups.iter().filter(|(group, _)| !group.is_empty());
        let list: Vec<Value> = named.clone().map(|(group, versions)| api_group(group, versions)).collect();
        plain.insert("/apis".to_owned(), json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": list }));
        for (group, versions) in named {
            let mut document = api_group(group, versions);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            plain.insert(format!("/apis/{group}"), document);
        }
        for (group, versions) in &groups {
            for version in versions {
                let path =
                    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
                plain.insert(path, resource_list(rows, group, version));
            }
        }
        let mut aggregated = BTreeMap::new();
        for (path, legacy) in [("/api", true), ("/apis", false)] {
            let chosen: Vec<_> = groups.iter().filter(|(group, _)| group.is_empty() == legacy).collect();
            aggregated.insert(path, aggregate(rows, &chosen));
        }
        let paths = root_paths(&plain);
        Self { plain, aggregated, paths }
    }
}

fn api_group(group: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({ "groupVersion": group_version(group, version), "version": version });
    let list: Vec<Value> = versions.iter().map(entry).collect();
    json!({ "name": group, "versions": list, "preferredVersion": list.first() })
}

fn resource_list(rows: &Rows, group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for row in in_version(rows, group, version) {
        let mut entry = json!({
            "name": row.plural, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
            "verbs": row.verbs.0,
        });
        if !row.short_names.is_empty() {
            entry["shortNames"] = json!(row.short_names);
        }
        if !row.categories.is_empty() {
            entry["categories"] = json!(row.categories);
        }
        if !row.virtual_resource {
            entry["storageVersionHash"] = storage_version_hash(row).into();
        }
        resources.push(entry);
        resources.extend(row.subresources.iter().map(|sub| subresource(row, sub)));
    }
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group, version),
        "resources": resources,
    })
}

fn subresource(row: &Resource, sub: &Subresource) -> Value {
    let name = format!("{}/{}", row.plural, sub.name);
    let kind = sub.kind.map_or(row.kind, |(_, _, kind)| kind);
    let mut entry =
        json!({ "name": name, "singularName": "", "namespaced": row.namespaced, "kind": kind, "verbs": sub.verbs.0 });
    if let Some((group, version, _)) = sub.kind.filter(|(group, ..)| *group != row.group) {
        entry["group"] = group.into();
        entry["version"] = version.into();
    }
    entry
}

/// Changes when the form that is stored changes; clients only compare it.
fn storage_version_hash(row: &Resource) -> String {
    use base64::Engine as _;
    let text = format!("{}/{}/{}", row.storage_group, row.storage_version, row.kind);
    let hash = Sha256::digest(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

fn aggregate(rows: &Rows, groups: &[&(&'static str, Vec<&'static str>)]) -> Aggregated {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> =
                        in_version(rows, group, version).map(|row| aggregated_resource(row, version)).collect();
                    json!({ "version": version, "freshness": "Current", "resources": resources })
                })
                .collect();
            let mut metadata = json!({ "creationTimestamp": null });
            if !group.is_empty() {
                metadata["name"] = (*group).into();
            }
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": group_version(AGGREGATED.0, AGGREGATED.1), "metadata": {},
        "items": items,
    });
    let body = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let etag = hash_tag(&body);
    Aggregated { body, etag }
}

fn aggregated_resource(row: &Resource, version: &str) -> Value {
    let mut entry = json!({
        "resource": row.plural,
        "responseKind": { "group": row.group, "version": version, "kind": row.kind },
        "scope": if row.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": row.singular,
        "verbs": row.verbs.0,
    });
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
    if !row.subresources.is_empty() {
        let subs: Vec<Value> = row
            .subresources
            .iter()
            .map(|sub| {
                let (group, kind_version, kind) = sub.kind.unwrap_or((row.group, version, row.kind));
                let kind = json!({ "group": group, "version": kind_version, "kind": kind });
                json!({ "subresource": sub.name, "responseKind": kind, "verbs": sub.verbs.0 })
            })
            .collect();
        entry["subresources"] = subs.into();
    }
    entry
}

/// A strong entity tag of the content.
pub fn hash_tag(body: &[u8]) -> HeaderValue {
    let hex: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02X}")).collect();
    // Quotes and hexadecimal digits are legal in a header.
    HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn root_paths(plain: &BTreeMap<String, Value>) -> Vec<String> {
    let fixed = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    let mut paths: Vec<String> = plain.keys().cloned().chain(fixed.map(str::to_owned)).collect();
    paths.sort_unstable();
    paths
}

/// `/`: the paths that there are.
pub fn root(context: &Context<'_>) -> Response {
    respond::json(StatusCode::OK, &json!({ "paths": context.server.discovery.paths }))
}

/// Any other path: a discovery document or nothing.
pub fn serve(context: &Context<'_>, path: &str) -> ApiResult<Response> {
    let documents = &context.server.discovery;
    let Some(document) = documents.plain.get(path) else {
        // Below what is served a refusal is an object of the API.
        let mut segments = path.splitn(4, '/').skip(1);
        let known = match (segments.next(), segments.next()) {
            (Some("api"), _) => true,
            (Some("apis"), Some(group)) => documents.plain.contains_key(&format!("/apis/{group}")),
            _ => false,
        };
        return if known { Err(ApiError::page_not_found()) } else { Ok(respond::no_page()) };
    };
    if !matches!(path, "/api" | "/apis") {
        return respond::value(StatusCode::OK, document, media(context)?);
    }
    if let Some(found) = documents.aggregated.get(path)
        && let Some(format) = aggregated_format(context)
    {
        return aggregated(context, found, format);
    }
    let mut response = respond::value(StatusCode::OK, document, media(context)?)?;
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The format, if the first entry of Accept that can be served asks for the aggregated form.
fn aggregated_format(context: &Context<'_>) -> Option<Format> {
    for entry in entries(negotiate::accept(context.headers())) {
        let wanted = ["as", "g", "v"].map(|name| entry.parameter(name));
        let format = FORMATS.into_iter().find(|(_, subtype)| entry.matches("application", subtype));
        match (format, wanted) {
            (Some(_), [None, None, None]) => return None,
            (Some((format, _)), [Some("APIGroupDiscoveryList"), group, version])
                if (group, version) == (Some(AGGREGATED.0), Some(AGGREGATED.1)) =>
            {
                return Some(format);
            }
            _ => {}
        }
    }
    None
}

/// The aggregated form. JSON is there; the others are made of it, for few ask for them.
fn aggregated(context: &Context<'_>, found: &Aggregated, format: Format) -> ApiResult<Response> {
    let (group, version) = AGGREGATED;
    let mut kind = respond::content_type(format).as_bytes().to_vec();
    kind.extend_from_slice(format!(";g={group};v={version};as=APIGroupDiscoveryList").as_bytes());
    let kind = HeaderValue::from_bytes(&kind).map_err(ApiError::internal)?;
    if format == Format::Json {
        return Ok(tagged(context, &found.body, &found.etag, kind));
    }
    let document: Value = serde_json::from_slice(&found.body).map_err(ApiError::internal)?;
    let made = respond::value(StatusCode::OK, &document, Media { format, ..Media::default() })?;
    let body = made.body().as_full().cloned().unwrap_or_default();
    Ok(tagged(context, &body, &found.etag, kind))
}

fn media(context: &Context<'_>) -> ApiResult<Media> {
    negotiate::negotiate(context.headers(), &context.query, false)
}

/// An answer with an entity tag, or 304 if the client has it.
pub fn tagged(context: &Context<'_>, body: &Bytes, etag: &HeaderValue, kind: HeaderValue) -> Response {
    let known = context.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag == etag);
    let mut response = respond::typed(kind.clone(), if known { Bytes::new() } else { body.clone() });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = ResponseBody::empty();
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(ETAG, etag.clone());
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}
