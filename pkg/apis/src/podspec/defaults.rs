//! Defaults of pod specs, as every kind with a pod template has them. What only a Pod itself gets is in `core::pod`.

use serde_json::{Map, Value, json};

use super::CONTAINER_LISTS;
use crate::quantity::canonical_quantities;
use crate::tree::{Fill, Tree};

type Fields = Map<String, Value>;

/// The mode of files in secret, configMap, downwardAPI and projected volumes: 0644.
const FILE_MODE: i64 = 0o644;

/// Defaults of a `PodTemplateSpec`.
pub fn default_pod_template(template: &mut Fields) {
    template.default_value("metadata", || json!({}));
    default_pod_spec(template.sub_or_new("spec"));
}

pub fn default_pod_spec(spec: &mut Fields) {
    super::gates::drop_disabled(spec);
    spec.default_text("dnsPolicy", "ClusterFirst");
    spec.default_text("restartPolicy", "Always");
    spec.default_text("schedulerName", "default-scheduler");
    spec.default_value("securityContext", || json!({}));
    spec.default_value("terminationGracePeriodSeconds", || 30.into());
    default_service_account(spec);
    canonical_quantities(spec, "overhead");
    if let Some(resources) = spec.sub("resources") {
        default_resources(resources);
    }
    for list in CONTAINER_LISTS {
        spec.each(list, default_container);
    }
    spec.each("volumes", default_volume);
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always shown.
fn default_service_account(spec: &mut Fields) {
    let name = match spec.text("serviceAccountName") {
        "" => spec.text("serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !name.is_empty() && (spec.text("serviceAccount") != name || spec.text("serviceAccountName") != name) {
        spec.insert("serviceAccount".to_owned(), name.as_str().into());
        spec.insert("serviceAccountName".to_owned(), name.into());
    }
}

fn default_container(container: &mut Fields) {
    if container.text("imagePullPolicy").is_empty() {
        let policy = pull_policy(container.text("image"));
        container.insert("imagePullPolicy".to_owned(), policy.into());
    }
    container.default_text("terminationMessagePath", "/dev/termination-log");
    container.default_text("terminationMessagePolicy", "File");
    default_resources(container.sub_or_new("resources"));
    container.each("ports", |port| port.default_text("protocol", "TCP"));
    container.each("env", |env| {
        if let Some(from) = env.sub("valueFrom") {
            default_field_refs(from);
        }
    });
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.sub(probe) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = container.sub("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.sub(hook) {
                default_handler(hook);
            }
        }
    }
}

/// Images without a digest whose tag is `latest` or missing are pulled every time.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let (name, digest) = last.split_once('@').map_or((last, false), |(name, _)| (name, true));
    match name.split_once(':') {
        Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
        None if digest => "IfNotPresent",
        None => "Always",
    }
}

pub(crate) fn default_resources(resources: &mut Fields) {
    canonical_quantities(resources, "limits");
    canonical_quantities(resources, "requests");
}

fn default_field_refs(owner: &mut Fields) {
    if let Some(field) = owner.sub("fieldRef") {
        field.default_text("apiVersion", "v1");
    }
    if let Some(field) = owner.sub("resourceFieldRef") {
        field.default_value("divisor", || "0".into());
        crate::quantity::canonical_quantity(field, "divisor");
    }
}

fn default_probe(probe: &mut Fields) {
    probe.default_nonzero("timeoutSeconds", 1);
    probe.default_nonzero("periodSeconds", 10);
    probe.default_nonzero("successThreshold", 1);
    probe.default_nonzero("failureThreshold", 3);
    default_handler(probe);
}

fn default_handler(handler: &mut Fields) {
    if let Some(http) = handler.sub("httpGet") {
        http.default_text("path", "/");
        http.default_text("scheme", "HTTP");
    }
    if let Some(grpc) = handler.sub("grpc") {
        grpc.default_value("service", || "".into());
    }
}

/// Volume sources that have a default file mode.
const WITH_MODE: [&str; 4] = ["secret", "configMap", "downwardAPI", "projected"];

fn default_volume(volume: &mut Fields) {
    // A volume of which only the name is given is an emptyDir.
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in WITH_MODE {
        if let Some(source) = volume.sub(source) {
            source.default_value("defaultMode", || FILE_MODE.into());
        }
    }
    if let Some(downward) = volume.sub("downwardAPI") {
        downward.each("items", default_field_refs);
    }
    if let Some(projected) = volume.sub("projected") {
        projected.each("sources", default_projection);
    }
    if let Some(dir) = volume.sub("emptyDir") {
        crate::quantity::canonical_quantity(dir, "sizeLimit");
    }
    if let Some(path) = volume.sub("hostPath") {
        path.default_value("type", || "".into());
    }
    if let Some(image) = volume.sub("image")
        && image.text("pullPolicy").is_empty()
    {
        let policy = pull_policy(image.text("reference"));
        image.insert("pullPolicy".to_owned(), policy.into());
    }
    if let Some(claim) = volume.sub("ephemeral").and_then(|e| e.sub("volumeClaimTemplate"))
        && let Some(spec) = claim.sub("spec")
    {
        default_claim_spec(spec);
    }
    default_remote_volume(volume);
}

fn default_projection(source: &mut Fields) {
    if let Some(token) = source.sub("serviceAccountToken") {
        token.default_value("expirationSeconds", || 3600.into());
    }
    if let Some(downward) = source.sub("downwardAPI") {
        downward.each("items", default_field_refs);
    }
    if let Some(certificate) = source.sub("podCertificate") {
        certificate.default_value("maxExpirationSeconds", || 86400.into());
    }
}

/// Defaults of the network volume types, by source and field; also those of persistent volumes.
const REMOTE: &[(&str, &str, &str)] = &[
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "kind", "Shared"),
    ("azureDisk", "fsType", "ext4"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
    ("scaleIO", "fsType", "xfs"),
];

pub(crate) fn default_remote_volume(volume: &mut Fields) {
    for (source, field, value) in REMOTE {
        if let Some(source) = volume.sub(source) {
            source.default_text(field, value);
        }
    }
    if let Some(disk) = volume.sub("azureDisk") {
        disk.default_value("readOnly", || false.into());
    }
}

/// Defaults of a `PersistentVolumeClaimSpec`, in claims and in claim templates.
pub(crate) fn default_claim_spec(spec: &mut Fields) {
    spec.default_value("volumeMode", || "Filesystem".into());
    if let Some(resources) = spec.sub("resources") {
        default_resources(resources);
    }
    // The old and the new way to name a source are kept equal where both can say it.
    let data_source = spec.get("dataSource").filter(|v| !v.is_null()).cloned();
    match data_source {
        Some(source) => spec.default_value("dataSourceRef", || source),
        None => {
            let reference = spec.field("dataSourceRef").clone();
            let old_form = matches!(reference.text("kind"), "PersistentVolumeClaim" | "VolumeSnapshot");
            if old_form && reference.text("namespace").is_empty() {
                spec.insert("dataSource".to_owned(), reference);
            }
        }
    }
}
