//! What a volume is made of; sources outside the node are in `volume_remote`.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_dns1123_subdomain;
use serde_json::Value;

pub use super::volume_remote::{Owner, driver_name};
use super::{env, projected, volume_remote};
use crate::check;
use crate::core::claim;
use crate::tree::Tree;

/// The rules of local sources that pods and persistent volumes share, and those of remote ones.
pub fn validate_common(errors: &mut ErrorList, at: &Path, kind: &str, source: &Value, owner: Owner<'_>) {
    match kind {
        "hostPath" => host_path(errors, at, source),
        "local" => {
            check::required(errors, at, source, "path");
            check::no_backsteps(errors, &at.child("path"), source.text("path"));
        }
        kind => volume_remote::validate(errors, at, kind, source, owner),
    }
}

/// The source `kind` of the pod's volume `name` at `volume_at`.
pub fn validate(errors: &mut ErrorList, volume_at: &Path, kind: &str, source: &Value, name: &str, pod_name: &str) {
    let at = volume_at.child(shown(kind));
    match kind {
        "emptyDir" => empty_dir(errors, &at, source),
        "gitRepo" => {
            check::required(errors, &at, source, "repository");
            check::descending_path(errors, &at.child("directory"), source.text("directory"));
        }
        "persistentVolumeClaim" => check::required(errors, &at, source, "claimName"),
        "secret" | "configMap" => {
            check::required(errors, &at, source, if kind == "secret" { "secretName" } else { "name" });
            mode(errors, &at, source, "defaultMode");
            keys_to_paths(errors, &at, source);
        }
        "downwardAPI" => {
            mode(errors, &at, source, "defaultMode");
            downward_files(errors, &at, source);
        }
        "projected" => projected::validate(errors, &at, source),
        "ephemeral" => ephemeral(errors, volume_at, source, name, pod_name),
        "image" => {
            check::required(errors, &at, source, "reference");
            check::choice(errors, &at, source, "pullPolicy", &["Always", "IfNotPresent", "Never"]);
        }
        "iscsi" => {
            validate_common(errors, &at, kind, source, Owner::Pod(name));
            volume_remote::iscsi_length(errors, || volume_at.child("name"), name, name, source);
        }
        kind => validate_common(errors, &at, kind, source, Owner::Pod(name)),
    }
}

/// What errors call a source, where that is not its field.
pub fn shown(kind: &str) -> &str {
    match kind {
        "gcePersistentDisk" => "persistentDisk",
        kind => kind,
    }
}

fn empty_dir(errors: &mut ErrorList, at: &Path, source: &Value) {
    if crate::quantity::parse(source.field("sizeLimit")).is_some_and(|q| q.is_negative()) {
        let why = "SizeLimit field must be a valid resource quantity";
        errors.push(Error::forbidden(&at.child("sizeLimit"), why));
    }
}

fn host_path(errors: &mut ErrorList, at: &Path, source: &Value) {
    const TYPES: &[&str] =
        &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if source.text("path").is_empty() {
        errors.push(Error::required(&at.child("path"), ""));
        return;
    }
    check::no_backsteps(errors, &at.child("path"), source.text("path"));
    check::optional_choice(errors, at, source, "type", TYPES);
}

fn ephemeral(errors: &mut ErrorList, volume_at: &Path, source: &Value, name: &str, pod_name: &str) {
    let at = volume_at.child("ephemeral").child("volumeClaimTemplate");
    if !source.has("volumeClaimTemplate") {
        errors.push(Error::required(&at, ""));
        return;
    }
    let template = source.field("volumeClaimTemplate");
    template_metadata(errors, &at.child("metadata"), template.field("metadata"));
    claim::validate_spec(errors, &at.child("spec"), template.field("spec"));
    if !pod_name.is_empty() && !name.is_empty() {
        let claim = format!("{pod_name}-{name}");
        for reason in is_dns1123_subdomain(&claim) {
            errors.push(Error::invalid(&volume_at.child("name"), name, format!("PVC name {claim:?}: {reason}")));
        }
    }
}

/// Only labels and annotations of a claim template count; the rest would be lost silently.
fn template_metadata(errors: &mut ErrorList, at: &Path, metadata: &Value) {
    check::annotations(errors, &at.child("annotations"), metadata.field("annotations"));
    check::labels(errors, &at.child("labels"), metadata.field("labels"));
    for field in metadata.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !matches!(&**field, "annotations" | "labels" | "creationTimestamp") {
            errors.push(Error::forbidden(&at.child(field), "cannot be set"));
        }
    }
}

/// A file mode, 0 to 0777.
pub fn mode(errors: &mut ErrorList, at: &Path, owner: &Value, field: &str) {
    if let Some(mode) = owner.int(field)
        && !(0..=0o777).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(Error::invalid(&at.child(field), mode, why));
    }
}

pub fn keys_to_paths(errors: &mut ErrorList, at: &Path, source: &Value) {
    for (i, item) in source.list("items").iter().enumerate() {
        let at = at.child("items").index(i);
        check::required(errors, &at, item, "key");
        file_path(errors, &at, item);
        mode(errors, &at, item, "mode");
    }
}

/// The relative path of a file in a volume.
pub fn file_path(errors: &mut ErrorList, at: &Path, item: &Value) {
    match item.text("path") {
        "" => errors.push(Error::required(&at.child("path"), "")),
        path => check::local_nonreserved_path(errors, &at.child("path"), path),
    }
}

/// The files of a downwardAPI source. Upstream names the list in errors, not the item.
pub fn downward_files(errors: &mut ErrorList, list_at: &Path, source: &Value) {
    for item in source.list("items") {
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
