//! One cluster of several hosts, started by the commands of the README: spread, network, names and streams across nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::Host;
use super::scenarios::{explained, wait_nodes};
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: 'docker.io/coracle/web:v1'}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: only}
  ports: [{port: 80, targetPort: 8080, nodePort: 30081}]
";

/// A pod of the Deployment.
struct Pod {
    name: String,
    node: String,
    address: String,
}

pub fn three_servers_two_agents() -> anyhow::Result<()> {
    together(3, 2, "")
}

pub fn one_server_two_agents() -> anyhow::Result<()> {
    together(1, 2, "")
}

pub fn one_server_two_agents_by_host_gateway() -> anyhow::Result<()> {
    together(1, 2, " --flannel-backend=host-gw")
}

/// The hosts of a cluster, the servers first.
pub fn hosts(servers: u8, agents: u8) -> anyhow::Result<Vec<Host>> {
    let servers = (1..=servers).map(|number| Host::start(&format!("server-{number}"), number));
    servers.chain((1..=agents).map(|number| Host::start(&format!("agent-{number}"), 10 + number))).collect()
}

/// So many servers and agents; servers get `extra` flags, which agents learn from them.
fn together(servers: u8, agents: u8, extra: &str) -> anyhow::Result<()> {
    explained(hosts(servers, agents)?, |hosts| {
        let servers = usize::from(servers);
        step("nodes are Ready", || start(hosts, servers, extra))?;
        let kubectls = hosts[..servers].iter().map(Host::kubectl).collect::<anyhow::Result<Vec<_>>>()?;
        let k = &kubectls[0];
        let pods = step("pods are spread", || spread(k, hosts))?;
        step("pods reach each other", || pods_reach_each_other(hosts, &pods))?;
        step("Services are reached", || services_are_reached(k, hosts, &pods))?;
        step("local traffic stays", || local_traffic_stays(k, hosts))?;
        step("names resolve", || names_resolve(k, &pods))?;
        for (k, server) in kubectls.iter().zip(&*hosts) {
            step(&format!("streams by {}", server.name), || streams_work(k, &pods))?;
        }
        step("a restart changes nothing", || restart_changes_nothing(hosts, &pods))?;
        step("a node leaves", || a_node_leaves(k, hosts))
    })
}

/// Says what was reached, and after how long.
pub fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let begun = Instant::now();
    let outcome = work().with_context(|| what.to_owned());
    println!("  {what}: {:.1} s", begun.elapsed().as_secs_f64());
    outcome
}

pub fn start(hosts: &mut [Host], servers: usize, extra: &str) -> anyhow::Result<()> {
    let first = if servers > 1 { "server --cluster-init" } else { "server" };
    hosts[0].launch(&format!("{first}{extra}"))?;
    let k = hosts[0].kubectl()?;
    wait_nodes(&k, &mut hosts[..1], 1)?;
    let join = format!("--server https://{}:6443 --token {}", hosts[0].address, hosts[0].token()?);
    // One server after the other, as a person would; agents all at once.
    for number in 1..servers {
        hosts[number].launch(&format!("server {join}{extra}"))?;
        wait_nodes(&k, &mut hosts[..=number], number + 1)?;
    }
    for host in &mut hosts[servers..] {
        host.launch(&format!("agent {join}"))?;
    }
    let count = hosts.len();
    wait_nodes(&k, hosts, count)
}

/// Six pods, on every node at least one.
fn spread(k: &Kubectl, hosts: &[Host]) -> anyhow::Result<Vec<Pod>> {
    k.apply(WEB)?;
    k.run("wait --for=condition=Available deployment/web --timeout=90s")?;
    let line = "get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{\"\\n\"}{end}'";
    let text = k.until(LIMIT, line, |text| text.lines().count() == 6)?;
    let pods: Vec<Pod> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Pod { name: words.next()?, node: words.next()?, address: words.next()? })
        })
        .collect();
    let used: BTreeSet<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    ensure!(used.len() == hosts.len(), "6 pods on {} nodes are on {used:?}", hosts.len());
    Ok(pods)
}

