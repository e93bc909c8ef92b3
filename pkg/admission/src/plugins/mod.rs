//! The built-in plugins, one a file, named as upstream names them.

mod certificates;
mod default_storage_class;
mod ingress_class;
mod lifecycle;
mod limit_ranger;
mod node_restriction;
mod pod_security;
mod priority;
mod runtime_class;
mod service_account;
mod storage;
mod taint_nodes;
mod tolerations;

pub use certificates::{
    CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest,
};
pub use default_storage_class::DefaultStorageClass;
pub use ingress_class::DefaultIngressClass;
pub use lifecycle::NamespaceLifecycle;
pub use limit_ranger::LimitRanger;
pub use node_restriction::NodeRestriction;
pub use pod_security::PodSecurity;
pub use priority::Priority;
pub use runtime_class::RuntimeClass;
pub use service_account::ServiceAccount;
pub use storage::{PersistentVolumeClaimResize, StorageObjectInUseProtection};
pub use taint_nodes::TaintNodesByCondition;
pub use tolerations::DefaultTolerationSeconds;

use std::sync::Arc;

use serde_json::{Map, Value};

/// A kubelet's copy of a static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// `object[field]` as a list to change; made if it is missing.
fn list_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    let entry = apimachinery::meta::object_mut(object).entry(field).or_insert(Value::Null);
    if !entry.is_array() {
        *entry = Value::Array(Vec::new());
    }
    match entry {
        Value::Array(list) => list,
        // The line above made it a list.
        _ => unreachable!("value was just made a list"),
    }
}

/// `object[field]` as an object to change; made if it is missing.
fn map_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    use apimachinery::meta::object_mut;
    let object = object_mut(object);
    if !object.contains_key(field) {
        object.insert(field.to_owned(), Value::Null);
    }
    object_mut(&mut object[field])
}

/// The object that is the default of its kind: marked by one of `annotations`, the newest, then the first by name.
fn default_of(objects: Vec<Arc<Value>>, annotations: &[&str]) -> Option<Arc<Value>> {
    use apimachinery::meta::ObjectExt;
    let marked = |object: &Arc<Value>| {
        object
            .annotations()
            .is_some_and(|have| annotations.iter().any(|a| have.get(*a).and_then(Value::as_str) == Some("true")))
    };
    let mut candidates: Vec<Arc<Value>> = objects.into_iter().filter(marked).collect();
    candidates.sort_by(|a, b| {
        b.meta_str("creationTimestamp").cmp(a.meta_str("creationTimestamp")).then_with(|| a.name().cmp(b.name()))
    });
    candidates.into_iter().next()
}
