//! Admission: what a write must pass between authorization and the store. Plugins first change the object (`mutate`), then
//! judge the result (`validate`); quotas come last (`charge`).
//!
//! It must not know routes or storage: it reads other objects through [`Reader`] and asks about permissions through
//! [`Authorizer`]. Start reading at [`Chain`], which has the order; each plugin is one file in `plugins`. Webhooks and
//! policies plug in as [`Extension`]s at the place that upstream gives them.

mod attributes;
mod chain;
pub mod plugins;
pub mod quota;
mod reader;
pub mod resources;
#[cfg(test)]
mod testing;

pub use attributes::{Attributes, Kind, Operation};
pub use chain::{Chain, Config, Extension, Plugin};
pub use reader::{Authorizer, Permission, Reader};
