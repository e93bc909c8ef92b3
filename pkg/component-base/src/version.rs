//! Which Kubernetes this is.

use serde::Serialize;

/// The Kubernetes minor that is served, and the oldest kubelet-compatible release text that clients parse.
pub const KUBERNETES: &str = "v1.37.0";

/// The answer of `/version`, as in `k8s.io/apimachinery/pkg/version` `Info`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    pub major: &'static str,
    pub minor: &'static str,
    pub git_version: String,
    pub git_commit: &'static str,
    pub git_tree_state: &'static str,
    pub build_date: &'static str,
    pub go_version: &'static str,
    pub compiler: &'static str,
    pub platform: String,
}

/// `v1.37.0+coracle0.1.0`: the part after the plus is build metadata, which version checks ignore.
pub fn git_version() -> String {
    format!("{KUBERNETES}+coracle{}", env!("CARGO_PKG_VERSION"))
}

pub fn info() -> Info {
    Info {
        major: "1",
        minor: "37",
        git_version: git_version(),
        git_commit: option_env!("CORACLE_GIT_COMMIT").unwrap_or("unknown"),
        git_tree_state: "clean",
        build_date: option_env!("CORACLE_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        // Clients show this field; there is no Go here.
        go_version: "none",
        compiler: "rustc",
        platform: format!("linux/{}", architecture()),
    }
}

/// The architecture in Go's (and so Kubernetes') naming.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
