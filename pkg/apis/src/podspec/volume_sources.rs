//! What a volume is made of. The network types that are only passed on are a table of required fields.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{inclusive_range_error, is_dns1123_subdomain};
use serde_json::Value;

use super::env;
use crate::check;
use crate::core::claim;
use crate::tree::Tree;

/// Fields that must be there, by source.
const REQUIRED: &[(&str, &[&str])] = &[
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["image"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("quobyte", &["registry", "volume"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("storageos", &["volumeName"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("gitRepo", &["repository"]),
    ("hostPath", &["path"]),
    ("local", &["path"]),
    ("secret", &["secretName"]),
    ("configMap", &["name"]),
    ("csi", &["driver"]),
];

/// The table above and what the types of persistent volumes have in common with those of pods.
pub fn validate_common(errors: &mut ErrorList, at: &Path, kind: &str, source: &Value) {
    let required = REQUIRED.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| fields);
    for field in required {
        check::required(errors, at, source, field);
    }
    match kind {
        "nfs" if !source.text("path").is_empty() && !source.text("path").starts_with('/') => {
            errors.push(Error::invalid(&at.child("path"), source.text("path"), "must be an absolute path"));
        }
        "rbd" | "cephfs" if source.list("monitors").is_empty() => {
            errors.push(Error::required(&at.child("monitors"), ""));
        }
        "iscsi" => {
            let lun = source.int("lun").unwrap_or(0);
            if !(0..=255).contains(&lun) {
                errors.push(Error::invalid(&at.child("lun"), lun, inclusive_range_error(0, 255)));
            }
        }
        "hostPath" => host_path(errors, at, source),
        "local" => check::no_backsteps(errors, &at.child("path"), source.text("path")),
        "csi" => csi(errors, at, source),
        _ => {}
    }
}

pub fn validate(errors: &mut ErrorList, volume_at: &Path, kind: &str, source: &Value, name: &str, pod_name: &str) {
    let at = volume_at.child(kind);
    validate_common(errors, &at, kind, source);
    match kind {
        "emptyDir" if crate::quantity::parse(source.field("sizeLimit")).is_some_and(|q| q.is_negative()) => {
            let why = "SizeLimit field must be a valid resource quantity";
            errors.push(Error::forbidden(&at.child("sizeLimit"), why));
        }
        "secret" | "configMap" => {
            mode(errors, &at, source, "defaultMode");
            keys_to_paths(errors, &at, source);
        }
        "downwardAPI" => {
            mode(errors, &at, source, "defaultMode");
            downward_files(errors, &at, source);
        }
        "projected" => projected(errors, &at, source),
        "ephemeral" => ephemeral(errors, volume_at, source, name, pod_name),
        "image" => {
            check::required(errors, &at, source, "reference");
            check::choice(errors, &at, source, "pullPolicy", &["Always", "IfNotPresent", "Never"]);
        }
        "gitRepo" => check::descending_path(errors, &at.child("directory"), source.text("directory")),
        _ => {}
    }
}

fn host_path(errors: &mut ErrorList, at: &Path, source: &Value) {
    const TYPES: &[&str] =
        &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if source.text("path").is_empty() {
        return;
    }
    check::no_backsteps(errors, &at.child("path"), source.text("path"));
    check::optional_choice(errors, at, source, "type", TYPES);
}

/// The name of a CSI driver: a short subdomain.
pub fn driver_name(errors: &mut ErrorList, at: &Path, name: &str) {
    if name.len() > 63 {
        errors.push(Error::too_long(at, 63));
    }
    let reasons = is_dns1123_subdomain(&name.to_lowercase());
    errors.extend(reasons.into_iter().map(|e| Error::invalid(at, name, e)));
}

fn csi(errors: &mut ErrorList, at: &Path, source: &Value) {
    let name = source.text("driver");
    if !name.is_empty() {
        driver_name(errors, &at.child("driver"), name);
    }
    let secret = "nodePublishSecretRef";
    if source.has(secret) && source.field(secret).text("name").is_empty() {
        errors.push(Error::required(&at.child(secret).child("name"), ""));
    }
}

fn ephemeral(errors: &mut ErrorList, volume_at: &Path, source: &Value, name: &str, pod_name: &str) {
    let at = volume_at.child("ephemeral").child("volumeClaimTemplate");
    if !source.has("volumeClaimTemplate") {
        errors.push(Error::required(&at, ""));
        return;
    }
    let template = source.field("volumeClaimTemplate");
    claim::validate_spec(errors, &at.child("spec"), template.field("spec"));
    if !pod_name.is_empty() && !name.is_empty() {
        let claim = format!("{pod_name}-{name}");
        for reason in is_dns1123_subdomain(&claim) {
            errors.push(Error::invalid(&volume_at.child("name"), name, format!("PVC name {claim:?}: {reason}")));
        }
    }
}

/// A file mode, 0 to 0777.
fn mode(errors: &mut ErrorList, at: &Path, owner: &Value, field: &str) {
    if let Some(mode) = owner.int(field)
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(Error::invalid(&at.child(field), mode, why));
    }
}

fn keys_to_paths(errors: &mut ErrorList, at: &Path, source: &Value) {
    for (i, item) in source.list("items").iter().enumerate() {
        let at = at.child("items").index(i);
        check::required(errors, &at, item, "key");
        file_path(errors, &at, item);
        mode(errors, &at, item, "mode");
    }
}

fn file_path(errors: &mut ErrorList, at: &Path, item: &Value) {
    match item.text("path") {
        "" => errors.push(Error::required(&at.child("path"), "")),
        path => check::local_nonreserved_path(errors, &at.child("path"), path),
    }
}

fn downward_files(errors: &mut ErrorList, list_at: &Path, source: &Value) {
    for item in source.list("items") {
        // Upstream names the list here, not the item.
        let at = list_at;
        file_path(errors, at, item);
        match (item.has("fieldRef"), item.has("resourceFieldRef")) {
            (true, both) => {
                env::field_ref(errors, &at.child("fieldRef"), item.field("fieldRef"), env::VOLUME_FIELDS);
                if both {
                    let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.push(Error::invalid(at, "resource", why));
                }
            }
            (false, true) => {
                env::resource_ref(errors, &at.child("resourceFieldRef"), item.field("resourceFieldRef"), true);
            }
            (false, false) => {
                errors.push(Error::required(at, "one of fieldRef and resourceFieldRef is required"));
            }
        }
        mode(errors, at, item, "mode");
    }
}

fn projected(errors: &mut ErrorList, at: &Path, source: &Value) {
    mode(errors, at, source, "defaultMode");
    let mut paths = BTreeSet::new();
    for (i, projection) in source.list("sources").iter().enumerate() {
        let at = at.child("sources").index(i);
        let mut given = projection.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null());
        match given.next() {
            None => errors.push(Error::required(&at, "must specify a source")),
            Some((kind, value)) => projection_source(errors, &at.child(kind), kind, value, &mut paths),
        }
        for (kind, _) in given {
            errors.push(Error::forbidden(&at.child(kind), "may not specify more than 1 volume type"));
        }
    }
}

fn projection_source<'a>(
    errors: &mut ErrorList,
    at: &Path,
    kind: &str,
    source: &'a Value,
    paths: &mut BTreeSet<&'a str>,
) {
    match kind {
        "secret" | "configMap" => {
            check::required(errors, at, source, "name");
            keys_to_paths(errors, at, source);
        }
        "downwardAPI" => downward_files(errors, at, source),
        "serviceAccountToken" => token(errors, at, source),
        "clusterTrustBundle" | "podCertificate" => {}
        _ => return,
    }
    let own = [source.text("path")];
    let items = source.list("items").iter().map(|item| item.text("path"));
    for path in own.into_iter().chain(items).filter(|p| !p.is_empty()) {
        if !paths.insert(path) {
            errors.push(Error::invalid(at, path, "conflicting duplicate paths"));
        }
    }
}

fn token(errors: &mut ErrorList, at: &Path, source: &Value) {
    let seconds = source.int("expirationSeconds").unwrap_or(0);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
    }
    if seconds > 1 << 32 {
        let why = "may not specify a duration larger than 2^32 seconds";
        errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
    }
    file_path(errors, at, source);
}
