//! Every object that a pod or a volume names. One missed place is a pod that cannot start; one too many, a leak.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::graph::Kind;

/// An object of a namespace: kind, namespace, name.
pub type Target = (Kind, String, String);

/// What a pod refers to, in its own namespace.
pub fn of_pod(pod: &Value) -> Vec<Target> {
    let namespace = pod.namespace();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let mut out = Vec::new();
    let mut add = |kind: Kind, name: &str| {
        if !name.is_empty() {
            out.push((kind, namespace.to_owned(), name.to_owned()));
        }
    };
    // A pod without a name of an account runs as `default` after admission; then the field is set.
    add(Kind::ServiceAccount, spec.str_at("serviceAccountName"));
    spec.array_at("imagePullSecrets").iter().for_each(|s| add(Kind::Secret, s.str_at("name")));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec.array_at(list) {
            for env in container.array_at("env") {
                add(Kind::Secret, env.str_at("valueFrom/secretKeyRef/name"));
                add(Kind::ConfigMap, env.str_at("valueFrom/configMapKeyRef/name"));
            }
            for from in container.array_at("envFrom") {
                add(Kind::Secret, from.str_at("secretRef/name"));
                add(Kind::ConfigMap, from.str_at("configMapRef/name"));
            }
        }
    }
    for volume in spec.array_at("volumes") {
        add(Kind::Secret, volume.str_at("secret/secretName"));
        add(Kind::ConfigMap, volume.str_at("configMap/name"));
        add(Kind::Claim, volume.str_at("persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some() {
            add(Kind::Claim, &format!("{}-{}", pod.name(), volume.str_at("name")));
        }
        for source in volume.array_at("projected/sources") {
            add(Kind::Secret, source.str_at("secret/name"));
            add(Kind::ConfigMap, source.str_at("configMap/name"));
        }
        for path in POD_VOLUME_SECRETS {
            add(Kind::Secret, volume.str_at(path));
        }
    }
    for claim in spec.array_at("resourceClaims") {
        add(Kind::ResourceClaim, claim.str_at("resourceClaimName"));
    }
    for status in pod.array_at("status/resourceClaimStatuses") {
        add(Kind::ResourceClaim, status.str_at("resourceClaimName"));
    }
    add(Kind::ResourceClaim, pod.str_at("status/extendedResourceClaimStatus/resourceClaimName"));
    out
}

/// Volume sources of a pod that name a secret of the pod's namespace.
const POD_VOLUME_SECRETS: &[&str] = &[
    "azureFile/secretName",
    "cephfs/secretRef/name",
    "cinder/secretRef/name",
    "csi/nodePublishSecretRef/name",
    "flexVolume/secretRef/name",
    "iscsi/secretRef/name",
    "rbd/secretRef/name",
    "scaleIO/secretRef/name",
    "storageos/secretRef/name",
];

/// Sources of a PersistentVolume that name a secret, with its namespace beside it or that of the claim.
const VOLUME_SECRETS: &[&str] = &[
    "cephfs/secretRef",
    "cinder/secretRef",
    "flexVolume/secretRef",
    "iscsi/secretRef",
    "rbd/secretRef",
    "scaleIO/secretRef",
    "storageos/secretRef",
    "csi/controllerPublishSecretRef",
    "csi/nodePublishSecretRef",
    "csi/nodeStageSecretRef",
    "csi/nodeExpandSecretRef",
];

/// The secrets that a PersistentVolume needs on a node: namespace and name.
pub fn of_volume(volume: &Value) -> Vec<(String, String)> {
    let claim_namespace = volume.str_at("spec/claimRef/namespace");
    let spec = volume.get("spec").unwrap_or(&Value::Null);
    let mut out = Vec::new();
    let mut add = |namespace: &str, name: &str| {
        let namespace = if namespace.is_empty() { claim_namespace } else { namespace };
        if !name.is_empty() && !namespace.is_empty() {
            out.push((namespace.to_owned(), name.to_owned()));
        }
    };
    for path in VOLUME_SECRETS {
        if let Some(reference) = spec.at(path) {
            add(reference.str_at("namespace"), reference.str_at("name"));
        }
    }
    add(spec.str_at("azureFile/secretNamespace"), spec.str_at("azureFile/secretName"));
    out
}
