//! The life of the service on a host: it is restarted, and the host itself goes down and comes up.

use std::fs;
use std::time::Duration;

use anyhow::ensure;

use super::Host;
use super::scenarios::{explained, wait_nodes};
use super::together::{hosts, start, step};
use crate::host::repository;
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// What runs, with its starts, so that nothing can be exchanged unseen.
fn containers(k: &Kubectl) -> anyhow::Result<String> {
    k.run(
        "get pods -A --sort-by=.metadata.name -o 'jsonpath={range .items[*].status.containerStatuses[*]}\
         {.containerID} {.restartCount} {.state.running.startedAt}{\"\\n\"}{end}'",
    )
}

fn runtime(host: &Host) -> anyhow::Result<String> {
    host.run("cat /run/coracle/containerd/containerd.pid")
}

/// Servers and agents are restarted, in good order and not: pods go on, under the same containerd.
pub fn restarts() -> anyhow::Result<()> {
    explained(hosts(1, 1)?, |hosts| {
        step("nodes are Ready", || start(hosts, 1, ""))?;
        let k = hosts[0].kubectl()?;
        k.run("create deployment web --image=docker.io/coracle/web:v1 --replicas=6")?;
        k.run("wait --for=condition=Available deployment/web --timeout=90s")?;
        let before = containers(&k)?;
        ensure!(before.lines().count() == 6, "{before}");
        let runtimes = hosts.iter().map(runtime).collect::<anyhow::Result<Vec<_>>>()?;
        for killed in [false, true] {
            let what = if killed { "kill -9 leaves pods alone" } else { "a restart leaves pods alone" };
            step(what, || {
                for host in hosts.iter_mut() {
                    let launched = host.launched().to_owned();
                    if killed {
                        host.kill()?
                    } else {
                        host.terminate()?
                    }
                    host.launch(&launched)?;
                }
                for host in hosts.iter() {
                    heartbeat(&k, &host.name)?;
                }
                wait_nodes(&k, hosts, 2)?;
                let after = containers(&k)?;
                ensure!(after == before, "containers were\n{before}and are\n{after}");
                Ok(())
            })?;
        }
        let now = hosts.iter().map(runtime).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(now == runtimes, "containerd was {runtimes:?} and is {now:?}");
        // They are not only left alone: they are looked after.
        k.run("delete pod -l app=web --wait=false")?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        Ok(())
    })
}

/// Waits until the node has been heard of anew.
fn heartbeat(k: &Kubectl, node: &str) -> anyhow::Result<()> {
    let line = format!("-n kube-node-lease get lease {node} -o 'jsonpath={{.spec.renewTime}}'");
    let before = eventually(LIMIT, || k.run(&line))?;
    k.until(LIMIT, &line, |now| now != before).map(drop)
}

const ACCOUNTED: &str = "
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {word: open-sesame}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Pod
metadata: {name: accounted}
spec:
  nodeName: agent-1
  terminationGracePeriodSeconds: 0
  volumes:
  - {name: settings, configMap: {name: settings}}
  containers:
  - name: main
    image: docker.io/coracle/web:v1
    command:
    - sh
    - -c
    - >-
      cd /var/run/secrets/kubernetes.io/serviceaccount && test -s token && test -s ca.crt && test -s namespace
      && test -n \"$KUBERNETES_SERVICE_HOST\" && test $(cat /settings/colour) = blue && exec /web
    env:
    - {name: WORD, valueFrom: {secretKeyRef: {name: credentials, key: word}}}
    ports: [{containerPort: 8080, hostPort: 8081}]
    volumeMounts: [{name: settings, mountPath: /settings}]
";

/// The agent's host comes up when no server is there: its pods start out of what it has on disk.
pub fn an_agent_starts_alone() -> anyhow::Result<()> {
    explained(hosts(1, 1)?, |hosts| {
        step("nodes are Ready", || start(hosts, 1, ""))?;
        let k = hosts[0].kubectl()?;
        k.run("get serviceaccount default")?;
        k.apply(ACCOUNTED)?;
        k.run("wait --for=condition=Ready pod/accounted --timeout=60s")?;
        let ask = "curl -sSf -m 3 http://127.0.0.1:8081/env";
        let ask = ask.replace("127.0.0.1", &hosts[1].address);
        eventually(LIMIT, || hosts[1].run(&ask))?;
        // The answer that the pod runs is on its way to the agent's disk.
        hosts[0].power_off()?;
        hosts[1].power_off()?;
        reboot(&hosts[1])?;
        ensure!(hosts[1].run(&ask).is_err(), "it answers although nothing runs");
        let launched = hosts[1].launched().to_owned();
        hosts[1].launch(&launched)?;
        let env = step("the pod starts without servers", || eventually(LIMIT, || hosts[1].run(&ask)))?;
        ensure!(env.contains("WORD=open-sesame"), "{env}");
        let mode = hosts[1].run("stat -c %a /var/lib/coracle/agent/kubelet/checkpoints")?;
        ensure!(mode.trim() == "700", "checkpoints have the mode {mode}");

        let launched = hosts[0].launched().to_owned();
        hosts[0].launch(&launched)?;
        step("the server hears of it", || {
            wait_nodes(&k, hosts, 2)?;
            let line = "get pod accounted -o 'jsonpath={.status.phase} {.status.containerStatuses[0].ready}'";
            k.until(LIMIT, line, |text| text == "Running true").map(drop)
        })
    })
}

