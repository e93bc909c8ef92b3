//! Client libraries that were not written for us, with their default settings: kube-rs and Python's `kubernetes`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, AttachParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::in_namespace;
use crate::cluster::Cluster;
use crate::host;

/// kube-rs as its documentation says to make it.
pub async fn kube_client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    Ok(kube::Client::try_from(kube_config(kubeconfig).await?)?)
}

/// What such a client is made from.
pub async fn kube_config(kubeconfig: &Path) -> anyhow::Result<kube::Config> {
    // The second call in a process finds the provider installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Kubeconfig::read_from(kubeconfig)?;
    Ok(kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)
}

pub fn all(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "clients", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n clients run shell --image=docker.io/coracle/busybox:test --command -- sleep 3600")?;
        k.run("-n clients wait --for=condition=Ready pod/shell --timeout=60s")?;
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(kube_rs(&cluster.kubeconfig)).context("kube-rs")?;
        python(&cluster.kubeconfig).context("python")
    })
}

async fn kube_rs(kubeconfig: &Path) -> anyhow::Result<()> {
    let client = kube_client(kubeconfig).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "clients");
    let list = maps.list(&ListParams::default()).await?;
    let version = list.metadata.resource_version.context("a list has a revision")?;
    let mut events = maps.watch(&WatchParams::default(), &version).await?.boxed();

    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "rs"}, "data": {"a": "1"}}))?;
    maps.create(&PostParams::default(), &map).await?;
    let patch = json!({"data": {"b": "2"}});
    let patched = maps.patch("rs", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    ensure!(patched.data.is_some_and(|d| d.len() == 2), "the merge patch did not merge");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match events.try_next().await?.context("the watch ended")? {
            WatchEvent::Added(map) => seen.push(("added", map.metadata.name)),
            WatchEvent::Modified(map) => seen.push(("modified", map.metadata.name)),
            other => anyhow::bail!("unexpected event {other:?}"),
        }
    }
    ensure!(seen == [("added", Some("rs".into())), ("modified", Some("rs".into()))], "events {seen:?}");

    let pods: Api<Pod> = Api::namespaced(client, "clients");
    let mut attached = pods.exec("shell", ["echo", "from kube-rs"], &AttachParams::default().stderr(false)).await?;
    let mut said = String::new();
    attached.stdout().context("standard output")?.read_to_string(&mut said).await?;
    ensure!(said == "from kube-rs\n", "exec said {said:?}");
    Ok(())
}

const PYTHON: &str = r#"
import sys
from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
version = core.list_namespaced_config_map("clients").metadata.resource_version
body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="py"), data={"a": "1"})
core.create_namespaced_config_map("clients", body)
core.patch_namespaced_config_map("py", "clients", {"data": {"b": "2"}})
seen = []
for event in watch.Watch().stream(core.list_namespaced_config_map, "clients", resource_version=version, timeout_seconds=20):
    seen.append((event["type"], event["object"].metadata.name))
    if len(seen) == 2:
        break
assert seen == [("ADDED", "py"), ("MODIFIED", "py")], seen
assert core.read_namespaced_config_map("py", "clients").data == {"a": "1", "b": "2"}
said = stream(core.connect_get_namespaced_pod_exec, "shell", "clients", command=["echo", "from python"], stdout=True, stderr=False)
assert said == "from python\n", said
assert "Running" in [p.status.phase for p in core.list_namespaced_pod("clients").items]
client.AppsV1Api().list_deployment_for_all_namespaces(limit=1)
try:
    core.read_namespaced_pod("missing", "clients")
    raise SystemExit("no error for a missing pod")
except client.ApiException as error:
    assert error.status == 404 and 'pods \\"missing\\" not found' in error.body, error
print("python ok")
"#;

fn python(kubeconfig: &Path) -> anyhow::Result<()> {
    let interpreter = host::repository().join("build/python/bin/python");
    ensure!(interpreter.exists(), "no Python environment at build/python; hack/test makes it");
    let output = Command::new(interpreter).args(["-c", PYTHON]).arg(kubeconfig).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(String::from_utf8_lossy(&output.stdout).contains("python ok"), "{error}");
    Ok(())
}
