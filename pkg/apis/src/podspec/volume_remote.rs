//! Volume sources that live outside the node: network file systems, disks of clouds, CSI. Pods and persistent volumes
//! have them in nearly the same form. Most are only passed on; the table says which of their fields must be there.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{inclusive_range_error, is_dns1123_label, is_dns1123_subdomain};
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

/// Whose source it is: some rules hold for one of the two only.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// A volume of a pod, by its name.
    Pod(&'a str),
    /// A PersistentVolume, by its name.
    Persistent(&'a str),
}

impl Owner<'_> {
    fn is_persistent(self) -> bool {
        matches!(self, Self::Persistent(_))
    }
}

/// Fields that must be there, by source.
const REQUIRED: &[(&str, &[&str])] = &[
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["image"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

/// A source of the kind `kind` at `at`; kinds that are not remote are accepted.
pub fn validate(errors: &mut ErrorList, at: &Path, kind: &str, source: &Value, owner: Owner<'_>) {
    if matches!(kind, "rbd" | "cephfs") && source.list("monitors").is_empty() {
        errors.push(Error::required(&at.child("monitors"), ""));
    }
    let required = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| fields);
    for field in required {
        check::required(errors, at, source, field);
    }
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" => partition(errors, at, source),
        "nfs" if !source.text("path").starts_with('/') => {
            errors.push(Error::invalid(&at.child("path"), source.text("path"), "must be an absolute path"));
        }
        "iscsi" => iscsi(errors, at, source, owner),
        "fc" => fibre_channel(errors, at, source),
        "flocker" => flocker(errors, at, source),
        "quobyte" => quobyte(errors, at, source),
        "cinder" => secret(errors, at, source, owner),
        "storageos" => storage_os(errors, at, source, owner),
        "flexVolume" => flex_options(errors, at, source),
        "azureDisk" => azure_disk(errors, at, source),
        "azureFile" if owner.is_persistent() && source.field("secretNamespace") == "" => {
            errors.push(Error::required(&at.child("secretNamespace"), ""));
        }
        "glusterfs" if owner.is_persistent() => gluster_namespace(errors, at, source),
        "csi" => csi(errors, at, source, owner),
        _ => {}
    }
}

fn partition(errors: &mut ErrorList, at: &Path, source: &Value) {
    let number = source.int("partition").unwrap_or(0);
    if !(0..=255).contains(&number) {
        errors.push(Error::invalid(&at.child("partition"), number, inclusive_range_error(1, 255)));
    }
}

fn lun(errors: &mut ErrorList, at: &Path, number: i64) {
    if !(0..=255).contains(&number) {
        errors.push(Error::invalid(&at.child("lun"), number, inclusive_range_error(0, 255)));
    }
}

fn iscsi(errors: &mut ErrorList, at: &Path, source: &Value, owner: Owner<'_>) {
    if let Owner::Persistent(name) = owner {
        let portal = source.text("targetPortal");
        iscsi_length(errors, || at.child("targetportal"), portal, name, source);
    }
    match source.text("iqn") {
        "" => errors.push(Error::required(&at.child("iqn"), "")),
        name => initiator(errors, &at.child("iqn"), name, owner),
    }
    lun(errors, at, source.int("lun").unwrap_or(0));
    let authenticates = source.flag("chapAuthDiscovery") || source.flag("chapAuthSession");
    if authenticates && !source.has("secretRef") {
        errors.push(Error::required(&at.child("secretRef"), ""));
    }
    if owner.is_persistent() && source.has("secretRef") {
        check::required(errors, &at.child("secretRef"), source.field("secretRef"), "name");
    }
    if let Some(name) = source.field("initiatorName").as_str() {
        initiator(errors, &at.child("initiatorname"), name, owner);
    }
}

/// With an initiator of its own, the name of the volume and its portal make up one name, which is short. The error stands
/// at `at` and shows `shown`: for pods the volume's name, for persistent volumes the portal.
pub fn iscsi_length(errors: &mut ErrorList, at: impl Fn() -> Path, shown: &str, name: &str, source: &Value) {
    if source.has("initiatorName") && name.len() + 1 + source.text("targetPortal").len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                   iscsi.initiatorName is specified.";
        errors.push(Error::invalid(&at(), shown, why));
    }
}

/// `iqn.2026-01.com.example:storage`, `eui.` with 16 or `naa.` with 32 letters and digits.
fn initiator(errors: &mut ErrorList, at: &Path, name: &str, owner: Owner<'_>) {
    let fixed = |length: usize| name.len() == 4 + length && name.bytes().skip(4).all(|c| c.is_ascii_alphanumeric());
    let legal = match name.get(..3) {
        Some("iqn") => is_iqn(name),
        Some("eui") => fixed(16),
        Some("naa") => fixed(32),
        _ if owner.is_persistent() => false,
        _ => {
            errors.push(Error::invalid(at, name, "must be valid format starting with iqn, eui, or naa"));
            return;
        }
    };
    if !legal {
        errors.push(Error::invalid(at, name, "must be valid format"));
    }
}

fn is_iqn(name: &str) -> bool {
    let Some((head, target)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else { return false };
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|c| c.is_ascii_digit());
    let dated = head.split_once('.').is_some_and(|(date, authority)| {
        date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
            && !authority.is_empty()
            && authority.bytes().all(|c| c.is_ascii_alphanumeric() || b"-.".contains(&c))
    });
    dated && !target.is_empty() && !target.contains(|c: char| c.is_whitespace() || "^,;*&$|".contains(c))
}

