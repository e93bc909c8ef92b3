//! Request bodies as trees: media type, kind, unknown fields, types.

use apimachinery::decode::{ContentType, Decoded, decode};
use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersion, GroupVersionKind, yaml_keys};
use apis::schema::{self, protobuf};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::options::{FieldValidation, field_validation};
use super::render::go_package;
use crate::context::Context;
use crate::http::body::RequestBody;
use crate::http::negotiate;

/// A body that fits its endpoint, with what to warn about.
pub struct Body {
    pub object: Value,
    pub warnings: Vec<String>,
}

/// The media type of the body, without parameters.
pub fn media_type<'a>(context: &'a Context<'_>) -> &'a str {
    let text = context.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    text.split(';').next().unwrap_or("").trim()
}

pub fn unsupported(accepted: &str) -> ApiError {
    ApiError::unsupported_media_type(format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    ))
}

/// The body as a tree, in any of the encodings. `kind` is what it is expected to be.
pub fn tree(context: &Context<'_>, kind: &GroupVersionKind, bytes: &[u8]) -> ApiResult<Decoded> {
    read_tree(context, kind, bytes, |why| unrecognized(kind, why, bytes))
}

/// The same for options, whose faults are told as they are.
pub fn bare_tree(context: &Context<'_>, kind: &GroupVersionKind, bytes: &[u8]) -> ApiResult<Decoded> {
    read_tree(context, kind, bytes, |why| ApiError::bad_request(why))
}

fn read_tree(
    context: &Context<'_>,
    kind: &GroupVersionKind,
    bytes: &[u8],
    refuse: impl Fn(&str) -> ApiError,
) -> ApiResult<Decoded> {
    let unreadable = |error: ApiError| refuse(error.message());
    match media_type(context) {
        "" | "application/json" | "*/*" => decode(bytes, ContentType::Json).map_err(unreadable),
        YAML => decode(bytes, ContentType::Yaml).map_err(unreadable),
        protobuf::MEDIA_TYPE => match protobuf::decode(bytes, kind) {
            Ok(object) => Ok(Decoded { object, duplicates: Vec::new() }),
            Err((None, why)) => Err(refuse(&why.to_string())),
            Err((Some(named), why)) => Err(ApiError::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {why}",
                named.kind, named.version, kind.kind
            ))),
        },
        _ => Err(unsupported(negotiate::MEDIA_TYPES)),
    }
}

/// The refusal of a body that does not even tell its kind.
fn unrecognized(kind: &GroupVersionKind, why: &str, bytes: &[u8]) -> ApiError {
    let (kind, summary) = (&kind.kind, summary(bytes));
    ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})"))
}

/// Why a tree cannot tell its kind, as Go's decoder says it of the struct that it is read into.
fn kind_fault(object: &Value) -> Option<String> {
    const STRUCT: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
                          Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let Value::Object(map) = object else {
        return Some(format!("json: cannot unmarshal {} into Go value of type {STRUCT}", schema::go_kind(object)));
    };
    let wrong = |name: &&str| map.get(*name).is_some_and(|value| !value.is_string() && !value.is_null());
    let name = ["apiVersion", "kind"].into_iter().find(wrong)?;
    let given = schema::go_kind(&map[name]);
    Some(format!("json: cannot unmarshal {given} into Go struct field .{name} of type string"))
}

/// The beginning of a body: as it is if it looks like JSON, else in hexadecimal digits.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (shown, more) = if bytes.len() > SHOWN { (&bytes[..SHOWN], " ...") } else { (bytes, "") };
    match shown.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + more,
    }
}

/// Reads an object of the kind that the endpoint takes.
pub async fn object(context: &Context<'_>, kind: &GroupVersionKind, body: RequestBody) -> ApiResult<Body> {
    let bytes = body.read().await?;
    object_of_bytes(context, kind, &bytes)
}

pub fn object_of_bytes(context: &Context<'_>, kind: &GroupVersionKind, bytes: &Bytes) -> ApiResult<Body> {
    let validation = field_validation(context);
    let Decoded { mut object, duplicates } = tree(context, kind, bytes)?;
    let repeated = match duplicates.is_empty() {
        false if media_type(context) == YAML => Repeated::in_yaml(duplicates, bytes),
        _ => Repeated::Paths(duplicates),
    };
    if let Some(why) = kind_fault(&object) {
        return Err(unrecognized(kind, &format!("couldn't get version/kind; json parse error: {why}"), bytes));
    }
    settle_kind(&mut object, kind)?;
    let warnings = settle(&mut object, kind, &repeated, validation).map_err(|misfit| match misfit {
        Misfit::Type(why) => schema::decode_error(kind, &why),
        Misfit::Strict(texts) => schema::strict_error(kind, &texts),
    })?;
    Ok(Body { object, warnings })
}

const YAML: &str = "application/yaml";

