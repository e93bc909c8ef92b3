//! Fields that upstream's typed form always writes: structs held by value, and lists and maps without `omitempty`. Facts of
//! the API's types that its schemas do not tell. They show in `managedFields`: such a field is there from the start, so that
//! who first fills it owns only what is in it.

use std::sync::OnceLock;

use apimachinery::patch::{Present, TypeId};

use super::table::{Base, Container, Field, Type};

type Fields = Box<[(&'static str, Present)]>;

/// Structs held by value although they are optional, by the short name of their type.
const VALUES: &[(&str, &str)] = &[
    ("AllocationResult", "devices"),
    ("Container", "resources"),
    ("ContainerStatus", "lastState"),
    ("ContainerStatus", "state"),
    ("CustomResourceDefinitionStatus", "acceptedNames"),
    ("DaemonSetSpec", "updateStrategy"),
    ("DeploymentSpec", "strategy"),
    ("Endpoint", "conditions"),
    ("EphemeralContainer", "resources"),
    ("Event", "deprecatedSource"),
    ("Event", "regarding"),
    ("Event", "source"),
    ("IngressServiceBackend", "port"),
    ("IngressStatus", "loadBalancer"),
    ("NetworkPolicySpec", "podSelector"),
    ("NodeDaemonEndpoints", "kubeletEndpoint"),
    ("NodeStatus", "daemonEndpoints"),
    ("NodeStatus", "nodeInfo"),
    ("PersistentVolumeClaimSpec", "resources"),
    ("PodTemplate", "template"),
    ("ReplicaSetSpec", "template"),
    ("ResourceClaimSpec", "devices"),
    ("SelfSubjectReviewStatus", "userInfo"),
    ("ServiceStatus", "loadBalancer"),
    ("StatefulSetSpec", "updateStrategy"),
    ("TokenReviewStatus", "user"),
];

/// Pointers although they are required, or although they are named as values are elsewhere.
const POINTERS: &[(&str, &str)] = &[
    ("CustomResourceSubresources", "status"),
    ("DaemonSetSpec", "selector"),
    ("DeploymentSpec", "selector"),
    ("IPAddressSpec", "parentRef"),
    ("ReplicaSetSpec", "selector"),
    ("ScaleIOPersistentVolumeSource", "secretRef"),
    ("ScaleIOVolumeSource", "secretRef"),
    ("StatefulSetSpec", "selector"),
];

/// The fields of a type that are always there, in the order of their names.
pub(super) fn always_present(of: TypeId) -> &'static [(&'static str, Present)] {
    static TABLE: OnceLock<Box<[Fields]>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Type::all().map(fields).collect());
    table.get(usize::from(of.0)).map_or(&[], |fields| fields)
}

fn fields(of: Type) -> Fields {
    of.fields().filter_map(|field| Some((field.name(), present(of, field)?))).collect()
}

fn present(of: Type, field: Field) -> Option<Present> {
    if field.container() != Container::One {
        // Lists of lists and of other types keep their `null` just so.
        return (!field.vanishes()).then_some(Present::Null);
    }
    let listed = |list: &[(&str, &str)]| list.contains(&(of.short_name(), field.name()));
    let is_value = matches!(field.name(), "metadata" | "spec" | "status") || field.is_required() || listed(VALUES);
    (field.base() == Base::Struct && is_value && !listed(POINTERS)).then_some(Present::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(type_name: &str) -> Vec<&'static str> {
        let of = Type::by_name(type_name).expect("a type of the table");
        always_present(of.id()).iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn what_is_always_there() {
        assert_eq!(names("io.k8s.api.apps.v1.Deployment"), ["metadata", "spec", "status"]);
        assert_eq!(names("io.k8s.api.apps.v1.DeploymentSpec"), ["strategy", "template"]);
        assert_eq!(names("io.k8s.api.core.v1.PodSpec"), ["containers"]);
        assert_eq!(names("io.k8s.api.core.v1.Container"), ["resources"]);
        assert_eq!(names("io.k8s.api.core.v1.ConfigMap"), ["metadata"]);
        assert!(names("io.k8s.api.core.v1.ReplicationControllerSpec").is_empty());
    }

    #[test]
    fn listed_fields_exist() {
        for (type_name, field) in VALUES.iter().chain(POINTERS) {
            let found = Type::all()
                .any(|of| of.short_name() == *type_name && of.field(field).is_some_and(|f| f.base() == Base::Struct));
            assert!(found, "{type_name}.{field}");
        }
    }
}