fn fibre_channel(errors: &mut ErrorList, at: &Path, source: &Value) {
    let (names, ids) = (source.list("targetWWNs"), source.list("wwids"));
    let at_names = || at.child("targetWWNs");
    if names.is_empty() && ids.is_empty() {
        errors.push(Error::required(&at_names(), "must specify either targetWWNs or wwids, but not both"));
    }
    if names.is_empty() {
        return;
    }
    if !ids.is_empty() {
        let why = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(Error::invalid(&at_names(), names.to_vec(), why));
    }
    match source.int("lun") {
        None => errors.push(Error::required(&at.child("lun"), "lun is required if targetWWNs is specified")),
        Some(number) => lun(errors, at, number),
    }
}

fn flocker(errors: &mut ErrorList, at: &Path, source: &Value) {
    let (name, id) = (source.text("datasetName"), source.text("datasetUUID"));
    if name.is_empty() && id.is_empty() {
        errors.push(Error::required(at, "one of datasetName and datasetUUID is required"));
    }
    if !name.is_empty() && !id.is_empty() {
        let why = "datasetName and datasetUUID can not be specified simultaneously";
        errors.push(Error::invalid(at, "resource", why));
    }
    if name.contains('/') {
        errors.push(Error::invalid(&at.child("datasetName"), name, "must not contain '/'"));
    }
}

fn quobyte(errors: &mut ErrorList, at: &Path, source: &Value) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = source.text("registry");
    if registry.is_empty() {
        errors.push(Error::required(&at.child("registry"), PAIRS));
    } else if source.text("tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(Error::required(&at.child("tenant"), why));
    } else {
        let is_pair = |pair: &str| pair.rsplit_once(':').is_some_and(|(host, _)| is_host(host));
        for _ in registry.split(',').filter(|pair| !is_pair(pair)) {
            errors.push(Error::invalid(&at.child("registry"), registry, PAIRS));
        }
    }
    check::required(errors, at, source, "volume");
}

/// The host of a `host:port` pair; an IPv6 address stands in brackets.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => !host.contains([':', ']']),
    }
}

/// A `secretRef`, which has a name and, in persistent volumes, a namespace.
fn secret(errors: &mut ErrorList, at: &Path, source: &Value, owner: Owner<'_>) {
    if !source.has("secretRef") {
        return;
    }
    let at = at.child("secretRef");
    check::required(errors, &at, source.field("secretRef"), "name");
    if owner.is_persistent() {
        check::required(errors, &at, source.field("secretRef"), "namespace");
    }
}

fn storage_os(errors: &mut ErrorList, at: &Path, source: &Value, owner: Owner<'_>) {
    check::required_text(errors, at, source, "volumeName", is_dns1123_label);
    check::optional_text(errors, at, source, "volumeNamespace", is_dns1123_label);
    secret(errors, at, source, owner);
}

fn flex_options(errors: &mut ErrorList, at: &Path, source: &Value) {
    for (key, _) in source.entries("options") {
        let domain = format!(".{}", key.split_once('/').map_or(key, |(domain, _)| domain).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(Error::invalid(&at.child("options").key(key), key, why));
        }
    }
}

fn azure_disk(errors: &mut ErrorList, at: &Path, source: &Value) {
    const MANAGED: &[&str] =
        &["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"];
    const BLOB: &[&str] = &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"];
    check::optional_choice(errors, at, source, "cachingMode", &["None", "ReadOnly", "ReadWrite"]);
    check::optional_choice(errors, at, source, "kind", &["Dedicated", "Managed", "Shared"]);
    let Some(kind) = source.field("kind").as_str() else { return };
    let (prefix, supported) = if kind == "Managed" { ("/subscriptions/", MANAGED) } else { ("https://", BLOB) };
    let uri = source.text("diskURI");
    if !uri.starts_with(prefix) {
        errors.push(Error::not_supported(&at.child("diskURI"), uri, supported));
    }
}

fn gluster_namespace(errors: &mut ErrorList, at: &Path, source: &Value) {
    match source.field("endpointsNamespace").as_str() {
        None => {}
        Some("") => {
            let why = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(Error::invalid(&at.child("endpointsNamespace"), "", why));
        }
        Some(name) => check::text(errors, at, "endpointsNamespace", name, is_dns1123_label),
    }
}

/// The name of a CSI driver: a short subdomain.
pub fn driver_name(errors: &mut ErrorList, at: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(at, ""));
        return;
    }
    if name.len() > 63 {
        errors.push(Error::too_long(at, 63));
    }
    let reasons = is_dns1123_subdomain(&name.to_lowercase());
    errors.extend(reasons.into_iter().map(|e| Error::invalid(at, name, e)));
}

/// The secrets that a persistent CSI volume may name.
const CSI_SECRETS: &[&str] =
    &["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];

fn csi(errors: &mut ErrorList, at: &Path, source: &Value, owner: Owner<'_>) {
    driver_name(errors, &at.child("driver"), source.text("driver"));
    if owner.is_persistent() {
        check::required(errors, at, source, "volumeHandle");
        for field in CSI_SECRETS.iter().filter(|field| source.has(field)) {
            let (at, secret) = (at.child(field), source.field(field));
            check::required_text(errors, &at, secret, "name", is_dns1123_subdomain);
            check::required_text(errors, &at, secret, "namespace", is_dns1123_label);
        }
    } else if source.has("nodePublishSecretRef") {
        match source.field("nodePublishSecretRef").text("name") {
            "" => errors.push(Error::required(&at.child("nodePublishSecretRef").child("name"), "")),
            // Upstream names the field of the volume here.
            name => check::text(errors, at, "name", name, is_dns1123_subdomain),
        }
    }
}
