//! What every part of a Kubernetes-compatible API shares, without any concrete kind: identifiers (`gvk`), object access
//! over untyped trees (`meta`), selectors, quantities, patches, field errors, `Status` errors and watch events.
//!
//! It must not know any built-in kind, do I/O or depend on an async runtime. Start reading at [`status`].

pub mod decode;
pub mod duration;
pub mod field;
pub mod fields;
pub mod gvk;
pub mod intstr;
mod json_syntax;
pub mod labels;
pub mod managed;
pub mod meta;
pub mod patch;
pub mod quantity;
pub mod status;
pub mod time;
pub mod user;
pub mod validation;
pub mod watch;
pub mod yaml_keys;

pub use gvk::{GroupResource, GroupVersion, GroupVersionKind, GroupVersionResource};
pub use status::{ApiError, ApiResult};
pub use user::UserInfo;

/// An API object as an untyped tree. `serde_json::Map` is a sorted map here, so serialising a tree is canonical.
pub type Object = serde_json::Value;
