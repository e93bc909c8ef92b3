//! Defaults of pod specs, as every kind with a pod template has them. What only a Pod itself gets is in `core::pod`.

use serde_json::{Map, Value, json};

use super::CONTAINER_LISTS;
use crate::quantity::{canonical_list, canonical_quantity};
use crate::tree::{Fill, Tree, each_of};

type Fields = Map<String, Value>;

/// The mode of files in secret, configMap, downwardAPI and projected volumes: 0644.
const FILE_MODE: i64 = 0o644;

/// Defaults of a `PodTemplateSpec`.
pub fn default_pod_template(template: &mut Fields) {
    template.default_value("metadata", || json!({}));
    default_pod_spec(template.sub_or_new("spec"));
}

/// What a field is set to that is missing.
type FieldDefault = (&'static str, fn() -> Value);

const OF_SPEC: [FieldDefault; 5] = [
    ("dnsPolicy", || "ClusterFirst".into()),
    ("restartPolicy", || "Always".into()),
    ("schedulerName", || "default-scheduler".into()),
    ("securityContext", || json!({})),
    ("terminationGracePeriodSeconds", || 30.into()),
];

const OF_CONTAINER: [FieldDefault; 3] = [
    ("resources", || json!({})),
    ("terminationMessagePath", || "/dev/termination-log".into()),
    ("terminationMessagePolicy", || "File".into()),
];

/// The defaults whose fields a walk over an object has not come by, or found null or an empty text.
struct Missing<const N: usize>([Option<FieldDefault>; N]);

impl<const N: usize> Missing<N> {
    fn of(defaults: [FieldDefault; N]) -> Self {
        Self(defaults.map(Some))
    }

    fn came_by(&mut self, field: &str, value: &Value) {
        let is_it = |default: &&mut Option<FieldDefault>| default.is_some_and(|(known, _)| known == field);
        if let Some(default) = self.0.iter_mut().find(is_it)
            && !value.is_null()
            && value != ""
        {
            *default = None;
        }
    }

    fn set(self, fields: &mut Fields) {
        fields.extend(self.0.into_iter().flatten().map(|(field, value)| (field.to_owned(), value())));
    }
}

pub fn default_pod_spec(spec: &mut Fields) {
    super::gates::drop_of_spec(spec);
    default_service_account(spec);
    let mut missing = Missing::of(OF_SPEC);
    for (field, value) in spec.iter_mut() {
        missing.came_by(field, value);
        match (field.as_str(), value) {
            ("overhead", Value::Object(overhead)) => canonical_list(overhead),
            ("resources", Value::Object(resources)) => default_resources(resources),
            ("volumes", volumes) => each_of(volumes, default_volume),
            (list, containers) if CONTAINER_LISTS.contains(&list) => each_of(containers, default_container),
            _ => {}
        }
    }
    missing.set(spec);
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always shown.
fn default_service_account(spec: &mut Fields) {
    let (old, new) = (spec.text("serviceAccount"), spec.text("serviceAccountName"));
    if old != new {
        let name = if new.is_empty() { old } else { new }.to_owned();
        spec.insert("serviceAccount".to_owned(), name.as_str().into());
        spec.insert("serviceAccountName".to_owned(), name.into());
    }
}

fn default_container(container: &mut Fields) {
    if container.text("imagePullPolicy").is_empty() {
        let policy = pull_policy(container.text("image"));
        container.insert("imagePullPolicy".to_owned(), policy.into());
    }
    let mut missing = Missing::of(OF_CONTAINER);
    for (field, value) in container.iter_mut() {
        missing.came_by(field, value);
        match (field.as_str(), value) {
            ("resources", Value::Object(resources)) => default_resources(resources),
            ("ports", ports) => each_of(ports, |port| port.default_text("protocol", "TCP")),
            ("env", variables) => each_of(variables, default_variable),
            ("volumeMounts", mounts) => each_of(mounts, super::gates::drop_of_mount),
            ("livenessProbe" | "readinessProbe" | "startupProbe", Value::Object(probe)) => default_probe(probe),
            ("lifecycle", Value::Object(lifecycle)) => lifecycle.each_object(default_hook),
            _ => {}
        }
    }
    missing.set(container);
}

fn default_variable(variable: &mut Fields) {
    if let Some(from) = variable.sub("valueFrom") {
        default_field_refs(from);
    }
}

fn default_hook(name: &str, hook: &mut Fields) {
    if matches!(name, "postStart" | "preStop") {
        default_handler(hook);
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
    resources.each_object(|field, list| {
        if matches!(field, "limits" | "requests") {
            canonical_list(list);
        }
    });
}

fn default_field_refs(owner: &mut Fields) {
    if let Some(field) = owner.sub("fieldRef") {
        field.default_text("apiVersion", "v1");
    }
    if let Some(field) = owner.sub("resourceFieldRef") {
        field.default_value("divisor", || "0".into());
        canonical_quantity(field, "divisor");
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

fn default_volume(volume: &mut Fields) {
    // A volume of which only the name is given is an emptyDir.
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    volume.each_object(|source, fields| {
        super::gates::drop_of_source(source, fields);
        default_source(source, fields);
        default_remote_source(source, fields);
    });
}

fn default_source(source: &str, fields: &mut Fields) {
    if matches!(source, "secret" | "configMap" | "downwardAPI" | "projected") {
        fields.default_value("defaultMode", || FILE_MODE.into());
    }
    match source {
        "downwardAPI" => fields.each("items", default_field_refs),
        "projected" => fields.each("sources", default_projection),
        "emptyDir" => canonical_quantity(fields, "sizeLimit"),
        "hostPath" => fields.default_value("type", || "".into()),
        "image" if fields.text("pullPolicy").is_empty() => {
            let policy = pull_policy(fields.text("reference"));
            fields.insert("pullPolicy".to_owned(), policy.into());
        }
        "ephemeral" => {
            if let Some(spec) = fields.sub("volumeClaimTemplate").and_then(|claim| claim.sub("spec")) {
                default_claim_spec(spec);
            }
        }
        _ => {}
    }
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
    volume.each_object(default_remote_source);
}

fn default_remote_source(source: &str, fields: &mut Fields) {
    for (_, field, value) in REMOTE.iter().filter(|(known, _, _)| *known == source) {
        fields.default_text(field, value);
    }
    if source == "azureDisk" {
        fields.default_value("readOnly", || false.into());
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