fn get(host: &Host, url: &str) -> anyhow::Result<String> {
    Ok(host.run(&format!("curl -sS -m 5 {url}"))?.trim().to_owned())
}

/// Who a pod says to have asked it: an address of IPv4, however it is written, without the port.
fn asker(host: &Host, url: &str) -> anyhow::Result<String> {
    let answer = get(host, url)?;
    let address = answer.rsplit_once(':').map_or(answer.as_str(), |(address, _)| address);
    Ok(address.trim_matches(['[', ']']).trim_start_matches("::ffff:").to_owned())
}

/// From every node one pod to every pod: the address stays, whatever the node. And packets of every size fit.
fn pods_reach_each_other(hosts: &[Host], pods: &[Pod]) -> anyhow::Result<()> {
    let one_a_node: BTreeMap<&str, &Pod> = pods.iter().map(|pod| (pod.node.as_str(), pod)).collect();
    for host in hosts {
        let from = one_a_node.get(host.name.as_str()).context("a pod on each node")?;
        for to in pods {
            let ask = format!("http://{}:8080/get?http://{}:8080/client", from.address, to.address);
            let seen = eventually(LIMIT, || asker(host, &ask))?;
            ensure!(seen == from.address, "{} on {} sees {} as {seen:?}", to.name, to.node, from.address);
            let bytes =
                get(host, &format!("-o /dev/null -w %{{size_download}} http://{}:8080/bytes/300000", to.address))?;
            ensure!(bytes == "300000", "{} gets {bytes} bytes of {} on {}", host.name, to.name, to.node);
        }
    }
    Ok(())
}

/// The ClusterIP and the node port of every node lead to every pod, from every node.
fn services_are_reached(k: &Kubectl, hosts: &[Host], pods: &[Pod]) -> anyhow::Result<()> {
    let cluster_ip = k.run("get service web -o 'jsonpath={.spec.clusterIP}'")?;
    let all: BTreeSet<String> = pods.iter().map(|pod| pod.name.clone()).collect();
    let addresses = hosts.iter().map(|host| format!("{}:30080", host.address)).chain([format!("{cluster_ip}:80")]);
    let addresses: Vec<String> = addresses.collect();
    for host in hosts {
        for address in &addresses {
            let url = format!("http://{address}/hostname");
            let mut seen = BTreeSet::from([eventually(LIMIT, || get(host, &url))?]);
            // Each is chosen at random: a hundred questions miss one of six about once in ten million.
            for _ in 0..100 {
                if seen.len() < all.len() {
                    seen.insert(get(host, &url)?);
                }
            }
            ensure!(seen == all, "{} at {address} has seen only {seen:?}", host.name);
        }
    }
    Ok(())
}

