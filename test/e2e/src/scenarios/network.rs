//! Services, names and the world outside.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::in_namespace;
use crate::cluster::Cluster;
use crate::host::{self, NODE_IP, OUTSIDE_IP};
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);

const CLIENT: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: 'docker.io/coracle/web:v1', env: [{name: WEB_LISTEN, value: '9090'}]}
";

/// Runs a command in the client pod until it answers what is expected.
fn in_pod(k: &Kubectl, command: &str, good: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    k.until(LIMIT, &format!("-n default exec client -- {command}"), good)
}

pub fn names(cluster: &mut Cluster) -> anyhow::Result<()> {
    let k = cluster.kubectl.clone();
    k.apply(CLIENT)?;
    k.run("create deployment web --image=docker.io/coracle/web:v1 --replicas=2")?;
    k.run("expose deployment web --port=80 --target-port=8080")?;
    k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
    k.run("wait --for=condition=Ready pod/client --timeout=60s")?;

    let ip = k.run("get service web -o 'jsonpath={.spec.clusterIP}'")?;
    in_pod(&k, "nslookup web.default.svc.cluster.local", |text| text.contains(&ip))?;
    for name in ["web", "web.default", "web.default.svc.cluster.local"] {
        in_pod(&k, &format!("/web get http://{name}/hostname"), |text| text.contains("web-"))?;
    }
    let backends = pods(&k, "app=web")?;
    let mut seen = BTreeSet::new();
    eventually(LIMIT, || {
        let answer = k.run("exec client -- /web get http://web/hostname")?;
        seen.insert(answer.trim().lines().last().unwrap_or_default().to_owned());
        ensure!(seen == backends, "only {seen:?} of {backends:?} answered");
        Ok(())
    })?;
    in_pod(&k, "nslookup kubernetes.default.svc.cluster.local", |text| text.contains("10.43.0.1"))?;
    outside(&k)?;
    host_reaches(&k, &ip)?;
    k.run("delete pod client --grace-period=0 --force")?;
    k.run("delete service,deployment web")?;
    Ok(())
}

/// A machine outside answers a pod, and sees the node's address, since pod addresses mean nothing there.
fn outside(k: &Kubectl) -> anyhow::Result<()> {
    let mut server = neighbour()?;
    let outcome = in_pod(k, &format!("/web get http://{OUTSIDE_IP}:8088/client"), |text| text.contains(NODE_IP));
    server.kill()?;
    server.wait()?;
    outcome.map(drop)
}

/// The test image's web server, run on the machine outside.
fn neighbour() -> anyhow::Result<Child> {
    let dir = host::work_dir().join("neighbour");
    std::fs::create_dir_all(&dir)?;
    let program = std::env::var("CORACLE_WEB_BINARY").context("CORACLE_WEB_BINARY is not set; use hack/test")?;
    let child = Command::new("ip")
        .args(["netns", "exec", "outside", &program])
        .env("WEB_LISTEN", "8088")
        .stdout(Stdio::null())
        .spawn()?;
    Ok(child)
}

fn host_reaches(k: &Kubectl, cluster_ip: &str) -> anyhow::Result<()> {
    let answer = host::shell(&format!("curl -s -m 3 http://{cluster_ip}/hostname"))?;
    ensure!(answer.starts_with("web-"), "the node does not reach the ClusterIP: {answer}");
    k.run("scale deployment web --replicas=0")?;
    // Without endpoints a connection is refused at once, not left hanging.
    let refused = eventually(LIMIT, || {
        let line = format!("curl -s -m 3 -o /dev/null http://{cluster_ip}/");
        let status = Command::new("curl").args(line.split(' ').skip(1)).status()?;
        ensure!(status.code() == Some(7), "curl ended with {status}");
        Ok(())
    });
    k.run("scale deployment web --replicas=1")?;
    refused
}

pub fn affinity_and_headless(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "affinity", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n affinity create deployment web --image=docker.io/coracle/web:v1 --replicas=3")?;
        k.run("-n affinity expose deployment web --port=80 --target-port=8080 --type=NodePort --session-affinity=ClientIP")?;
        k.run("-n affinity expose deployment web --name=direct --port=80 --target-port=8080 --cluster-ip=None")?;
        k.run("-n affinity wait --for=condition=Available deployment/web --timeout=60s")?;
        let port = k.run("-n affinity get service web -o 'jsonpath={.spec.ports[0].nodePort}'")?;
        let ask = || host::shell(&format!("curl -s -m 3 http://{NODE_IP}:{port}/hostname"));
        let first = eventually(LIMIT, ask)?;
        for _ in 0..20 {
            ensure!(ask()? == first, "affinity did not hold");
        }
        let addresses = k.run("-n affinity get pods -l app=web -o 'jsonpath={.items[*].status.podIP}'")?;
        k.run("-n affinity run client --image=docker.io/coracle/busybox:test --command -- sleep 3600")?;
        k.run("-n affinity wait --for=condition=Ready pod/client --timeout=60s")?;
        k.until(LIMIT, "-n affinity exec client -- nslookup direct.affinity.svc.cluster.local", |text| {
            addresses.split(' ').all(|address| text.contains(address))
        })?;
        Ok(())
    })
}

fn pods(k: &Kubectl, selector: &str) -> anyhow::Result<BTreeSet<String>> {
    let output = k.run(&format!("get pods -l {selector} -o 'jsonpath={{.items[*].metadata.name}}'"))?;
    Ok(output.split_whitespace().map(str::to_owned).collect())
}
