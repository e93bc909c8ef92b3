//! Who gets in and who does not: every refusal is one clear line, and leaves cluster and host as they were.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::Host;
use super::scenarios::{explained, wait_nodes};
use super::together::step;
use crate::cluster::binary;
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// No way leads there.
const NOWHERE: &str = "https://203.0.113.1:6443";

pub fn refusals_and_tokens() -> anyhow::Result<()> {
    let hosts = vec![Host::start("server-1", 1)?, Host::start("agent-1", 11)?, Host::start("stranger", 12)?];
    explained(hosts, |hosts| {
        hosts[0].launch("server")?;
        let k = hosts[0].kubectl()?;
        wait_nodes(&k, &mut hosts[..1], 1)?;
        let url = format!("https://{}:6443", hosts[0].address);
        step("bad joins are refused", || bad_joins(hosts, &k, &url))?;
        step("a short-lived token lets an agent in", || token_life(hosts, &k, &url))?;
        step("a name is its first owner's", || a_taken_name(hosts, &k, &url))?;
        step("the server token is replaced", || rotation(hosts, &k, &url))
    })
}

/// Runs `coracle <line>` to its end, which must be a failure with one line that contains all of `parts`.
pub fn refused(host: &Host, line: &str, parts: &[&str]) -> anyhow::Result<()> {
    refused_by(host, &[], &binary(), line, parts)
}

/// The same for another binary, and with more in its environment.
fn refused_by(
    host: &Host,
    environment: &[(&str, &Path)],
    program: &Path,
    line: &str,
    parts: &[&str],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut command = host.command(Path::new("timeout"));
    command.arg("30").arg("env");
    for (name, value) in environment {
        command.arg(format!("{name}={}", value.display()));
    }
    let output = command.arg(program).args(line.split(' ')).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(output.status.code() == Some(1) && errors.len() == 1, "{line} ended with {}: {text}", output.status);
    for part in parts {
        ensure!(errors[0].contains(part), "{line}: {} does not say {part:?}", errors[0]);
    }
    ensure!(begun.elapsed() < Duration::from_secs(15), "{line} took {:?}", begun.elapsed());
    Ok(())
}

fn bad_joins(hosts: &[Host], k: &Kubectl, url: &str) -> anyhow::Result<()> {
    let (token, stranger) = (hosts[0].token()?, &hosts[2]);
    let other = format!("K10{}::server:abc", "0".repeat(64));
    let elsewhere = format!("https://{}:6444", hosts[0].address);
    let agent_only = hosts[0].coracle("token create --ttl 10m")?;
    let before = state(&hosts[0], k)?;
    let cases: &[(String, &[&str])] = &[
        (format!("agent -s {url}"), &["--token", "coracle token create"]),
        (format!("agent -s {url} -t abcdef.0123456789abcdef"), &["--token", "does not know it"]),
        (format!("agent -s {url} -t {other}"), &["--token", "another cluster"]),
        (format!("agent -s {elsewhere} -t {token}"), &[&elsewhere, "no server answers there"]),
        (format!("agent -s http://x -t {token}"), &["--server http://x", "https://"]),
        (format!("server -s {url} -t {agent_only}"), &["--token", "server/token"]),
        (format!("server -s {url} -t {other}"), &["--token", "another cluster"]),
        (
            format!("server -s {url} -t {token} --cluster-cidr=10.52.0.0/16 --cluster-domain=a.b"),
            &["--cluster-cidr is 10.52.0.0/16, the cluster has 10.42.0.0/16", "--cluster-domain is a.b"],
        ),
        (format!("server -s {url} -t {token} --agent-token other"), &["--agent-token", "the cluster has none"]),
        (
            format!("agent -s {url} -t {token} --flannel-backend host-gw"),
            &["--flannel-backend is host-gw", "has vxlan"],
        ),
        (format!("server -s {url} -t {token} --node-name server-1"), &["server-1", "name"]),
        (format!("agent -s {NOWHERE} -t {token}"), &[NOWHERE, "no server answers there", "firewall"]),
        (format!("server -s {NOWHERE} -t {token}"), &[NOWHERE, "no server answers there", "firewall"]),
        (
            format!("server -s {url} -t {token} --node-ip 172.30.8.99"),
            &["cannot be reached at 172.30.8.99:2380", "--peer-port", "--node-ip"],
        ),
    ];
    for (line, parts) in cases {
        refused(stranger, line, parts)?;
    }
    wrong_clocks(stranger, url, &token)?;
    wrong_versions(stranger, url, &token)?;
    full_disks(stranger, url, &token)?;
    let after = state(&hosts[0], k)?;
    ensure!(after == before, "refused joins left traces: {before}\n→ {after}");
    ensure!(stranger.run("ls /var/lib/coracle")?.split_whitespace().eq(["agent"]), "a refused join left something");
    ensure!(k.run("get nodes -o name")?.lines().count() == 1, "a refused join left a node");
    Ok(())
}

