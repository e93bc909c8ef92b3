//! The built-in kinds of Kubernetes 1.37, one row a resource: names, versions, verbs, subresources, strategy, columns.
//!
//! It must not know storage, HTTP or controllers. Start reading at [`resource`], the shape of a row, then [`rows`], the
//! list of them; each API group has a folder with its rows and, per kind, defaults, validation and cells.

pub mod cells;
pub mod check;
pub mod diff;
pub mod openapi;
pub mod podspec;
pub mod quantity;
pub mod resource;
pub mod rows;
pub mod schema;
pub mod strategy;
pub mod tree;

pub mod addresses;
mod admissionregistration;
mod apiextensions;
mod apps;
mod auth;
mod autoscaling;
mod batch;
mod certificates;
pub mod conditions;
mod coordination;
mod core;
mod dynamic_resources;
mod events;
mod flowcontrol;
mod intstr;
mod names;
mod networking;
mod policy;
mod rbac;
mod scheduling;
mod storage;
mod workload;

#[cfg(test)]
mod testing;

pub use rows::{all, by_kind, find};
