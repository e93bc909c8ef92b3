//! HTTP without Kubernetes semantics of its own: bodies, paths, queries, content negotiation, answers.

pub mod accept;
pub mod body;
pub mod compress;
pub mod negotiate;
pub mod path;
pub mod query;
pub mod respond;
