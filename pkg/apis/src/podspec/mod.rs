//! The pod template: defaults and validation of `PodSpec` and `PodTemplateSpec`, shared by pods and all that makes pods.
//! Start at [`defaults`] and [`validate`].

pub mod affinity;
pub mod annotations;
pub mod container;
pub mod defaults;
pub mod env;
mod fields;
mod gates;
pub mod probe;
pub mod projected;
pub mod resources;
pub mod security;
pub mod validate;
pub mod volume;
mod volume_remote;
pub mod volume_sources;
pub mod warnings;
mod windows;

pub use defaults::{default_pod_spec, default_pod_template};
pub use validate::{Scope, validate_pod_spec, validate_pod_template};

/// The lists of containers of a pod spec.
pub const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