/// With `externalTrafficPolicy: Local` only the pod's own node answers, and the pod sees who asks.
fn local_traffic_stays(k: &Kubectl, hosts: &[Host]) -> anyhow::Result<()> {
    let (here, there) = (&hosts[hosts.len() - 1], &hosts[hosts.len() - 2]);
    let node = format!(r#"{{"spec":{{"nodeName":"{}","terminationGracePeriodSeconds":0}}}}"#, here.name);
    k.run(&format!("run only --image=docker.io/coracle/web:v1 --labels=app=only --overrides='{node}'"))?;
    k.run("wait --for=condition=Ready pod/only --timeout=60s")?;
    let seen = eventually(LIMIT, || asker(there, &format!("http://{}:30081/client", here.address)))?;
    ensure!(seen == there.address, "the pod sees {seen:?}, not {}", there.address);
    let refused = here.run(&format!("curl -sS -m 1 http://{}:30081/client", there.address));
    ensure!(refused.is_err(), "a node without the pod answered: {refused:?}");
    k.run("delete pod only --now")?;
    Ok(())
}

fn names_resolve(k: &Kubectl, pods: &[Pod]) -> anyhow::Result<()> {
    for pod in pods {
        let line = format!("exec {} -- /web get http://web.default.svc.cluster.local/hostname", pod.name);
        k.until(LIMIT, &line, |text| text.contains("web-"))?;
        let line = format!("exec {} -- /web get http://local.default/", pod.name);
        // Without endpoints a connection is refused; that needs the name all the same.
        eventually(LIMIT, || {
            let refused = k.refused(&line)?;
            ensure!(refused.contains("refused"), "{} asked for a Service without endpoints: {refused}", pod.name);
            Ok(())
        })?;
    }
    Ok(())
}

/// Logs, exec and port-forward of every pod.
fn streams_work(k: &Kubectl, pods: &[Pod]) -> anyhow::Result<()> {
    for pod in pods {
        let name = &pod.name;
        k.run(&format!("logs {name}"))?;
        let answer = k.run(&format!("exec {name} -- hostname"))?;
        ensure!(answer.trim() == name, "exec in {name} on {} answers {answer:?}", pod.node);
        let proxied = k.run(&format!("get --raw /api/v1/namespaces/default/pods/{name}:8080/proxy/hostname"))?;
        ensure!(proxied.trim() == name, "the proxy of {name} answers {proxied:?}");
    }
    let mut forward = k.command(&format!("port-forward pod/{} 18080:8080", pods[0].name));
    let mut forward = forward.stdout(Stdio::null()).spawn()?;
    let answer = eventually(LIMIT, || crate::host::shell("curl -sS -m 3 http://127.0.0.1:18080/hostname"));
    forward.kill()?;
    forward.wait()?;
    ensure!(answer?.trim() == pods[0].name, "port-forward leads elsewhere");
    Ok(())
}

/// The node's process may come and go: what leads to other nodes stays as it is, without a change.
fn restart_changes_nothing(hosts: &mut [Host], pods: &[Pod]) -> anyhow::Result<()> {
    let Some(number) = hosts.len().checked_sub(1) else { return Ok(()) };
    let state = |host: &Host| -> anyhow::Result<String> {
        let routes = host.run("ip route show proto 67")?;
        Ok(routes + &host.run("ip -d link show type vxlan")?)
    };
    let before = state(&hosts[number])?;
    let launched = hosts[number].launched().to_owned();
    hosts[number].kill()?;
    let far = pods.iter().find(|pod| pod.node != hosts[number].name).context("a pod elsewhere")?;
    get(&hosts[number], &format!("http://{}:8080/hostname", far.address)).context("without the node's process")?;
    hosts[number].launch(&launched)?;
    eventually(LIMIT, || get(&hosts[number], "-k https://127.0.0.1:10250/healthz -o /dev/null -w %{http_code}"))?;
    ensure!(state(&hosts[number])? == before, "the restart changed: {before} → {}", state(&hosts[number])?);
    Ok(())
}

/// A node that is gone is forgotten by all others.
fn a_node_leaves(k: &Kubectl, hosts: &mut [Host]) -> anyhow::Result<()> {
    let Some((gone, rest)) = hosts.split_last_mut() else { return Ok(()) };
    let range = k.run(&format!("get node {} -o 'jsonpath={{.spec.podCIDR}}'", gone.name))?;
    let leads_there = |host: &Host| -> anyhow::Result<bool> { Ok(host.run("ip route show")?.contains(&range)) };
    ensure!(!range.is_empty() && leads_there(&rest[0])?, "no route to {range}");
    gone.power_off()?;
    k.run(&format!("delete node {}", gone.name))?;
    for host in rest {
        eventually(LIMIT, || {
            ensure!(!leads_there(host)?, "{} still leads to {range}", host.name);
            Ok(())
        })?;
        let forwarding = host.command(Path::new("bridge")).args(["fdb", "show", "dev", "coracle.1"]).output()?;
        ensure!(!String::from_utf8_lossy(&forwarding.stdout).contains(&gone.address), "{} remembers it", host.name);
    }
    Ok(())
}
