//! What the client wants to read: the first entry of Accept that can be served.

use apimachinery::{ApiError, ApiResult};
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};

use super::accept::entries;
use super::query::Query;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

/// In the order in which wildcards are resolved.
pub const FORMATS: [(Format, &str); 3] =
    [(Format::Json, "json"), (Format::Yaml, "yaml"), (Format::Protobuf, "vnd.kubernetes.protobuf")];

/// What bodies may be written in, as refusals list it.
pub const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for watches: YAML has no frames.
const STREAM_MEDIA_TYPES: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// The object itself, or something made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    #[default]
    Whole,
    Table,
    Partial,
    PartialList,
}

/// Version of `meta.k8s.io` that a table or partial object is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MetaVersion {
    #[default]
    V1,
    V1Beta1,
}

impl MetaVersion {
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Media {
    pub format: Format,
    pub form: Form,
    /// Of the form, where that is not the whole object.
    pub version: MetaVersion,
    pub pretty: bool,
}

/// What an endpoint can answer with.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Tables and partial objects, too.
    pub forms: bool,
    /// The kind has a form in protobuf.
    pub protobuf: bool,
    /// A stream of events.
    pub stream: bool,
}

pub fn accept(headers: &HeaderMap) -> &str {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Picks the media of an answer in a built-in kind. `forms`: other forms than the whole object may be served.
pub fn negotiate(headers: &HeaderMap, query: &Query<'_>, forms: bool) -> ApiResult<Media> {
    negotiate_offer(headers, query, Offer { forms, protobuf: true, stream: false })
}

/// Picks the media of an answer.
pub fn negotiate_offer(headers: &HeaderMap, query: &Query<'_>, offer: Offer) -> ApiResult<Media> {
    let pretty = is_pretty(headers, query);
    let accept = accept(headers);
    if matches!(accept, "" | "*/*" | "application/json") {
        return Ok(Media { pretty, ..Media::default() });
    }
    for entry in entries(accept) {
        for (format, subtype) in FORMATS {
            if entry.matches("application", subtype)
                && let Some((form, version)) = form(&entry, format, offer)
            {
                let pretty = pretty || entry.parameter("pretty") == Some("1");
                return Ok(Media { format, form, version, pretty });
            }
        }
    }
    Err(not_acceptable(if offer.stream { STREAM_MEDIA_TYPES } else { MEDIA_TYPES }))
}

/// The form that an entry asks for; `None` if it cannot be served in this format.
fn form(entry: &super::accept::Entry<'_>, format: Format, offer: Offer) -> Option<(Form, MetaVersion)> {
    let named = |name: &str| entry.parameter(name).filter(|value| !value.is_empty());
    if named("stream").is_some_and(|stream| stream != "watch" || format == Format::Yaml)
        || named("sv").is_some_and(|version| !offer.forms || version != "v1")
        || (offer.stream && format == Format::Yaml)
    {
        return None;
    }
    let wanted = ["as", "g", "v"].map(|name| entry.parameter(name));
    if wanted == [None; 3] {
        let served = format != Format::Protobuf || offer.protobuf;
        return served.then_some((Form::Whole, MetaVersion::V1));
    }
    let version = match (wanted[1], wanted[2]) {
        (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
        (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1Beta1,
        _ => return None,
    };
    let form = match wanted[0] {
        // Cells are any JSON: there is no message of them.
        Some("Table") if format != Format::Protobuf => Form::Table,
        Some("PartialObjectMetadata") => Form::Partial,
        Some("PartialObjectMetadataList") => Form::PartialList,
        _ => return None,
    };
    offer.forms.then_some((form, version))
}

pub fn not_acceptable(accepted: &str) -> ApiError {
    ApiError::not_acceptable(format!("only the following media types are accepted: {accepted}"))
}

/// Asked for, or read by a person: browsers, curl, wget.
fn is_pretty(headers: &HeaderMap, query: &Query<'_>) -> bool {
    if let Some(value) = query.find("pretty").filter(|value| !value.is_empty()) {
        return matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|reader| agent.starts_with(reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: Offer = Offer { forms: true, protobuf: true, stream: false };
    const WATCH: Offer = Offer { stream: true, ..RESOURCE };
    const CUSTOM: Offer = Offer { protobuf: false, ..RESOURCE };
    const PLAIN: Offer = Offer { forms: false, ..RESOURCE };
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

    fn picked(accept: &str, query: &str, offer: Offer) -> Result<Media, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        negotiate_offer(&headers, &Query::parse(query), offer).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn the_first_entry_that_can_be_served_wins() {
        use {Form::*, Format::*};
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        for (accept, offer, want) in [
            ("application/vnd.kubernetes.protobuf, application/json", RESOURCE, Some((Protobuf, Whole))),
            ("application/vnd.kubernetes.protobuf,application/json", CUSTOM, Some((Json, Whole))),
            (PROTOBUF, CUSTOM, None),
            (table, RESOURCE, Some((Json, Table))),
            (table, PLAIN, Some((Json, Whole))),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", PLAIN, None),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", RESOURCE, None),
            ("application/json;as=Table", RESOURCE, None),
            ("application/yaml;as=Table;v=v1;g=meta.k8s.io", RESOURCE, Some((Yaml, Table))),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", RESOURCE, None),
            ("*/*;as=Table;v=v1;g=meta.k8s.io", RESOURCE, Some((Json, Table))),
            (partial, RESOURCE, Some((Protobuf, PartialList))),
            (partial, CUSTOM, Some((Protobuf, PartialList))),
            ("application/yaml", RESOURCE, Some((Yaml, Whole))),
            ("text/yaml", RESOURCE, None),
            ("application/cbor", RESOURCE, None),
            ("application/cbor, application/*", RESOURCE, Some((Json, Whole))),
            ("application/yaml;stream=watch", RESOURCE, None),
            ("application/json;stream=watch", WATCH, Some((Json, Whole))),
            ("application/vnd.kubernetes.protobuf;stream=watch", WATCH, Some((Protobuf, Whole))),
            ("application/vnd.kubernetes.protobuf;type=watch", WATCH, Some((Protobuf, Whole))),
            ("application/yaml", WATCH, None),
            ("application/json;stream=log", WATCH, None),
            ("application/json;sv=v1", RESOURCE, Some((Json, Whole))),
            ("application/json;sv=v2", RESOURCE, None),
        ] {
            assert_eq!(picked(accept, "", offer).ok().map(|m| (m.format, m.form)), want, "{accept}");
        }
        let beta = picked("application/json;as=Table;v=v1beta1;g=meta.k8s.io", "", RESOURCE).unwrap();
        assert_eq!(beta.version.api_version(), "meta.k8s.io/v1beta1");
    }

    #[test]
    fn refusals_list_what_is_served() {
        let text = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        assert_eq!(picked("image/png", "", RESOURCE), Err(text.to_owned()));
        let text = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        assert_eq!(picked("image/png", "", WATCH), Err(text.to_owned()));
    }

    #[test]
    fn people_read_indented_answers() {
        let pretty = |accept: &str, query: &str| picked(accept, query, RESOURCE).unwrap().pretty;
        for (query, want) in [("pretty=true", true), ("pretty=1", true), ("pretty=yes", false), ("pretty=0", false)] {
            assert_eq!(pretty("application/json", query), want, "{query}");
        }
        assert!(pretty("application/json;pretty=1", ""));
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, "curl/8".parse().unwrap());
        assert!(negotiate(&headers, &Query::default(), true).unwrap().pretty);
        assert!(!negotiate(&headers, &Query::parse("pretty=false"), true).unwrap().pretty);
    }
}
