//! Types of expressions, and the notation in which tables and error texts write them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The type of a value, as far as it is known before evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known at evaluation only.
    Dyn,
    /// The same, of what Kubernetes declares as a value of any type.
    Any,
    /// Of an expression that an error was told about.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    /// A type as a value; of what, where that is known.
    Type(Option<Arc<Type>>),
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    Optional(Arc<Type>),
    /// Values that only functions look into.
    Opaque(&'static str),
    /// Objects of a named type.
    Object(Cow<'static, str>),
    /// A parameter of an overload, or a variable that is not known yet.
    Param(u32),
}

const fn object(name: &'static str) -> Type {
    Type::object(name)
}

/// Names of types without parameters, as tables and errors write them. In tables the last part of a name is enough.
const SIMPLE: &[(&str, Type)] = &[
    ("dyn", Type::Dyn),
    ("any", Type::Any),
    ("!error!", Type::Error),
    ("null", Type::Null),
    ("bool", Type::Bool),
    ("int", Type::Int),
    ("uint", Type::Uint),
    ("double", Type::Double),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("timestamp", Type::Timestamp),
    ("duration", Type::Duration),
    ("type", Type::Type(None)),
    ("A", Type::Param(0)),
    ("B", Type::Param(1)),
    ("C", Type::Param(2)),
    ("URL", object("kubernetes.URL")),
    ("IP", Type::Opaque("net.IP")),
    ("CIDR", Type::Opaque("net.CIDR")),
    ("Quantity", object("kubernetes.Quantity")),
    ("Semver", object("kubernetes.Semver")),
    ("NamedFormat", object("kubernetes.NamedFormat")),
    ("Authorizer", object("kubernetes.authorization.Authorizer")),
    ("PathCheck", object("kubernetes.authorization.PathCheck")),
    ("GroupCheck", object("kubernetes.authorization.GroupCheck")),
    ("ResourceCheck", object("kubernetes.authorization.ResourceCheck")),
    ("Decision", object("kubernetes.authorization.Decision")),
    ("Image", Type::Opaque("kubernetes.Image")),
    ("GroupVersionKind", object("kubernetes.GroupVersionKind")),
    ("GroupVersionResource", object("kubernetes.GroupVersionResource")),
    ("UserInfo", object("kubernetes.UserInfo")),
    ("AdmissionRequest", object("kubernetes.AdmissionRequest")),
    ("Namespace", object("kubernetes.Namespace")),
    ("NamespaceMetadata", object("kubernetes.NamespaceMetadata")),
    ("NamespaceSpec", object("kubernetes.NamespaceSpec")),
    ("NamespaceStatus", object("kubernetes.NamespaceStatus")),
    ("NamespaceCondition", object("kubernetes.NamespaceCondition")),
    ("Variables", object("kubernetes.variables")),
    ("Device", object("kubernetes.DRADevice")),
    ("JSONPatch", object("JSONPatch")),
    ("Object", object("Object")),
];

impl Type {
    /// Objects of the type of this name.
    #[must_use]
    pub const fn object(name: &'static str) -> Self {
        Self::Object(Cow::Borrowed(name))
    }

    /// A list of such items.
    #[must_use]
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map from such keys to such values.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// A value that may be missing.
    #[must_use]
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// Reads a type at the beginning of `text`, which is left at what follows it.
    pub(crate) fn read(text: &mut &str) -> Option<Self> {
        let length = text.find(['(', ')', ',', '.']).unwrap_or(text.len());
        let (name, rest) = text.split_at(length);
        *text = rest;
        let Some(inner) = text.strip_prefix('(').filter(|_| !name.is_empty()) else { return simple(name) };
        *text = inner;
        let first = Self::read(text)?;
        let read = match name {
            "list" => Self::list(first),
            "optional_type" => Self::optional(first),
            "type" => Self::Type(Some(Arc::new(first))),
            "map" => {
                *text = text.strip_prefix(", ")?;
                Self::map(first, Self::read(text)?)
            }
            _ => return None,
        };
        *text = text.strip_prefix(')')?;
        Some(read)
    }

    /// How many parameters it has: one more than the highest number.
    pub(crate) fn parameters(&self) -> u32 {
        match self {
            Self::Param(number) => number + 1,
            Self::List(of) | Self::Optional(of) | Self::Type(Some(of)) => of.parameters(),
            Self::Map(entry) => entry.0.parameters().max(entry.1.parameters()),
            _ => 0,
        }
    }

    /// The type with its parameters numbered from `first`.
    pub(crate) fn renumbered(&self, first: u32) -> Self {
        match self {
            Self::Param(number) => Self::Param(first + number),
            Self::List(of) => Self::list(of.renumbered(first)),
            Self::Optional(of) => Self::optional(of.renumbered(first)),
            Self::Type(Some(of)) => Self::Type(Some(Arc::new(of.renumbered(first)))),
            Self::Map(entry) => Self::map(entry.0.renumbered(first), entry.1.renumbered(first)),
            _ => self.clone(),
        }
    }

    /// Whether it has more parts than types of real expressions have: with each part named twice they could grow without
    /// bound in a few letters.
    pub(crate) fn is_too_large(&self) -> bool {
        const PARTS_MAX: usize = 256;
        fn count(of: &Type, left: usize) -> Option<usize> {
            let left = left.checked_sub(1)?;
            match of {
                Type::List(of) | Type::Optional(of) | Type::Type(Some(of)) => count(of, left),
                Type::Map(entry) => count(&entry.1, count(&entry.0, left)?),
                _ => Some(left),
            }
        }
        count(self, PARTS_MAX).is_none()
    }

    /// The type with `dyn` for all that is not one of CEL's plain types.
    pub(crate) fn simplified(&self) -> Self {
        match self {
            Self::List(item) => Self::list(item.simplified()),
            Self::Map(entry) => Self::map(entry.0.simplified(), entry.1.simplified()),
            Self::Optional(_) | Self::Type(_) | Self::Opaque(_) | Self::Object(_) | Self::Error => Self::Dyn,
            _ => self.clone(),
        }
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    /// As errors about the result of an expression name it: by what it is called at evaluation.
    #[must_use]
    pub fn declared(&self) -> String {
        match self {
            Self::Any => "google.protobuf.Any".to_owned(),
            Self::Null => "null_type".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            Self::Type(Some(of)) => format!("type({})", of.declared()),
            Self::List(item) => format!("list({})", item.declared()),
            Self::Optional(value) => format!("optional_type({})", value.declared()),
            Self::Map(entry) => format!("map({}, {})", entry.0.declared(), entry.1.declared()),
            _ => self.to_string(),
        }
    }
}

fn simple(name: &str) -> Option<Type> {
    SIMPLE.iter().find(|(known, _)| *known == name).map(|(_, simple)| simple.clone())
}

impl fmt::Display for Type {
    /// As errors inside of expressions name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(Some(of)) => write!(f, "type({of})"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(entry) => write!(f, "map({}, {})", entry.0, entry.1),
            Self::Optional(value) => write!(f, "optional_type({value})"),
            Self::Opaque(name) => f.write_str(name),
            Self::Object(name) => f.write_str(name),
            Self::Param(number) => write!(f, "_var{number}"),
            _ => f.write_str(SIMPLE.iter().find(|(_, simple)| simple == self).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_shown() {
        for (text, shown, declared) in [
            ("int", "int", "int"),
            ("null", "null", "null_type"),
            (
                "list(map(string, duration))",
                "list(map(string, duration))",
                "list(map(string, google.protobuf.Duration))",
            ),
            ("optional_type(IP)", "optional_type(net.IP)", "optional_type(net.IP)"),
            ("type(Quantity)", "type(kubernetes.Quantity)", "type(kubernetes.Quantity)"),
        ] {
            let mut rest = text;
            let read = Type::read(&mut rest).expect("a type of a table");
            assert_eq!((rest, read.to_string().as_str(), read.declared().as_str()), ("", shown, declared));
        }
        for wrong in ["", "list(int", "map(int)", "Unknown", "set(int)", "(int)"] {
            let mut rest = wrong;
            assert_eq!(Type::read(&mut rest), None, "{wrong}");
        }
    }
}
