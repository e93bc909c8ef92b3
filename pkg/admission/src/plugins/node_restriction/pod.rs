//! Pods of a node: mirror pods, their status, evictions and deletions.

use std::sync::Arc;

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::Request;
use crate::Operation;
use crate::plugins::MIRROR_ANNOTATION;

pub(super) fn check(request: &Request<'_>) -> ApiResult<()> {
    let node = request.node;
    match request.a.operation {
        Operation::Create => match request.new {
            Some(pod) => check_create(request, pod),
            None => request.refuse("unexpected type <nil>"),
        },
        Operation::Delete => {
            let existing = existing(request)?;
            if existing.str_at("spec/nodeName") == node {
                return Ok(());
            }
            request.refuse(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        other => request.refuse(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            other.name()
        )),
    }
}

/// The pod as it is stored.
fn existing(request: &Request<'_>) -> ApiResult<Arc<Value>> {
    match request.old {
        Some(old) => Ok(Arc::new(old.clone())),
        None => request.get("pods", request.a.namespace, request.name()),
    }
}

fn check_create(request: &Request<'_>, pod: &Value) -> ApiResult<()> {
    let node = request.node;
    let refuse = |why: String| request.refuse(why);
    if !pod.annotations().is_some_and(|a| a.contains_key(MIRROR_ANNOTATION)) {
        return refuse(format!(
            "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if pod.str_at("spec/nodeName") != node {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    check_owner(request, pod)?;
    // A mirror pod that named other objects would let its node read them.
    let names = |what: &str| refuse(format!("node {node:?} can not create pods that reference {what}"));
    if !pod.str_at("spec/serviceAccountName").is_empty() {
        return names("a service account");
    }
    let (secrets, config_maps) = references(pod);
    if secrets {
        return names("secrets");
    }
    if config_maps {
        return names("configmaps");
    }
    let volumes = pod.array_at("spec/volumes");
    let has = |volume: &Value, field: &str| volume.get(field).is_some_and(|v| !v.is_null());
    if volumes.iter().any(|v| has(v, "persistentVolumeClaim") || has(v, "ephemeral")) {
        return names("persistentvolumeclaims");
    }
    let mut sources = volumes.iter().flat_map(|v| v.array_at("projected/sources"));
    if sources.any(|s| has(s, "clusterTrustBundle")) {
        return names("clustertrustbundles");
    }
    if !pod.array_at("spec/resourceClaims").is_empty() {
        return names("resourceclaims");
    }
    Ok(())
}

fn check_owner(request: &Request<'_>, pod: &Value) -> ApiResult<()> {
    let node = request.node;
    let owner = match pod.array_at("metadata/ownerReferences") {
        [] => {
            return request.refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
        }
        [one] => one,
        _ => {
            let why = format!("node {node:?} can only create pods with a single owner reference set to itself");
            return request.refuse(why);
        }
    };
    let is = |field: &str, want: &str| owner.str_at(field) == want;
    if !is("apiVersion", "v1") || !is("kind", "Node") || !is("name", node) {
        return request.refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    let flag = |field: &str| owner.get(field).and_then(Value::as_bool) == Some(true);
    if !flag("controller") {
        let why = format!("node {node:?} can only create pods with a controller owner reference set to itself");
        return request.refuse(why);
    }
    if flag("blockOwnerDeletion") {
        return request.refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let found = request.get("nodes", "", node)?;
    if owner.str_at("uid") != found.uid() {
        let (expected, got) = (owner.str_at("uid"), found.uid());
        return request.refuse(format!("node {node} UID mismatch: expected {expected} got {got}"));
    }
    Ok(())
}

/// Whether a pod names any Secret, any ConfigMap.
fn references(pod: &Value) -> (bool, bool) {
    let has = |value: &Value, path: &str| value.at(path).is_some_and(|v| !v.is_null());
    let mut secrets = !pod.array_at("spec/imagePullSecrets").is_empty();
    let mut config_maps = false;
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod.array_at(&format!("spec/{list}")) {
            for env in container.array_at("env") {
                secrets |= has(env, "valueFrom/secretKeyRef");
                config_maps |= has(env, "valueFrom/configMapKeyRef");
            }
            for from in container.array_at("envFrom") {
                secrets |= has(from, "secretRef");
                config_maps |= has(from, "configMapRef");
            }
        }
    }
    // Every source of a volume names its secret in one of these ways.
    const SECRETS: &[&str] = &[
        "secret",
        "azureFile/secretName",
        "cephfs/secretRef",
        "cinder/secretRef",
        "csi/nodePublishSecretRef",
        "flexVolume/secretRef",
        "iscsi/secretRef",
        "rbd/secretRef",
        "scaleIO/secretRef",
        "storageos/secretRef",
    ];
    for volume in pod.array_at("spec/volumes") {
        secrets |= SECRETS.iter().any(|path| has(volume, path));
        config_maps |= has(volume, "configMap");
        for source in volume.array_at("projected/sources") {
            secrets |= has(source, "secret");
            config_maps |= has(source, "configMap");
        }
    }
    (secrets, config_maps)
}

pub(super) fn check_status(request: &Request<'_>) -> ApiResult<()> {
    let node = request.node;
    let (Operation::Update, Some(new), Some(old)) = (request.a.operation, request.new, request.old) else {
        return request.refuse(format!("unexpected operation {:?}", request.a.operation.name()));
    };
    if new.str_at("spec/nodeName") != node {
        let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
        return request.refuse(why);
    }
    if new.labels().filter(|l| !l.is_empty()) != old.labels().filter(|l| !l.is_empty()) {
        return request.refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    for field in ["status/resourceClaimStatuses", "status/extendedResourceClaimStatus"] {
        if new.at(field).filter(|v| !v.is_null()) != old.at(field).filter(|v| !v.is_null()) {
            return request.refuse(format!("node {node:?} cannot update resource claim statuses"));
        }
    }
    Ok(())
}

pub(super) fn check_eviction(request: &Request<'_>) -> ApiResult<()> {
    if request.a.operation != Operation::Create {
        return request.refuse(format!("unexpected operation {}", request.a.operation.name()));
    }
    let name = request.name();
    if name.is_empty() {
        return request.refuse("could not determine pod from request data");
    }
    let pod = request.get("pods", request.a.namespace, name)?;
    if pod.str_at("spec/nodeName") == request.node {
        return Ok(());
    }
    request.refuse(format!("node {} can only evict pods with spec.nodeName set to itself", request.node))
}