/// What a reboot clears: mounts, interfaces, rules and /run.
fn reboot(host: &Host) -> anyhow::Result<()> {
    host.run(&script("coracle-killall")).map(drop)
}

fn script(name: &str) -> String {
    let folder = fs::canonicalize(repository().join("hack/service")).unwrap_or_default();
    folder.join(name).display().to_string()
}

const LAST_AND_FIRST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 30
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'trap \"sleep 2; exit 0\" TERM; while true; do sleep 0.2; done']
---
apiVersion: v1
kind: Pod
metadata: {name: critical}
spec:
  nodeName: NODE
  priorityClassName: system-node-critical
  containers:
  - name: main
    image: docker.io/coracle/busybox:test
    command: [sh, -c, 'trap \"exit 0\" TERM; while true; do sleep 0.2; done']
";

/// The hosts of an agent and of the server go down: pods end in order, and the cluster knows why.
pub fn the_machine_goes_down() -> anyhow::Result<()> {
    explained(hosts(1, 1)?, |hosts| {
        let graces = " --shutdown-grace-period=12s --shutdown-grace-period-critical-pods=4s";
        step("nodes are Ready", || {
            hosts[0].launch(&format!("server{graces}"))?;
            let k = hosts[0].kubectl()?;
            wait_nodes(&k, &mut hosts[..1], 1)?;
            let join = format!("agent -s https://{}:6443 -t {}", hosts[0].address, hosts[0].token()?);
            hosts[1].launch(&format!("{join}{graces}"))?;
            wait_nodes(&k, hosts, 2)
        })?;
        let k = hosts[0].kubectl()?;
        k.apply(&LAST_AND_FIRST.replace("NODE", "agent-1"))?;
        k.run("wait --for=condition=Ready pod/plain pod/critical --timeout=60s")?;
        say_stopping(&hosts[1])?;
        step("the agent's pods end", || hosts[1].terminate())?;
        ended_in_order(&k)?;
        let line = "get node agent-1 -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].message}'";
        let message = k.run(line)?;
        ensure!(message.contains("node is shutting down"), "the node says {message:?}");

        hosts[1].remove_stand_in("systemctl")?;
        let launched = hosts[1].launched().to_owned();
        hosts[1].launch(&launched)?;
        step("the node comes back", || {
            k.until(LIMIT, line, |message| !message.contains("shutting down"))?;
            wait_nodes(&k, hosts, 2)?;
            k.run("delete pod plain critical --now")?;
            k.apply(&LAST_AND_FIRST.replace("NODE", "agent-1"))?;
            k.run("wait --for=condition=Ready pod/plain pod/critical --timeout=60s").map(drop)
        })?;
        k.run("delete pod plain critical --now")?;

        k.apply(&LAST_AND_FIRST.replace("NODE", "server-1"))?;
        k.run("wait --for=condition=Ready pod/plain pod/critical --timeout=60s")?;
        say_stopping(&hosts[0])?;
        step("the server's pods end", || hosts[0].terminate())?;
        hosts[0].remove_stand_in("systemctl")?;
        let launched = hosts[0].launched().to_owned();
        hosts[0].launch(&launched)?;
        step("the server knows of it afterwards", || {
            eventually(LIMIT, || k.run("get --raw /readyz"))?;
            ended_in_order(&k)
        })
    })
}

/// Here is no systemd: a stand-in says that the machine stops.
fn say_stopping(host: &Host) -> anyhow::Result<()> {
    host.stand_in("systemctl", "#!/bin/sh\necho stopping\n")
}

fn ended_in_order(k: &Kubectl) -> anyhow::Result<()> {
    let field = |pod: &str, path: &str| k.run(&format!("get pod {pod} -o 'jsonpath={{{path}}}'"));
    for pod in ["plain", "critical"] {
        let status = field(pod, ".status.phase} {.status.reason} {.status.message")?;
        let want = "Failed Terminated Pod was terminated in response to imminent node shutdown.";
        ensure!(status == want, "{pod}: {status:?}");
    }
    let finished = |pod: &str| field(pod, ".status.containerStatuses[0].state.terminated.finishedAt");
    let (plain, critical) = (finished("plain")?, finished("critical")?);
    ensure!(!plain.is_empty() && plain <= critical, "plain ended at {plain:?}, critical at {critical:?}");
    Ok(())
}
