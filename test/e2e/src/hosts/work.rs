//! Where work goes: labels and taints from flags, cordon, drain with budgets, taints that evict, and nodes that fall silent.

use std::time::Duration;

use anyhow::ensure;

use super::Host;
use super::scenarios::{explained, wait_nodes};
use super::together::step;
use crate::kubectl::{Kubectl, eventually};

/// A silent node is missed after 50 s, and its pods go then.
const LIMIT: Duration = Duration::from_secs(120);

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      nodeSelector: {tier: work}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      containers:
      - {name: main, image: 'docker.io/coracle/web:v1'}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

pub fn moves() -> anyhow::Result<()> {
    let hosts = vec![Host::start("server-1", 1)?, Host::start("agent-1", 11)?, Host::start("agent-2", 12)?];
    explained(hosts, |hosts| {
        hosts[0].launch("server --node-taint node-role.kubernetes.io/control-plane=:NoSchedule")?;
        let k = hosts[0].kubectl()?;
        wait_nodes(&k, &mut hosts[..1], 1)?;
        let join =
            format!("agent -s https://{}:6443 -t {} --node-label tier=work", hosts[0].address, hosts[0].token()?);
        hosts[1].launch(&format!("{join},disk=fast"))?;
        hosts[2].launch(&format!("{join} --node-taint special=yes:NoSchedule"))?;
        wait_nodes(&k, hosts, 3)?;
        step("flags label and taint", || labels_and_taints(&k))?;
        step("taints and cordon hold pods off", || held_off(&k))?;
        step("drain moves pods, and budgets hold", || drained(&k))?;
        step("a taint evicts", || evicted(&k))?;
        step("pods leave a silent node", || silent(&k, hosts))
    })
}

fn labels_and_taints(k: &Kubectl) -> anyhow::Result<()> {
    ensure!(k.run("get nodes -l tier=work,disk=fast -o name")?.trim() == "node/agent-1", "labels of agent-1");
    ensure!(k.run("get nodes -l tier=work -o name")?.lines().count() == 2, "labels of agents");
    let taints = |node: &str| k.run(&format!("get node {node} -o 'jsonpath={{.spec.taints[*].key}}'"));
    ensure!(taints("agent-2")?.contains("special"), "taints of agent-2: {}", taints("agent-2")?);
    ensure!(taints("server-1")?.contains("control-plane"), "taints of server-1: {}", taints("server-1")?);
    Ok(())
}

/// The nodes of the web pods that run and are not on their way out.
fn nodes(k: &Kubectl) -> anyhow::Result<Vec<String>> {
    let line = "get pods -l app=web -o 'jsonpath={range .items[*]}{.spec.nodeName} {.metadata.deletionTimestamp} {.status.containerStatuses[0].ready}{\"\\n\"}{end}'";
    let text = k.run(line)?;
    let running = text.lines().filter_map(|line| line.strip_suffix("  true"));
    Ok(running.map(str::to_owned).collect())
}

fn wait_nodes_of_pods(k: &Kubectl, wanted: &[&str]) -> anyhow::Result<()> {
    eventually(LIMIT, || {
        let mut nodes = nodes(k)?;
        nodes.sort();
        ensure!(nodes == wanted, "pods are on {nodes:?}, not {wanted:?}");
        Ok(())
    })
}

fn held_off(k: &Kubectl) -> anyhow::Result<()> {
    k.apply(WEB)?;
    wait_nodes_of_pods(k, &["agent-1", "agent-1"])?;
    k.run("cordon agent-1")?;
    k.run("scale deployment web --replicas=3")?;
    let line = "get pods -l app=web --field-selector status.phase=Pending -o 'jsonpath={.items[*].status.conditions[*].message}'";
    k.until(LIMIT, line, |why| why.contains("unschedulable") && why.contains("untolerated taint"))?;
    k.run("uncordon agent-1")?;
    wait_nodes_of_pods(k, &["agent-1", "agent-1", "agent-1"])?;
    k.run("scale deployment web --replicas=2")?;
    wait_nodes_of_pods(k, &["agent-1", "agent-1"])
}

/// While nothing else takes pods, the budget keeps one; once another node does, all move.
fn drained(k: &Kubectl) -> anyhow::Result<()> {
    let refused = k.refused("drain agent-1 --ignore-daemonsets --timeout=10s")?;
    ensure!(refused.contains("disruption budget"), "drain said {refused}");
    ensure!(nodes(k)? == ["agent-1"], "the budget did not hold: {:?}", nodes(k)?);
    k.run("taint node agent-2 special-")?;
    k.run("drain agent-1 --ignore-daemonsets --timeout=90s")?;
    wait_nodes_of_pods(k, &["agent-2", "agent-2"])?;
    k.run("uncordon agent-1").map(drop)
}

fn evicted(k: &Kubectl) -> anyhow::Result<()> {
    k.run("taint node agent-2 gone=yes:NoExecute")?;
    wait_nodes_of_pods(k, &["agent-1", "agent-1"])?;
    k.run("taint node agent-2 gone-").map(drop)
}

fn silent(k: &Kubectl, hosts: &mut [Host]) -> anyhow::Result<()> {
    hosts[1].power_off()?;
    k.until(LIMIT, "get node agent-1 -o 'jsonpath={.spec.taints[*].key}'", |keys| keys.contains("unreachable"))?;
    eventually(LIMIT, || {
        let moved = nodes(k)?.iter().filter(|node| *node == "agent-2").count();
        ensure!(moved == 2, "{moved} pods have moved");
        Ok(())
    })
}
