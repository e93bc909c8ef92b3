//! The life of a Deployment behind a NodePort.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::in_namespace;
use crate::cluster::Cluster;
use crate::host::{self, NODE_IP};
use crate::kubectl::eventually;

const LIMIT: Duration = Duration::from_secs(60);

pub fn deployment(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "web", |cluster| {
        let k = &cluster.kubectl;
        k.run("-n web create deployment web --image=docker.io/coracle/web:v1 --replicas=3")?;
        let status = k.run("-n web rollout status deployment/web --timeout=60s")?;
        ensure!(status.contains("successfully rolled out"), "rollout status said {status:?}");

        k.run("-n web expose deployment web --port=80 --target-port=8080 --type=NodePort")?;
        let port = k.run("-n web get service web -o 'jsonpath={.spec.ports[0].nodePort}'")?;
        let pods: BTreeSet<String> = names(&k.run("-n web get pods -o name")?);
        ensure!(pods.len() == 3, "three pods, not {pods:?}");
        reaches_all(&port, &pods)?;

        let victim = pods.first().context("there is a pod")?;
        k.run(&format!("-n web delete pod {victim}"))?;
        let available = "-n web get deployment web -o 'jsonpath={.status.availableReplicas}'";
        k.until(LIMIT, available, |text| text == "3")?;
        let healed = names(&k.run("-n web get pods -o name")?);
        ensure!(!healed.contains(victim), "{victim} is still there");
        reaches_all(&port, &healed)?;

        k.run("-n web scale deployment web --replicas=5")?;
        k.until(LIMIT, available, |text| text == "5")?;
        k.run("-n web scale deployment web --replicas=2")?;
        k.until(LIMIT, "-n web get pods -o name", |text| text.lines().count() == 2)?;

        roll(cluster)
    })
}

fn roll(cluster: &Cluster) -> anyhow::Result<()> {
    let k = &cluster.kubectl;
    k.run("-n web set image deployment/web web=docker.io/coracle/web:v2")?;
    k.run("-n web rollout status deployment/web --timeout=60s")?;
    let images = "-n web get pods -o 'jsonpath={.items[*].spec.containers[0].image}'";
    k.until(LIMIT, images, |text| text == "docker.io/coracle/web:v2 docker.io/coracle/web:v2")?;
    let history = k.run("-n web rollout history deployment/web")?;
    ensure!(history.lines().filter(|l| l.starts_with(['1', '2'])).count() == 2, "two revisions, not {history}");

    k.run("-n web rollout undo deployment/web")?;
    k.run("-n web rollout status deployment/web --timeout=60s")?;
    k.until(LIMIT, images, |text| text == "docker.io/coracle/web:v1 docker.io/coracle/web:v1")?;
    k.run("-n web rollout restart deployment/web")?;
    k.run("-n web rollout status deployment/web --timeout=60s")?;
    Ok(())
}

/// Asks the NodePort until every pod has answered; the web server answers its host name.
fn reaches_all(port: &str, pods: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    eventually(LIMIT, || {
        for _ in 0..20 {
            let answer = host::shell(&format!("curl -s -m 3 http://{NODE_IP}:{port}/hostname"))?;
            seen.insert(answer.trim().to_owned());
        }
        let missing: Vec<_> = pods.difference(&seen).collect();
        ensure!(missing.is_empty(), "no answer from {missing:?}");
        Ok(())
    })
}

/// `pod/a\npod/b\n` as a set of plain names.
fn names(output: &str) -> BTreeSet<String> {
    output.lines().filter_map(|line| line.strip_prefix("pod/")).map(str::to_owned).collect()
}
