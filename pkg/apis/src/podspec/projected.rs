//! Projected volumes: parts of secrets, config maps, the pod itself, tokens, trust bundles and certificates in one tree.

use std::collections::BTreeSet;

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::{is_dns1123_subdomain, is_domain_prefixed_key};
use serde_json::Value;

use super::volume_sources::{downward_files, file_path, keys_to_paths, mode};
use crate::certificates::signer_name;
use crate::check;
use crate::tree::Tree;

/// The files of one volume, which must not hide each other.
struct Files<'a> {
    at: &'a Path,
    paths: BTreeSet<&'a str>,
}

impl<'a> Files<'a> {
    /// `shown` is what the error calls the culprit.
    fn add(&mut self, errors: &mut ErrorList, path: &'a str, shown: &str) {
        if !self.paths.insert(path) {
            errors.push(Error::invalid(self.at, shown, "conflicting duplicate paths"));
        }
    }
}

pub fn validate(errors: &mut ErrorList, at: &Path, source: &Value) {
    mode(errors, at, source, "defaultMode");
    let mut files = Files { at, paths: BTreeSet::new() };
    for (i, projection) in source.list("sources").iter().enumerate() {
        let source_at = at.child("sources").index(i);
        let mut count = 0;
        for kind in KINDS.iter().filter(|kind| projection.has(kind)) {
            count += 1;
            one(errors, &source_at.child(kind), kind, projection.field(kind), &mut files);
        }
        if count > 1 {
            errors.push(Error::forbidden(&source_at, "may not specify more than 1 volume type per source"));
        }
    }
}

/// In the order in which they are checked.
const KINDS: &[&str] =
    &["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn one<'a>(errors: &mut ErrorList, at: &Path, kind: &str, source: &'a Value, files: &mut Files<'a>) {
    match kind {
        "secret" | "configMap" => {
            check::required(errors, at, source, "name");
            keys_to_paths(errors, at, source);
            for path in source.list("items").iter().map(|item| item.text("path")).filter(|p| !p.is_empty()) {
                files.add(errors, path, source.text("name"));
            }
        }
        "downwardAPI" => {
            downward_files(errors, at, source);
            for path in source.list("items").iter().map(|item| item.text("path")).filter(|p| !p.is_empty()) {
                files.add(errors, path, path);
            }
        }
        "serviceAccountToken" => token(errors, at, source, files.at),
        "clusterTrustBundle" => trust_bundle(errors, at, source, files),
        _ => certificate(errors, at, source, files),
    }
}

/// `volume_at` is where upstream reports the path of a token.
fn token(errors: &mut ErrorList, at: &Path, source: &Value, volume_at: &Path) {
    match source.int("expirationSeconds") {
        None => errors.push(Error::required(&at.child("expirationSeconds"), "")),
        Some(seconds) if seconds < 600 => {
            let why = "may not specify a duration less than 10 minutes";
            errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
        }
        Some(seconds) if seconds > 1 << 32 => {
            let why = "may not specify a duration larger than 2^32 seconds";
            errors.push(Error::invalid(&at.child("expirationSeconds"), seconds, why));
        }
        Some(_) => {}
    }
    file_path(errors, volume_at, source);
}

fn trust_bundle<'a>(errors: &mut ErrorList, at: &Path, source: &'a Value, files: &mut Files<'a>) {
    match (source.field("name").as_str(), source.field("signerName").as_str()) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(at, source.clone(), "only one of name and signerName may be used"));
        }
        (Some(name), None) => {
            bundle_name(errors, &at.child("name"), name);
            if source.has("labelSelector") {
                let why = "labelSelector must be unset if name is specified";
                errors.push(Error::invalid(&at.child("labelSelector"), source.field("labelSelector").clone(), why));
            }
        }
        (None, Some(signer)) => {
            if signer.is_empty() {
                errors.push(Error::required(&at.child("signerName"), "must be a valid signer name"));
            }
            signer_name(errors, &at.child("signerName"), signer);
            check::label_selector(errors, &at.child("labelSelector"), source.field("labelSelector"));
        }
        (None, None) => errors.push(Error::required(at, "either name or signerName must be specified")),
    }
    file_path(errors, at, source);
    files.add(errors, source.text("path"), source.text("path"));
}

/// `example.com:signer:name` for the bundles of a signer, or a name without colons.
fn bundle_name(errors: &mut ErrorList, at: &Path, name: &str) {
    if name.is_empty() {
        errors.push(Error::required(at, "must be a valid object name"));
    }
    let own = match name.split(':').collect::<Vec<_>>()[..] {
        [_, _, own] => own,
        [own] => own,
        _ => {
            let why = "not a valid clustertrustbundlename: ClusterTrustBundle without signer name must not have \":\" \
                       in its name";
            errors.push(Error::invalid(at, name, why));
            return;
        }
    };
    for reason in is_dns1123_subdomain(own) {
        errors.push(Error::invalid(at, name, format!("not a valid clustertrustbundlename: {reason}")));
    }
}

const KEY_TYPES: &[&str] = &["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

/// Longest life of a certificate that a pod may ask for, in seconds: of any signer, and of Kubernetes' own.
const LIFE_MAX: i64 = 91 * 86_400;
const OWN_LIFE_MAX: i64 = 86_400;

fn certificate<'a>(errors: &mut ErrorList, at: &Path, source: &'a Value, files: &mut Files<'a>) {
    let signer = source.text("signerName");
    signer_name(errors, &at.child("signerName"), signer);
    if source.has("userAnnotations") {
        user_annotations(errors, &at.child("userAnnotations"), source.field("userAnnotations"));
    }
    let key_type = source.text("keyType");
    if !KEY_TYPES.contains(&key_type) {
        errors.push(Error::not_supported(&at.child("keyType"), key_type, KEY_TYPES));
    }
    if let Some(seconds) = source.int("maxExpirationSeconds") {
        let domain = signer.split('/').next().unwrap_or("");
        let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let max = if own { OWN_LIFE_MAX } else { LIFE_MAX };
        let mut refuse = |why: String| errors.push(Error::invalid(&at.child("maxExpirationSeconds"), seconds, why));
        if seconds < 3600 {
            refuse("if provided, maxExpirationSeconds must be >= 3600".to_owned());
        }
        if seconds > max {
            refuse(format!("if provided, maxExpirationSeconds must be <= {max}"));
        }
    }
    let mut count = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let path = source.text(field);
        if !path.is_empty() {
            count += 1;
            check::local_nonreserved_path(errors, &at.child(field), path);
            files.add(errors, path, path);
        }
    }
    if count == 0 {
        let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(Error::required(at, why));
    }
}

/// Like annotations, with a domain in every key.
pub fn user_annotations(errors: &mut ErrorList, at: &Path, annotations: &Value) {
    for key in annotations.as_object().into_iter().flat_map(serde_json::Map::keys) {
        let lower = key.to_lowercase();
        errors.extend(is_domain_prefixed_key(&lower).into_iter().map(|e| Error::invalid(at, lower.as_str(), e)));
    }
    check::annotations_size(errors, at, annotations);
}