/// Members and objects with their revisions, but for what moves by itself.
fn state(server: &Host, k: &Kubectl) -> anyhow::Result<String> {
    let columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name,R:.metadata.resourceVersion";
    let kinds = "secrets,configmaps,serviceaccounts,endpointslices,certificatesigningrequests,clusterrolebindings";
    let objects = k.run(&format!("get {kinds} -A --no-headers -o {columns}"))?;
    Ok(server.coracle("status")? + &k.run("get nodes -o name")? + &objects)
}

/// An hour before and behind, by a stand-in for the C library's clock.
fn wrong_clocks(stranger: &Host, url: &str, token: &str) -> anyhow::Result<()> {
    let library = binary().with_file_name("libpreload.so");
    ensure!(library.exists(), "{} is missing: cargo build -p preload", library.display());
    let faults = crate::host::work_dir().join("clock");
    for (hours, agent) in [(1, "3600 s ahead of the server's; set it"), (-1, "set the clock")] {
        let nanos: i64 = hours * 3600 * 1_000_000_000;
        std::fs::write(&faults, [&nanos.to_ne_bytes()[..], &[0; 16]].concat())?;
        let environment = [("LD_PRELOAD", library.as_path()), ("CORACLE_FAULTS", faults.as_path())];
        let server = if hours > 0 { "the clocks of the two servers differ by" } else { "set the clock" };
        for (role, part) in [("agent", agent), ("server", server)] {
            let line = format!("{role} -s {url} -t {token}");
            refused_by(stranger, &environment, &binary(), &line, &[part, "timedatectl"])?;
        }
    }
    Ok(())
}

/// Binaries of other releases: ours, with another version written into them.
fn wrong_versions(stranger: &Host, url: &str, token: &str) -> anyhow::Result<()> {
    let other = crate::host::work_dir().join("coracle");
    for (version, role) in [("v1.39.0", "agent"), ("v1.33.0", "agent"), ("v1.39.0", "server"), ("v1.35.0", "server")] {
        std::fs::copy(binary(), &other)?;
        // Of the same length, so that nothing else moves.
        crate::host::shell(&format!("env LC_ALL=C sed -i s/v1[.]37[.]0/{version}/g {}", other.display()))?;
        let line = format!("{role} -s {url} -t {token}");
        refused_by(stranger, &[], &other, &line, &[&format!("of Kubernetes {version}"), "install one that fits"])?;
    }
    Ok(std::fs::remove_file(&other)?)
}

fn full_disks(stranger: &Host, url: &str, token: &str) -> anyhow::Result<()> {
    stranger.run("mkdir -p /run/small")?;
    stranger.run("mount -t tmpfs -o size=4m small /run/small")?;
    for role in ["agent", "server"] {
        let line = format!("{role} -s {url} -t {token} --data-dir /run/small/data");
        refused(stranger, &line, &["--data-dir /run/small/data: 4 MiB are free there", "make room"])?;
    }
    ensure!(stranger.run("ls -A /run/small")?.is_empty(), "a refused join left something on the full disk");
    stranger.run("umount /run/small").map(drop)
}

