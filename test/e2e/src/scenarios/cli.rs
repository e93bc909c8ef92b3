//! kubectl's everyday commands, with the output that users know.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{IDLE, SETTINGS, in_namespace};
use crate::cluster::Cluster;
use crate::kubectl::Kubectl;

const LIMIT: Duration = Duration::from_secs(60);

const APPLY: &str = "-n cli apply -f -";

pub fn reads_and_edits(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "cli", |cluster| {
        let k = &cluster.kubectl;
        let manifest = format!("{SETTINGS}{IDLE}");
        let first = k.feed(APPLY, &manifest)?;
        ensure!(
            first.contains("configmap/settings created") && first.contains("deployment.apps/idle created"),
            "{first}"
        );
        let second = k.feed(APPLY, &manifest)?;
        ensure!(second.contains("settings unchanged") && second.contains("idle unchanged"), "{second}");

        let difference = diff(k, &manifest.replace("blue", "green"))?;
        ensure!(difference.contains("-  colour: blue") && difference.contains("+  colour: green"), "{difference}");
        ensure!(
            k.feed(APPLY, &manifest.replace("blue", "green"))?.contains("settings configured"),
            "apply did not configure"
        );
        let colour = "-n cli get configmap settings -o 'jsonpath={.data.colour}'";
        ensure!(k.run(colour)? == "green", "apply did not change the object");

        let edited = k.command("-n cli edit configmap settings").env("KUBE_EDITOR", "sed -i s/green/red/").output()?;
        ensure!(edited.status.success(), "edit: {}", String::from_utf8_lossy(&edited.stderr));
        ensure!(k.run(colour)? == "red", "edit did not change the object");

        k.run("-n cli label configmap settings tier=front")?;
        ensure!(k.run("-n cli get configmap -l tier=front -o name")?.trim() == "configmap/settings", "label selector");
        k.run("-n cli annotate configmap settings note=x")?;
        k.run("-n cli patch configmap settings --type=json -p '[{\"op\":\"remove\",\"path\":\"/data/size\"}]'")?;
        ensure!(k.run("-n cli get configmap settings -o yaml")?.contains("note: x"), "annotation");

        k.run("-n cli wait --for=condition=Available deployment/idle --timeout=60s")?;
        let wide = k.run("-n cli get pods -o wide")?;
        let header: Vec<&str> = wide.lines().next().context("a header")?.split_whitespace().collect();
        ensure!(header.join(" ") == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES", "{wide}");
        ensure!(wide.contains("1/1") && wide.contains("Running") && wide.contains("node-1"), "{wide}");
        watches(k)?;
        k.run("-n cli delete deployment idle")?;
        k.until(LIMIT, "-n cli get pods -o name", str::is_empty)?;
        Ok(())
    })
}

/// `kubectl diff` answers 1 if there is a difference.
fn diff(k: &Kubectl, manifest: &str) -> anyhow::Result<String> {
    let file = crate::host::work_dir().join("diff.yaml");
    std::fs::write(&file, manifest)?;
    let output = k.command(&format!("-n cli diff -f {}", file.display())).output()?;
    ensure!(output.status.code() == Some(1), "diff: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `get -w` prints a line for what happens after it began.
fn watches(k: &Kubectl) -> anyhow::Result<()> {
    let mut child = k.start("-n cli get configmap -w --no-headers")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let first = lines.next().context("the list comes first")??;
    k.run("-n cli create configmap later")?;
    let seen = lines.take(4).map_while(Result::ok).any(|line| line.starts_with("later"));
    child.kill()?;
    child.wait()?;
    ensure!(seen, "the watch that began with {first:?} did not show the new object");
    Ok(())
}

pub fn describes_and_explains(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "explain", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n explain run one --image=docker.io/coracle/busybox:test --command -- sleep 3600")?;
        k.run("-n explain wait --for=condition=Ready pod/one --timeout=60s")?;
        let pod = k.run("-n explain describe pod one")?;
        for text in ["Node:             node-1/", "State:          Running", "Scheduled", "Started", "QoS Class:"] {
            ensure!(pod.contains(text), "describe pod lacks {text:?}:\n{pod}");
        }
        let node = k.run("describe node node-1")?;
        for text in [
            "Roles:              control-plane",
            "Ready            True",
            "PodCIDR:",
            "Container Runtime Version:",
            "Non-terminated Pods:",
        ] {
            ensure!(node.contains(text), "describe node lacks {text:?}:\n{node}");
        }
        let explained = k.run("explain pod.spec.containers.livenessProbe")?;
        ensure!(
            explained.contains("FIELD: livenessProbe <Probe>") && explained.contains("periodSeconds"),
            "{explained}"
        );
        ensure!(k.run("explain deployment --recursive")?.contains("maxSurge"), "explain --recursive");
        let resources = k.run("api-resources")?;
        for line in ["deployments", "horizontalpodautoscalers", "customresourcedefinitions", "leases"] {
            ensure!(resources.contains(line), "api-resources lacks {line}");
        }
        ensure!(k.run("api-versions")?.contains("resource.k8s.io/v1"), "api-versions");
        ensure!(k.run("auth can-i create deployments.apps")?.trim() == "yes", "auth can-i");
        ensure!(k.run("version")?.contains("Server Version: v1.37"), "version");
        ensure!(k.run("get --raw /livez?verbose")?.contains("livez check passed"), "livez");
        ensure!(k.run("get events -n explain")?.contains("Successfully assigned explain/one to node-1"), "events");
        Ok(())
    })
}

pub fn namespace_deletion(cluster: &mut Cluster) -> anyhow::Result<()> {
    let k = &cluster.kubectl;
    k.run("create namespace doomed")?;
    k.run("-n doomed create deployment idle --image=docker.io/coracle/web:v1 --replicas=2")?;
    k.run("-n doomed create configmap settings --from-literal=a=b")?;
    k.run("-n doomed wait --for=condition=Available deployment/idle --timeout=60s")?;
    k.run("delete namespace doomed --timeout=90s")?;
    let gone = k.refused("get namespace doomed")?;
    ensure!(gone.contains("namespaces \"doomed\" not found"), "{gone}");
    ensure!(k.run("get pods -A -o name")?.lines().all(|line| !line.contains("idle-")), "pods are left");
    Ok(())
}

pub fn roles(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "roles", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n roles create serviceaccount reader")?;
        k.run("-n roles create role reader --verb=get,list --resource=configmaps")?;
        k.run("-n roles create rolebinding reader --role=reader --serviceaccount=roles:reader")?;
        let token = k.run("-n roles create token reader")?;
        let as_reader = format!(
            "--kubeconfig=/dev/null --insecure-skip-tls-verify --server=https://127.0.0.1:6443 --token={}",
            token.trim()
        );
        k.run(&format!("{as_reader} -n roles get configmaps"))?;
        let denied = k.refused(&format!("{as_reader} -n roles get secrets"))?;
        let expected = "User \"system:serviceaccount:roles:reader\" cannot list resource \"secrets\" in API group \"\" in the namespace \"roles\"";
        ensure!(denied.contains(expected), "{denied}");
        let anonymous = crate::host::shell("curl -sk https://127.0.0.1:6443/api/v1/namespaces")?;
        ensure!(
            anonymous.contains("\"code\":403")
                || anonymous.contains("\"code\":401")
                || anonymous.contains("\"code\": 40"),
            "{anonymous}"
        );
        Ok(())
    })
}
