//! The one error form of the API: `meta/v1` `Status`, with upstream's codes, reasons and texts.

use serde_json::{Map, Value, json};

use crate::field::ErrorList;
use crate::gvk::{GroupResource, GroupVersionKind};

pub type ApiResult<T> = Result<T, ApiError>;

/// One entry of `Status.details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

/// `Status.details`; empty parts are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// By upstream's custom the plural resource for most errors and the kind for validation errors.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    /// Seconds after which a retry makes sense; 0 is "not said". Sent also as the Retry-After header.
    pub retry_after_seconds: u32,
}

/// A refused request. Boxed so that `Result<T, ApiError>` stays small.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct ApiError(Box<Failure>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Details>,
}

impl ApiError {
    /// Any error; prefer the named constructors, which carry upstream's texts.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Failure { code, reason, message: message.into(), details: None }))
    }

    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.0.details = Some(details);
        self
    }

    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// The machine-readable reason, e.g. `NotFound`; empty for `Unknown`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn details(&self) -> Option<&Details> {
        self.0.details.as_ref()
    }

    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details().map(|d| d.retry_after_seconds).filter(|s| *s > 0)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "Unauthorized", message)
    }

    /// The resource refuses: `pods "x" is forbidden: <why>`.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = if name.is_empty() && resource.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} {name:?} not found")).about(resource, name)
    }

    /// No such path at all.
    pub fn page_not_found() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(Details::default())
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} {name:?} already exists")).about(resource, name)
    }

    pub fn conflict(resource: &GroupResource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// The usual optimistic-locking conflict.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message)
    }

    /// A revision that is no longer kept; clients list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// Validation failed: 422 with one cause an error.
    pub fn invalid(kind: &GroupVersionKind, name: &str, errors: &ErrorList) -> Self {
        let group_kind =
            if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let text = match errors.as_slice() {
            [] => String::new(),
            [one] => one.to_string(),
            many => {
                // Aggregated texts are listed once each, in order of first appearance, as upstream does.
                let mut seen = std::collections::BTreeSet::new();
                let texts: Vec<String> =
                    many.iter().map(ToString::to_string).filter(|t| seen.insert(t.clone())).collect();
                if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) }
            }
        };
        let causes = errors
            .iter()
            .map(|e| Cause { reason: e.kind.reason().to_owned(), message: e.body(), field: e.path.clone() })
            .collect();
        Self::new(422, "Invalid", format!("{group_kind} {name:?} is invalid: {text}")).with_details(Details {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            causes,
            ..Details::default()
        })
    }

    pub fn method_not_supported(resource: &GroupResource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", resource.to_string());
        Self::new(405, "MethodNotAllowed", message).about(resource, "")
    }

    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn request_too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).with_details(Details { retry_after_seconds, ..Details::default() })
    }

    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {cause}")).with_details(Details {
            causes: vec![Cause { reason: String::new(), message: cause.to_string(), field: String::new() }],
            ..Details::default()
        })
    }

    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", format!("Timeout: {}", message.into()))
    }

    fn about(self, resource: &GroupResource, name: &str) -> Self {
        self.with_details(Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            ..Details::default()
        })
    }

    /// The `Status` object that clients read.
    pub fn to_status(&self) -> Value {
        let failure = &self.0;
        let mut status = json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": failure.message, "code": failure.code,
        });
        if !failure.reason.is_empty() {
            status["reason"] = failure.reason.into();
        }
        if let Some(details) = &failure.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            map.insert(key.to_owned(), text.as_str().into());
        }
        if !self.causes.is_empty() {
            map.insert("causes".to_owned(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".to_owned(), self.retry_after_seconds.into());
        }
        map.into()
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        let texts = [("reason", &self.reason), ("message", &self.message), ("field", &self.field)];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            map.insert(key.to_owned(), text.as_str().into());
        }
        map.into()
    }
}

/// `Status` of success, as answered to a deletion that is done.
pub fn success(details: Details) -> Value {
    json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details.to_value() })
}