fn token_life(hosts: &mut [Host], k: &Kubectl, url: &str) -> anyhow::Result<()> {
    let token = hosts[0].coracle("token create --ttl 10m --description lab")?;
    let listed = hosts[0].coracle("token list")?;
    let id = token.rsplit("::").next().and_then(|rest| rest.split('.').next()).context("a token has an id")?.to_owned();
    ensure!(listed.lines().any(|line| line.starts_with(&id) && line.contains("lab")), "{listed}");
    hosts[1].launch(&format!("agent --server {url} --token {token} --node-label disk=fast"))?;
    wait_nodes(k, &mut hosts[..2], 2)?;
    ensure!(k.run("get nodes -l disk=fast -o name")?.trim() == "node/agent-1", "the label is missing");
    hosts[0].coracle(&format!("token delete {id}"))?;
    refused(&hosts[2], &format!("agent -s {url} -t {token}"), &["--token", "does not know it"])
}

fn a_taken_name(hosts: &[Host], k: &Kubectl, url: &str) -> anyhow::Result<()> {
    let token = hosts[0].token()?;
    let join = format!("agent -s {url} -t {token} --node-name");
    for name in ["agent-1", "server-1"] {
        refused(&hosts[2], &format!("{join} {name}"), &["another machine is the node", "kubectl delete node"])?;
    }
    refused(&hosts[2], &format!("server -s {url} -t {token} --node-name agent-1"), &["that of an agent"])?;
    ensure!(k.run("get nodes -o name")?.lines().count() == 2, "a refused join left a node");
    Ok(())
}

/// The old token ends at once, the new one is good, and who has joined goes on.
fn rotation(hosts: &mut [Host], k: &Kubectl, url: &str) -> anyhow::Result<()> {
    let old = hosts[0].token()?;
    let new = hosts[0].coracle("token rotate")?;
    ensure!(hosts[0].token()? == new && new != old, "the file has another token than was printed");
    refused(&hosts[2], &format!("agent -s {url} -t {old}"), &["--token", "does not know it"])?;
    hosts[2].launch(&format!("agent -s {url} -t {new}"))?;
    wait_nodes(k, hosts, 3)
}

/// Servers come and go, and the rest takes note.
pub fn servers_leave_and_come_back() -> anyhow::Result<()> {
    let hosts = (1..=3).map(|number| Host::start(&format!("server-{number}"), number));
    explained(hosts.collect::<anyhow::Result<_>>()?, |hosts| {
        let k = step("a single server grows", || grow(hosts))?;
        let slices = "get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[0]}'";
        k.until(LIMIT, slices, |text| text.split(' ').count() == 3)?;
        step("a removed server comes back", || {
            hosts[0].coracle("server remove server-3")?;
            wait_members(&hosts[0], 2)?;
            eventually(LIMIT, || {
                ensure!(hosts[2].check_alive().is_err(), "the removed server goes on");
                Ok(())
            })?;
            hosts[2].kill()?;
            let again = hosts[2].launched().to_owned();
            refused(&hosts[2], &again, &["this server was removed", "--resync"])?;
            hosts[2].launch(&format!("{again} --resync"))?;
            wait_members(&hosts[0], 3)
        })?;
        step("who is missing is named", || {
            hosts[1].power_off()?;
            hosts[2].power_off()?;
            eventually(LIMIT, || {
                let output = hosts[0].command(&binary()).args(["status"]).output()?;
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(!output.status.success(), "status finds nothing wrong");
                ensure!(why.contains("server-2") && why.contains("server-3"), "status says {why:?}");
                Ok(())
            })?;
            let ready = hosts[0].run("curl -sk -m 9 https://127.0.0.1:6443/readyz")?;
            ensure!(ready.contains("do not answer: server-2, server-3"), "readyz says {ready:?}");
            Ok(())
        })
    })
}

