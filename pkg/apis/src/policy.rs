//! Rows of `policy`.

use crate::resource::{Resource, Strategy, Subresource};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["pdb"],
    strategy: Strategy::SPEC_STATUS,
    subresources: &[Subresource::STATUS],
    ..Resource::namespaced("policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget")
}];
