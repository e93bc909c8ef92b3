//! Rows of `flowcontrol.apiserver.k8s.io`.

use crate::resource::{Resource, Strategy, Subresource};

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        strategy: Strategy::SPEC_STATUS,
        subresources: &[Subresource::STATUS],
        ..Resource::cluster("flowcontrol.apiserver.k8s.io", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[
    row("flowschemas", "flowschema", "FlowSchema"),
    row("prioritylevelconfigurations", "prioritylevelconfiguration", "PriorityLevelConfiguration"),
];
