//! The shape of the tree, checked: layers, dependency policy, links in the documents, length of files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Layer of each crate, as in `pkg/README.md`. A crate may depend only on crates of lower layers.
const LAYERS: &[(u8, &[&str])] = &[
    (0, &["apimachinery", "component-base", "mvcc", "cri", "pki", "netlink", "cel"]),
    (1, &["apis", "raft"]),
    (2, &["storage", "auth", "admission", "client"]),
    (3, &["registry", "backup", "controller", "scheduler", "kubelet", "proxy", "dns", "cni", "overlay"]),
    (5, &["apiserver"]),
    (6, &["coracle"]),
];

/// Within layer 0 the plain machinery may be used by the others: it has no I/O and no state of its own.
const EXCEPTIONS: &[(&str, &str)] =
    &[("mvcc", "component-base"), ("cri", "component-base"), ("pki", "component-base"), ("pki", "apimachinery")];

/// Crates that only the named crate may use directly: what the others must not know.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("openraft", &["raft"]),
    ("redb", &["raft", "mvcc", "storage"]),
    ("axum", &["apiserver", "kubelet"]),
    ("rtnetlink", &["netlink"]),
    ("rcgen", &[]),
    ("openssl", &[]),
];

/// What server-side crates must never reach, however indirectly: the loops' client.
const SERVER_SIDE: &[&str] = &["mvcc", "raft", "storage", "auth", "admission", "registry", "backup", "apiserver"];
const LOOPS: &[&str] = &["client", "controller", "scheduler", "kubelet", "proxy", "dns", "cni", "overlay"];

const LICENSES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "0BSD",
    "BSL-1.0",
    "MIT-0",
    "CDLA-Permissive-2.0",
    "Apache-2.0 WITH LLVM-exception",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root exists")
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn layers() -> BTreeMap<&'static str, u8> {
    LAYERS.iter().flat_map(|(layer, names)| names.iter().map(move |name| (*name, *layer))).collect()
}

/// Crate → names of its normal and build dependencies.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().expect("packages is a list");
    packages
        .iter()
        .map(|package| {
            let all = package["dependencies"].as_array().expect("dependencies is a list");
            let real = all.iter().filter(|d| d["kind"] != "dev");
            let names = real.map(|d| d["name"].as_str().unwrap_or_default().to_owned()).collect();
            (package["name"].as_str().unwrap_or_default().to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_depend_only_on_lower_layers() {
    let (layers, mut wrong) = (layers(), Vec::new());
    for (package, needs) in dependencies() {
        let Some(own) = layers.get(package.as_str()) else { continue };
        for need in &needs {
            let Some(other) = layers.get(need.as_str()) else { continue };
            if other >= own && !EXCEPTIONS.contains(&(&package, need)) {
                wrong.push(format!("{package} (layer {own}) depends on {need} (layer {other})"));
            }
        }
    }
    assert!(wrong.is_empty(), "sideways or upwards: {wrong:#?}");
}

#[test]
fn every_product_crate_has_a_layer() {
    let layers = layers();
    for entry in std::fs::read_dir(root().join("pkg")).expect("pkg can be listed").flatten() {
        if entry.path().join("Cargo.toml").exists() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(layers.contains_key(name.as_str()), "pkg/{name} has no layer: add it to LAYERS and pkg/README.md");
        }
    }
}

#[test]
fn the_two_towers_do_not_touch() {
    let all = dependencies();
    for (tower, others) in [(SERVER_SIDE, LOOPS), (LOOPS, SERVER_SIDE)] {
        for package in tower {
            for need in all.get(*package).into_iter().flatten() {
                assert!(!others.contains(&need.as_str()), "{package} reaches across to {need}");
            }
        }
    }
}

#[test]
fn what_a_crate_must_not_know_stays_where_it_is() {
    for (package, needs) in dependencies() {
        for (library, allowed) in ONLY_IN {
            let used = needs.iter().any(|n| n == library);
            assert!(!used || allowed.contains(&package.as_str()), "{package} must not use {library}");
        }
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licenses() {
    let metadata = metadata(&[]);
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().expect("packages is a list") {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(source) = package["source"].as_str() else { continue };
        if !source.starts_with("registry+") {
            wrong.push(format!("{name}: not from the registry"));
        }
        let license = package["license"].as_str().unwrap_or("none");
        if !acceptable(license) {
            wrong.push(format!("{name}: license {license}"));
        }
    }
    assert!(wrong.is_empty(), "dependency policy: {wrong:#?}");
}

/// An SPDX expression is acceptable if each AND part has an OR alternative that we know.
fn acceptable(license: &str) -> bool {
    license.replace('/', " OR ").split(" AND ").all(|part| {
        part.split(" OR ").any(|one| LICENSES.contains(&one.trim_matches(|c: char| c == '(' || c == ')' || c == ' ')))
    })
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let output = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output().expect("git runs");
    let mut broken = Vec::new();
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let base = root().join(file).parent().map(Path::to_path_buf).unwrap_or_default();
            if !base.join(path).exists() {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}
