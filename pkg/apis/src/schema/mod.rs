//! What the types of the built-in kinds are made of: one static table (from `api/schema/types.tsv`) that drives strict
//! decoding, canonical forms, strategic merge, declared defaults, server-side apply and protobuf.
//!
//! Start reading at `table` for the facts and at `conform` for what decoding does with them. Lookups are binary searches
//! over static slices; nothing is built at run time.

mod conform;
mod decode;
mod defaults;
pub mod fill;
mod merge;
mod present;
pub mod protobuf;
mod table;

#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod tests;

use apimachinery::GroupVersionKind;
use apimachinery::patch::TypeId;
use serde_json::Value;

pub use conform::{conform, conform_to, go_kind, zero_struct};
pub use decode::{decode, decode_error, strict_error, strict_messages};
pub use defaults::{apply_defaults, default_value, walk, walk_mut};
pub use merge::Schema;
pub use table::{Base, Container, Field, Type, roots};

/// The type of a kind's root object, for merges.
pub fn type_of(gvk: &GroupVersionKind) -> Option<TypeId> {
    Type::of(gvk).map(Type::id)
}

/// Paths of fields that the kind does not have, such as `spec.foo`.
pub fn unknown_fields(gvk: &GroupVersionKind, object: &Value) -> Vec<String> {
    conform(gvk, &mut object.clone()).unwrap_or_default()
}

/// The first value of a wrong type, in the words of Go's decoder.
pub fn type_errors(gvk: &GroupVersionKind, object: &Value) -> Option<String> {
    conform(gvk, &mut object.clone()).err()
}

/// Brings an object that is known to be well-typed into canonical form; unknown fields are dropped.
pub fn canonicalise(gvk: &GroupVersionKind, object: &mut Value) {
    // An object of a wrong type stays as far as it got: shapes are refused at decoding, not here.
    let _ = conform(gvk, object);
}
