//! Rows of `apps`.

use crate::resource::{Resource, Strategy, Subresource};

const ALL: &[&str] = &["all"];

const fn row(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        categories: ALL,
        strategy: Strategy::SPEC_STATUS,
        ..Resource::namespaced("apps", "v1", plural, singular, kind)
    }
}

pub const ROWS: &[Resource] = &[
    Resource::namespaced("apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision"),
    Resource {
        short_names: &["ds"],
        subresources: &[Subresource::STATUS],
        ..row("daemonsets", "daemonset", "DaemonSet")
    },
    Resource {
        short_names: &["deploy"],
        subresources: &[Subresource::SCALE, Subresource::STATUS],
        ..row("deployments", "deployment", "Deployment")
    },
    Resource {
        short_names: &["rs"],
        subresources: &[Subresource::SCALE, Subresource::STATUS],
        ..row("replicasets", "replicaset", "ReplicaSet")
    },
    Resource {
        short_names: &["sts"],
        subresources: &[Subresource::SCALE, Subresource::STATUS],
        ..row("statefulsets", "statefulset", "StatefulSet")
    },
];