/// A server without a node reaches nodes and pods all the same; one with a node is removed by way of it.
pub fn servers_without_nodes() -> anyhow::Result<()> {
    let hosts = vec![Host::start("server-1", 1)?, Host::start("server-2", 2)?, Host::start("agent-1", 11)?];
    explained(hosts, |hosts| {
        hosts[0].launch("server --disable-agent")?;
        let k = hosts[0].kubectl()?;
        let join = format!("-s https://{}:6443 -t {}", hosts[0].address, hosts[0].token()?);
        hosts[2].launch(&format!("agent {join}"))?;
        wait_nodes(&k, hosts, 1)?;
        step("pods are reached through their node", || proxied(&k))?;
        hosts[1].launch(&format!("server {join}"))?;
        wait_members(&hosts[0], 2)?;
        wait_nodes(&k, hosts, 2)?;
        step("kubectl delete node removes a server", || {
            k.run("delete node server-2")?;
            eventually(LIMIT, || {
                let members = hosts[0].coracle("status")?;
                ensure!(!members.contains("server-2") && members.contains("leader"), "{members}");
                Ok(())
            })?;
            eventually(LIMIT, || {
                ensure!(hosts[1].check_alive().is_err(), "the removed server goes on");
                Ok(())
            })?;
            ensure!(hosts[1].log_tail(5).contains("was removed from its cluster"), "{}", hosts[1].log_tail(5));
            k.run("create configmap written-by-the-rest").map(drop)
        })
    })
}

fn proxied(k: &Kubectl) -> anyhow::Result<()> {
    k.run("create deployment web --image=docker.io/coracle/web:v1 --port=8080")?;
    k.run("expose deployment web --port=80 --target-port=8080")?;
    k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
    let pod = k.run("get pods -l app=web -o 'jsonpath={.items[0].metadata.name}'")?;
    for path in [
        format!("namespaces/default/pods/{pod}:8080/proxy/hostname"),
        "namespaces/default/services/web/proxy/hostname".to_owned(),
    ] {
        let answer = eventually(LIMIT, || k.run(&format!("get --raw /api/v1/{path}")))?;
        ensure!(answer.trim() == pod, "{path} answers {answer:?}");
    }
    let bytes = k.run(&format!("get --raw /api/v1/namespaces/default/pods/{pod}:8080/proxy/bytes/300000"))?;
    ensure!(bytes.len() == 300_000, "{} bytes came through", bytes.len());
    let healthy = k.run("get --raw /api/v1/nodes/agent-1/proxy/healthz")?;
    ensure!(healthy == "ok", "the kubelet answers {healthy:?}");
    ensure!(k.run(&format!("exec {pod} -- hostname"))?.trim() == pod, "exec");
    k.run(&format!("logs {pod}"))?;
    // Through a node its own pods are reached, and nothing else.
    let refused = k.refused(&format!("get --raw /api/v1/namespaces/default/pods/{pod}:1/proxy/"))?;
    ensure!(refused.contains("refused"), "a closed port: {refused}");
    Ok(())
}

/// Makes a cluster of servers without nodes, one after the other.
pub fn grow(hosts: &mut [Host]) -> anyhow::Result<Kubectl> {
    hosts[0].launch("server --disable-agent")?;
    // It has one when it lets others in.
    let k = hosts[0].kubectl()?;
    let join = format!("server --disable-agent -s https://{}:6443 -t {}", hosts[0].address, hosts[0].token()?);
    for number in 1..hosts.len() {
        hosts[number].launch(&join)?;
        wait_members(&hosts[0], number + 1)?;
    }
    Ok(k)
}

/// Waits until so many servers vote and answer.
pub fn wait_members(host: &Host, count: usize) -> anyhow::Result<()> {
    eventually(LIMIT, || {
        let status = host.coracle("status")?;
        let ready = status.lines().filter(|line| line.ends_with("ready") && !line.contains("learner")).count();
        ensure!(ready == count, "{ready} servers are ready: {status}");
        Ok(())
    })
}
