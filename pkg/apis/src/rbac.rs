//! Rows of `rbac.authorization.k8s.io`.

use crate::resource::{Resource, Strategy};

const GROUP: &str = "rbac.authorization.k8s.io";

const STRATEGY: Strategy =
    Strategy { allow_create_on_update: true, validate_name: crate::strategy::path_segment_name, ..Strategy::PLAIN };

pub const ROWS: &[Resource] = &[
    Resource {
        strategy: STRATEGY,
        ..Resource::cluster(GROUP, "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding")
    },
    Resource { strategy: STRATEGY, ..Resource::cluster(GROUP, "v1", "clusterroles", "clusterrole", "ClusterRole") },
    Resource { strategy: STRATEGY, ..Resource::namespaced(GROUP, "v1", "rolebindings", "rolebinding", "RoleBinding") },
    Resource { strategy: STRATEGY, ..Resource::namespaced(GROUP, "v1", "roles", "role", "Role") },
];
