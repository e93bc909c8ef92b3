//! Hosts that lose their power while the rest goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::Host;
use super::scenarios::{explained, wait_nodes};
use super::together::{hosts, start, step};
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// How soon the servers that are left take writes again, and their loops are at work. Generous: the machine is shared by
/// all hosts and the load, and the build is not optimized.
const WRITES_LIMIT: Duration = Duration::from_secs(5);
const LOOPS_LIMIT: Duration = Duration::from_secs(20);

/// The first of three servers, which leads the store and the loops, loses its power and gets it back.
pub fn a_server() -> anyhow::Result<()> {
    explained(hosts(3, 1)?, |hosts| {
        step("nodes are Ready", || start(hosts, 3, ""))?;
        let (first, k) = (hosts[0].kubectl()?, hosts[1].kubectl()?);
        k.run("create deployment web --image=docker.io/coracle/web:v1 --replicas=4")?;
        k.run("expose deployment web --port=80 --target-port=8080")?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        first.run("create configmap before")?;
        let restarts = containers(&k, "agent-1")?;

        hosts[0].power_off()?;
        step("writes go on", || writes_go_on(&k))?;
        step("loops go on", || loops_go_on(&k))?;
        k.run("get configmap before")?;
        agent_goes_on(&k, &hosts[3])?;
        ensure!(containers(&k, "agent-1")? == restarts, "containers of an agent were touched");

        let again = hosts[0].launched().to_owned();
        hosts[0].launch(&again)?;
        step("the server is back", || {
            eventually(LIMIT, || first.run("get configmap after"))?;
            let count = hosts.len();
            wait_nodes(&first, hosts, count)
        })
    })
}

/// One pod on the agent.
pub const ALONE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeName: agent-1
      containers:
      - {name: main, image: 'docker.io/coracle/web:v1'}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
";

/// The only server loses its power: what runs on the agent goes on, is started again when it ends, and finds others by name.
pub fn every_server() -> anyhow::Result<()> {
    explained(hosts(1, 1)?, |hosts| {
        step("nodes are Ready", || start(hosts, 1, ""))?;
        let k = hosts[0].kubectl()?;
        k.apply(ALONE)?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        let pod = k.run("get pods -l app=web -o 'jsonpath={.items[0].status.podIP}'")?;
        let own_name = format!("http://{pod}:8080/get?http://web.default.svc.cluster.local/hostname");
        let name = eventually(LIMIT, || hosts[1].run(&format!("curl -sSf -m 3 {own_name}")))?;

        hosts[0].power_off()?;
        let again = hosts[1].run(&format!("curl -sSf -m 3 {own_name}"))?;
        ensure!(again == name, "{again:?} answers, not {name:?}");
        // The answer may be lost with the process.
        let _ = hosts[1].run(&format!("curl -sS -m 3 http://{pod}:8080/exit/3"));
        step("its container is started again", || {
            eventually(LIMIT, || hosts[1].run(&format!("curl -sSf -m 3 {own_name}"))).map(drop)
        })?;

        let launched = hosts[0].launched().to_owned();
        hosts[0].launch(&launched)?;
        step("the server hears of it", || {
            let line = "get pods -l app=web -o 'jsonpath={.items[*].status.containerStatuses[*].restartCount}'";
            eventually(LIMIT, || {
                let restarts = k.run(line)?;
                ensure!(restarts == "1", "restarts are {restarts:?}");
                Ok(())
            })?;
            wait_nodes(&k, hosts, 2)
        })
    })
}

fn writes_go_on(k: &Kubectl) -> anyhow::Result<()> {
    eventually(WRITES_LIMIT, || k.run("--request-timeout=2s create configmap after")).map(drop)
}

/// A new Deployment gets its pods: controllers and the scheduler work on another server.
fn loops_go_on(k: &Kubectl) -> anyhow::Result<()> {
    k.run("create deployment new --image=docker.io/coracle/web:v1 --replicas=3")?;
    let line = "get pods -l app=new -o 'jsonpath={.items[*].spec.nodeName}'";
    k.until(LOOPS_LIMIT, line, |nodes| nodes.split_whitespace().count() == 3).map(drop)
}

/// The agent's pods answer, and it is heard of by way of the servers that are left.
fn agent_goes_on(k: &Kubectl, agent: &Host) -> anyhow::Result<()> {
    let address = k.run("get service web -o 'jsonpath={.spec.clusterIP}'")?;
    // Endpoints on the dead host stay until it is known to be dead; the others answer.
    eventually(LIMIT, || agent.run(&format!("curl -sS -m 1 http://{address}/hostname")))?;
    let line = format!("-n kube-node-lease get lease {} -o 'jsonpath={{.spec.renewTime}}'", agent.name);
    let (before, begun) = (k.run(&line)?, Instant::now());
    k.until(LIMIT, &line, |now| now != before).context("the agent's heartbeat")?;
    println!("  the agent's heartbeat: {:.1} s", begun.elapsed().as_secs_f64());
    let pod = k.run(&format!(
        "get pods -A --field-selector spec.nodeName={} -o 'jsonpath={{.items[0].metadata.name}}'",
        agent.name
    ))?;
    ensure!(k.run(&format!("exec {pod} -- hostname"))?.trim() == pod, "exec on the agent");
    Ok(())
}

/// What runs on a node: containers with their starts, so that none can be exchanged unseen.
pub fn containers(k: &Kubectl, node: &str) -> anyhow::Result<String> {
    k.run(&format!(
        "get pods -l app=web --field-selector spec.nodeName={node} \
         -o 'jsonpath={{range .items[*].status.containerStatuses[*]}}{{.containerID}} {{.restartCount}} {{end}}'"
    ))
}
