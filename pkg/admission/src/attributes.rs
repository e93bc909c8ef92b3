//! What is about to happen.

use apimachinery::meta::ObjectExt;
use apimachinery::{ApiError, GroupResource, UserInfo};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// As in an AdmissionReview.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// The kind of the object that is judged; it differs from the resource's own for `scale`, `binding`, `eviction`, `token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

/// A write, without its objects.
#[derive(Clone, Copy)]
pub struct Attributes<'a> {
    pub operation: Operation,
    pub kind: Kind<'a>,
    pub group: &'a str,
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    pub subresource: &'a str,
    /// Empty for cluster-scoped resources. For a Namespace it is the namespace's own name, as upstream has it.
    pub namespace: &'a str,
    /// Empty on create when the name is still to be generated.
    pub name: &'a str,
    pub user: &'a UserInfo,
    /// Nothing is stored: plugins must not have side effects.
    pub dry_run: bool,
    /// Takes texts for Warning headers.
    pub warn: &'a (dyn Fn(String) + Send + Sync),
}

impl std::fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { operation, group, resource, subresource, namespace, name, .. } = self;
        write!(f, "{operation:?} {group}/{resource}/{subresource} {namespace}/{name} by {:?}", self.user.name)
    }
}

impl Attributes<'_> {
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.resource)
    }

    /// True for this resource itself (no subresource).
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.subresource.is_empty() && self.group == group && self.resource == resource
    }

    /// True for this subresource.
    pub fn is_sub(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.subresource == subresource && self.group == group && self.resource == resource
    }

    /// The refusal that clients see: `pods "x" is forbidden: <why>`. Before a name is generated its prefix stands for it.
    pub fn forbidden(&self, object: Option<&Value>, why: impl std::fmt::Display) -> ApiError {
        let name = match (self.name, object) {
            ("", Some(object)) => match (object.name(), object.meta_str("generateName")) {
                ("", "") => "Unknown",
                ("", prefix) => prefix,
                (name, _) => name,
            },
            ("", None) => "Unknown",
            (name, _) => name,
        };
        ApiError::forbidden(&self.group_resource(), name, why)
    }
}
