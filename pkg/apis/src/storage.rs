//! Rows of `storage.k8s.io` and `storagemigration.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

const GROUP: &str = "storage.k8s.io";

pub const ROWS: &[Resource] = &[
    Resource::cluster(GROUP, "v1", "csidrivers", "csidriver", "CSIDriver"),
    Resource::cluster(GROUP, "v1", "csinodes", "csinode", "CSINode"),
    Resource::namespaced(GROUP, "v1", "csistoragecapacities", "csistoragecapacity", "CSIStorageCapacity"),
    Resource {
        short_names: &["sc"],
        ..Resource::cluster(GROUP, "v1", "storageclasses", "storageclass", "StorageClass")
    },
    Resource {
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..Resource::cluster(GROUP, "v1", "volumeattachments", "volumeattachment", "VolumeAttachment")
    },
    Resource {
        short_names: &["vac"],
        ..Resource::cluster(GROUP, "v1", "volumeattributesclasses", "volumeattributesclass", "VolumeAttributesClass")
    },
];

pub const MIGRATION_ROWS: &[Resource] = &[Resource {
    strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
    subresources: &[Subresource::STATUS],
    ..Resource::cluster(
        "storagemigration.k8s.io",
        "v1",
        "storageversionmigrations",
        "storageversionmigration",
        "StorageVersionMigration",
    )
}];
