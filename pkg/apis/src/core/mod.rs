//! Rows of the core group.

pub mod claim;
pub mod pod;

use crate::resource::{Resource, Strategy, Subresource, Verbs};

const ALL: &[&str] = &["all"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const fn namespaced(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource::namespaced("", "v1", plural, singular, kind)
}

const fn cluster(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource::cluster("", "v1", plural, singular, kind)
}

pub const POD_ROWS: &[Resource] = &[
    pod::ROW,
    namespaced("podtemplates", "podtemplate", "PodTemplate"),
    Resource {
        short_names: &["rc"],
        categories: ALL,
        strategy: Strategy { orphan_by_default: true, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::SCALE, Subresource::STATUS],
        ..namespaced("replicationcontrollers", "replicationcontroller", "ReplicationController")
    },
    Resource { ..namespaced("bindings", "binding", "Binding").review() },
];

pub const CLUSTER_ROWS: &[Resource] = &[
    Resource {
        short_names: &["cs"],
        verbs: Verbs::READ,
        virtual_resource: true,
        ..cluster("componentstatuses", "componentstatus", "ComponentStatus")
    },
    Resource {
        short_names: &["ns"],
        verbs: Verbs(&["create", "delete", "get", "list", "patch", "update", "watch"]),
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[
            Subresource { name: "finalize", kind: None, verbs: Verbs(&["update"]), update: None },
            Subresource::STATUS,
        ],
        ..cluster("namespaces", "namespace", "Namespace")
    },
    Resource {
        short_names: &["no"],
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::core("proxy", "NodeProxyOptions", PROXY), Subresource::STATUS],
        ..cluster("nodes", "node", "Node")
    },
    Resource {
        short_names: &["pv"],
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..cluster("persistentvolumes", "persistentvolume", "PersistentVolume")
    },
];

pub const NAMESPACED_ROWS: &[Resource] = &[
    Resource { short_names: &["cm"], ..namespaced("configmaps", "configmap", "ConfigMap") },
    Resource { short_names: &["ep"], ..namespaced("endpoints", "endpoints", "Endpoints") },
    Resource { short_names: &["ev"], ..namespaced("events", "event", "Event") },
    Resource { short_names: &["limits"], ..namespaced("limitranges", "limitrange", "LimitRange") },
    Resource {
        short_names: &["pvc"],
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..namespaced("persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim")
    },
    Resource {
        short_names: &["quota"],
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::STATUS],
        ..namespaced("resourcequotas", "resourcequota", "ResourceQuota")
    },
    namespaced("secrets", "secret", "Secret"),
    Resource {
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            kind: Some(("authentication.k8s.io", "v1", "TokenRequest")),
            verbs: Verbs::CREATE,
            update: None,
        }],
        ..namespaced("serviceaccounts", "serviceaccount", "ServiceAccount")
    },
    Resource {
        short_names: &["svc"],
        categories: ALL,
        strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
        subresources: &[Subresource::core("proxy", "ServiceProxyOptions", PROXY), Subresource::STATUS],
        ..namespaced("services", "service", "Service")
    },
];
