//! Rows of `apiextensions.k8s.io` and `apiregistration.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    strategy: Strategy::SPEC_STATUS,
    subresources: &[Subresource::STATUS],
    ..Resource::cluster(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "customresourcedefinition",
        "CustomResourceDefinition",
    )
}];

pub const AGGREGATION_ROWS: &[Resource] = &[Resource {
    categories: &["api-extensions"],
    strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
    subresources: &[Subresource::STATUS],
    ..Resource::cluster("apiregistration.k8s.io", "v1", "apiservices", "apiservice", "APIService")
}];
