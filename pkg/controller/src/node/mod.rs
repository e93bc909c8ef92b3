//! Nodes: whether they are heard of, what may run on them, and which addresses their pods get.

pub mod eviction;
pub mod ipam;
pub mod lifecycle;
mod plan;

pub(crate) use plan::tolerates;
