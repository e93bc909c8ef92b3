//! Field errors, with upstream's texts (`k8s.io/apimachinery/pkg/util/validation/field`): what is wrong at which path.

use std::fmt;

use serde_json::Value;

/// A path such as `spec.containers[0].ports[name=web].hostPort`, built from the root down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    /// The field `name` below this path.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { self.with([".", name]) }
    }

    /// The list element at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.key(&index.to_string())
    }

    /// The map entry under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(["[", key, "]"])
    }

    /// Without the machinery of `format!`: checks make many paths.
    fn with<const N: usize>(&self, more: [&str; N]) -> Self {
        let mut path = String::with_capacity(self.0.len() + more.iter().map(|part| part.len()).sum::<usize>());
        path.push_str(&self.0);
        more.into_iter().for_each(|part| path.push_str(part));
        Self(path)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The kinds of field errors; each has the reason code that `Status.details.causes` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    NotFound,
    TooLong,
    TooMany,
    TypeInvalid,
    Internal,
}

impl ErrorKind {
    /// The machine-readable cause, e.g. `FieldValueRequired`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: ErrorKind,
    pub path: String,
    /// The offending value; absent for kinds that do not show it (required, forbidden, too long, internal).
    pub value: Option<Value>,
    pub detail: String,
}

/// All that is wrong with an object; empty means valid.
pub type ErrorList = Vec<Error>;

impl Error {
    fn make(kind: ErrorKind, path: &Path, value: Option<Value>, detail: impl Into<String>) -> Self {
        Self { kind, path: path.to_string(), value, detail: detail.into() }
    }

    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorKind::Required, path, None, detail)
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(ErrorKind::Invalid, path, Some(value.into()), detail)
    }

    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::make(ErrorKind::TypeInvalid, path, Some(value.into()), detail)
    }

    /// `supported` is listed quoted, in the given order.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if quoted.is_empty() { String::new() } else { format!("supported values: {}", quoted.join(", ")) };
        Self::make(ErrorKind::NotSupported, path, Some(value.into()), detail)
    }

    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::make(ErrorKind::Duplicate, path, Some(value.into()), "")
    }

    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorKind::Forbidden, path, None, detail)
    }

    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::make(ErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// `max` is in bytes.
    pub fn too_long(path: &Path, max: usize) -> Self {
        Self::make(ErrorKind::TooLong, path, None, format!("may not be more than {max} bytes"))
    }

    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        Self::make(ErrorKind::TooMany, path, Some(actual.into()), format!("must have at most {max} items"))
    }

    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorKind::Internal, path, None, detail)
    }

    /// The text without the path, as it stands in `Status.details.causes[].message`.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// Strings are quoted as by Go's `%q`; everything else is shown as JSON.
fn shown(value: &Value) -> String {
    value.to_string()
}
