//! What a stranger does wrong gets one clear line that names the cause and the remedy, and leaves nothing half-done.

use std::process::Command;

use anyhow::ensure;

use crate::cluster::{Cluster, binary};
use crate::host;

/// Runs the binary and answers (exit code, standard error).
fn coracle(arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    // A start that should fail but does not would run for ever.
    let output = Command::new("timeout").arg("20").arg(binary()).args(arguments).output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

pub fn all(cluster: &mut Cluster) -> anyhow::Result<()> {
    let dir = host::work_dir().join("wrong");
    std::fs::create_dir_all(&dir)?;
    let path = |name: &str| dir.join(name).display().to_string();
    std::fs::write(dir.join("bad.yaml"), "cluster-cdir: 10.0.0.0/8\n")?;
    std::fs::create_dir_all(dir.join("foreign/server/db"))?;
    std::fs::write(dir.join("foreign/server/db/state.redb"), b"this is no store of ours, not at all")?;
    std::fs::write(dir.join("foreign/server/db/FORMAT"), b"something else\n")?;

    let fresh = format!("--data-dir={}", path("fresh"));
    let output = format!("--write-kubeconfig={}", path("k.yaml"));
    let foreign = format!("--data-dir={}", path("foreign"));
    let own = format!("--data-dir={}", host::work_dir().join("data").display());
    let config = format!("--config={}", path("bad.yaml"));
    let cases: &[(&[&str], &[&str])] = &[
        (&["server", "--cluster-cdir=10.0.0.0/8"], &["unexpected argument", "--cluster-cidr"]),
        (&["server", "--https-listen-port=99999"], &["--https-listen-port", "99999"]),
        (&["server", "--cluster-dns=1.2.3.4"], &["--cluster-dns", "--service-cidr"]),
        (&["server", &config], &["bad.yaml", "did you mean \"cluster-cidr\""]),
        (&["server", "--config=/nonexistent.yaml"], &["/nonexistent.yaml", "no such file"]),
        (&["server", &fresh, &output, "--disable-agent"], &["6443", "in use", "--https-listen-port"]),
        (&["server", &own, &output, "--disable-agent", "--https-listen-port=7443"], &["is in use by process"]),
        (&["server", &foreign, &output, "--disable-agent", "--https-listen-port=7443"], &["foreign/server/db"]),
        (
            &[
                "server",
                &fresh,
                &output,
                "--https-listen-port=7443",
                "--container-runtime-endpoint=unix:///nonexistent.sock",
            ],
            &["/nonexistent.sock", "--container-runtime-endpoint"],
        ),
        (&["scheduler", "--kubeconfig=/nonexistent"], &["/nonexistent"]),
    ];
    for (arguments, expected) in cases {
        let (code, error) = coracle(arguments)?;
        ensure!(code.is_some_and(|c| c != 0 && c != 124), "{arguments:?} ended with {code:?}: {error}");
        for text in *expected {
            ensure!(error.contains(text), "{arguments:?}: {text:?} is not in: {error}");
        }
        ensure!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    manifests(cluster)
}

fn manifests(cluster: &Cluster) -> anyhow::Result<()> {
    let k = &cluster.kubectl;
    let cases = [
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndtaa: {a: b}\n", "unknown field \"dtaa\""),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: X_Y}\n", "Invalid value: \"X_Y\""),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n", "spec.containers: Required value"),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: two, selector: {}, template: {}}\n",
            "replicas",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 99999}]}\n",
            "must be between 1 and 65535, inclusive",
        ),
    ];
    for (manifest, expected) in cases {
        let file = host::work_dir().join("wrong/manifest.yaml");
        std::fs::write(&file, manifest)?;
        let error = k.refused(&format!("apply -f {}", file.display()))?;
        ensure!(error.contains(expected), "{expected:?} is not in {error}");
    }
    let nothing = k.refused("get configmap x")?;
    ensure!(nothing.contains("configmaps \"x\" not found"), "{nothing}");
    Ok(())
}