/// Keys that stood twice in a body, as strict validation tells them.
pub enum Repeated {
    /// Of JSON, where they stood.
    Paths(Vec<String>),
    /// Of YAML, what Go's reader says of each.
    Lines(Vec<String>),
}

impl Repeated {
    pub const NONE: Self = Self::Paths(Vec::new());

    /// As lines, if there are any `duplicates` at all.
    pub fn in_yaml(duplicates: Vec<String>, body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        if duplicates.is_empty() { Self::NONE } else { Self::Lines(yaml_keys::repeated(text)) }
    }

    fn is_empty(&self) -> bool {
        let (Self::Paths(all) | Self::Lines(all)) = self;
        all.is_empty()
    }

    /// The faults of a body with these `unknown` fields, each a warning.
    pub fn warnings(&self, unknown: &[String]) -> Vec<String> {
        match self {
            Self::Paths(paths) => schema::strict_messages(unknown, paths),
            Self::Lines(lines) => lines.iter().cloned().chain(schema::strict_messages(unknown, &[])).collect(),
        }
    }

    /// The same as the parts of a refusal, where all lines are one.
    fn refusals(&self, unknown: &[String]) -> Vec<String> {
        match self.yaml_error() {
            Some(error) => std::iter::once(error).chain(schema::strict_messages(unknown, &[])).collect(),
            None => self.warnings(unknown),
        }
    }

    /// The error of Go's strict reader of YAML.
    pub fn yaml_error(&self) -> Option<String> {
        match self {
            Self::Lines(lines) if !lines.is_empty() => {
                Some(format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")))
            }
            _ => None,
        }
    }
}

/// Why a tree is not of its kind.
pub enum Misfit {
    /// A value is of another type than its field.
    Type(String),
    /// Unknown and duplicate fields, where they were to be refused.
    Strict(Vec<String>),
}

/// Brings the tree into its kind's form: what the kind does not have goes, and is reported as asked for. Answers the
/// warnings.
pub fn settle(
    object: &mut Value,
    kind: &GroupVersionKind,
    repeated: &Repeated,
    validation: FieldValidation,
) -> Result<Vec<String>, Misfit> {
    keep_reset(object);
    let unknown = schema::conform(kind, object).map_err(Misfit::Type)?;
    if unknown.is_empty() && repeated.is_empty() {
        return Ok(Vec::new());
    }
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(repeated.warnings(&unknown)),
        FieldValidation::Strict => Err(Misfit::Strict(repeated.refusals(&unknown))),
    }
}

/// An empty list of managed fields asks that they be forgotten, but an empty list is none in canonical form: `[{}]` asks
/// the same.
fn keep_reset(object: &mut Value) {
    let list = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("managedFields"));
    if let Some(Value::Array(entries)) = list
        && entries.is_empty()
    {
        entries.push(Value::Object(serde_json::Map::new()));
    }
}

/// Fills in apiVersion and kind where they are missing; refuses others than the endpoint's.
fn settle_kind(object: &mut Value, kind: &GroupVersionKind) -> ApiResult<()> {
    let (api_version, name) = (object.api_version(), object.kind());
    if name == kind.kind && is_of(api_version, kind) {
        return Ok(());
    }
    let expected = GroupVersion::new(&*kind.group, &*kind.version).to_string();
    let given = GroupVersion::parse(if api_version.is_empty() { &expected } else { api_version });
    let given = given.with_kind(if name.is_empty() { &kind.kind } else { name });
    if given != *kind {
        return Err(other_kind(&given, kind));
    }
    let map = object_mut(object);
    map.insert("apiVersion".to_owned(), expected.into());
    map.insert("kind".to_owned(), kind.kind.as_str().into());
    Ok(())
}

/// Whether an `apiVersion` is the kind's, as it is written.
fn is_of(api_version: &str, kind: &GroupVersionKind) -> bool {
    match api_version.split_once('/') {
        Some((group, version)) => !group.is_empty() && group == kind.group && version == kind.version,
        None => kind.group.is_empty() && api_version == kind.version,
    }
}

/// The refusal of a body of another kind: one that does not exist, another version of the endpoint's, or another one.
fn other_kind(given: &GroupVersionKind, kind: &GroupVersionKind) -> ApiError {
    let (version, expected) = (given.group_version(), kind.group_version());
    let package = |group: &str| go_package(group).to_owned();
    let why = if schema::Type::of(given).is_none() {
        format!("no kind {:?} is registered for version \"{version}\" in scheme {SCHEME:?}", given.kind)
    } else if given.kind == kind.kind && package(&given.group) == package(&kind.group) {
        return ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        ));
    } else {
        let (from, to) = (&given.kind, &kind.kind);
        format!("converting ({}.{from}) to ({}.{to}): unknown conversion", given.version, package(&kind.group))
    };
    let (named, version) = (&given.kind, &given.version);
    ApiError::bad_request(format!("{named} in version {version:?} cannot be handled as a {}: {why}", kind.kind))
}

/// What upstream's scheme of built-in kinds is called in refusals.
const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";
