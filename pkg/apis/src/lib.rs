//! The built-in kinds of Kubernetes 1.37, one row a resource: names, versions, verbs, subresources, strategy, columns.
//!
//! It must not know storage, HTTP or controllers. Start reading at [`resource`], the shape of a row.

pub mod resource;
