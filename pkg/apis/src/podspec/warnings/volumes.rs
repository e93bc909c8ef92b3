//! Warnings about volumes.

use std::fmt;

use apimachinery::field::Path;
use serde_json::Value;

use crate::core::claim;
use crate::tree::Tree;

/// Sources that are on their way out: the field of the source, its name in the path, and what to say.
const OLD_SOURCES: &[(&str, &str, &str)] = &[
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub fn warnings(warnings: &mut Vec<String>, spec_at: &Path, volumes: &[Value]) {
    for (i, volume) in volumes.iter().enumerate() {
        let at = || spec_at.child("volumes").index(i);
        source_warnings(warnings, at, volume);
        if volume.has("ephemeral") {
            let template = volume.field("ephemeral").field("volumeClaimTemplate");
            let at = at().child("ephemeral").child("volumeClaimTemplate").child("spec");
            claim::spec_warnings(warnings, &at, template.field("spec"));
        }
    }
    for volume in volumes {
        overlapping_paths(warnings, volume);
    }
}

/// Sources of a volume at `at` that are on their way out.
pub fn source_warnings(warnings: &mut Vec<String>, at: impl Fn() -> Path, volume: &Value) {
    let is_old = |source: &String| OLD_SOURCES.iter().any(|(field, _, _)| field == source);
    if !volume.as_object().is_some_and(|sources| sources.keys().any(is_old)) {
        return;
    }
    for (_, name, text) in OLD_SOURCES.iter().filter(|(field, _, _)| volume.has(field)) {
        warnings.push(format!("{}: {text}", at().child(name)));
    }
}

/// A path that a source puts into a volume.
struct File<'a> {
    path: &'a str,
    /// Which of the sources of a projected volume.
    source: Option<Source<'a>>,
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)?;
        self.source.as_ref().map_or(Ok(()), |source| write!(f, " ({source})"))
    }
}

/// Where files come from.
#[derive(Clone, Copy)]
struct Source<'a> {
    kind: &'static str,
    name: Option<&'a str>,
}

impl<'a> Source<'a> {
    const fn of(kind: &'static str) -> Self {
        Self { kind, name: None }
    }

    const fn named(kind: &'static str, name: &'a str) -> Self {
        Self { kind, name: Some(name) }
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        self.name.map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}

/// `upper` is `lower` or a folder above it.
fn contains(upper: &str, lower: &str) -> bool {
    lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Files of one volume that hide each other.
fn overlapping_paths(warnings: &mut Vec<String>, volume: &Value) {
    let (what, files) = files(warnings, volume);
    for (i, file) in files.iter().enumerate().filter(|(_, file)| !file.path.is_empty()) {
        let earlier = files[..i].iter().filter(|other| !other.path.is_empty());
        let hit = earlier.filter(|other| contains(other.path, file.path) || contains(file.path, other.path));
        let others: Vec<String> = hit.map(ToString::to_string).collect();
        if !others.is_empty() {
            let (name, others) = (volume.text("name"), others.join(", "));
            warnings.push(format!("volume {name:?} ({what}): overlapping paths: {file} with {others}"));
        }
    }
}

/// What kind of volume it is, and its files. Says if a projected source has nothing in it.
fn files<'a>(warnings: &mut Vec<String>, volume: &'a Value) -> (Source<'a>, Vec<File<'a>>) {
    let plain = |source: &'a Value| paths(source.list("items"), None).collect();
    for (field, kind, name) in [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")] {
        if let source @ Value::Object(_) = volume.field(field) {
            return (Source::named(kind, source.text(name)), plain(source));
        }
    }
    if volume.has("downwardAPI") {
        return (Source::of("DownwardAPI"), plain(volume.field("downwardAPI")));
    }
    let mut files = Vec::new();
    for source in volume.field("projected").list("sources") {
        if source.as_object().is_none_or(|fields| fields.values().all(Value::is_null)) {
            warnings.push(format!("volume {:?} (Projected) has no sources provided", volume.text("name")));
            continue;
        }
        projected_files(&mut files, source);
    }
    (Source::of("Projected"), files)
}

fn projected_files<'a>(files: &mut Vec<File<'a>>, source: &'a Value) {
    for (field, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        let part = source.field(field);
        files.extend(paths(part.list("items"), Some(Source::named(kind, part.text("name")))));
    }
    files.extend(paths(source.field("downwardAPI").list("items"), Some(Source::of("DownwardAPI"))));
    let token = source.field("serviceAccountToken");
    if token.is_object() {
        files.push(File { path: trimmed(token.text("path")), source: Some(Source::of("ServiceAccountToken")) });
    }
    let bundle = source.field("clusterTrustBundle");
    if bundle.is_object() {
        let name = if bundle.has("name") { bundle.text("name") } else { bundle.text("signerName") };
        let source = Some(Source::named("ClusterTrustBundle", name));
        files.push(File { path: trimmed(bundle.text("path")), source });
    }
    let certificate = source.field("podCertificate");
    for (field, kind) in [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ] {
        let path = trimmed(certificate.text(field));
        if !path.is_empty() {
            files.push(File { path, source: Some(Source::of(kind)) });
        }
    }
}

fn paths<'a>(items: &'a [Value], source: Option<Source<'a>>) -> impl Iterator<Item = File<'a>> {
    items.iter().map(move |item| File { path: trimmed(item.text("path")), source })
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}
