//! Rows of `coordination.k8s.io`.

use crate::resource::{Resource, Strategy};

pub const ROWS: &[Resource] = &[Resource {
    strategy: Strategy { allow_create_on_update: true, allow_unconditional_update: false, ..Strategy::PLAIN },
    ..Resource::namespaced("coordination.k8s.io", "v1", "leases", "lease", "Lease")
}];
