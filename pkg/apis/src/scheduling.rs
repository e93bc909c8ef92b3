//! Rows of `scheduling.k8s.io`, `node.k8s.io` and `resource.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

const RESOURCE: &str = "resource.k8s.io";

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["pc"],
    ..Resource::cluster("scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass")
}];

pub const NODE_ROWS: &[Resource] =
    &[Resource::cluster("node.k8s.io", "v1", "runtimeclasses", "runtimeclass", "RuntimeClass")];

pub const RESOURCE_ROWS: &[Resource] = &[
    Resource {
        strategy: Strategy::SPEC_STATUS,
        ..Resource::cluster(RESOURCE, "v1", "deviceclasses", "deviceclass", "DeviceClass")
    },
    Resource {
        strategy: Strategy::SPEC_STATUS,
        subresources: &[Subresource::STATUS],
        ..Resource::cluster(RESOURCE, "v1", "devicetaintrules", "devicetaintrule", "DeviceTaintRule")
    },
    Resource {
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..Resource::namespaced(RESOURCE, "v1", "resourceclaims", "resourceclaim", "ResourceClaim")
    },
    Resource::namespaced(RESOURCE, "v1", "resourceclaimtemplates", "resourceclaimtemplate", "ResourceClaimTemplate"),
    Resource {
        strategy: Strategy::SPEC_STATUS,
        ..Resource::cluster(RESOURCE, "v1", "resourceslices", "resourceslice", "ResourceSlice")
    },
];
