//! Backups: saved, restored where and as often as one likes, and what is done where none is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Host;
use super::joining::{grow, refused, wait_members};
use super::losses::{ALONE, containers};
use super::scenarios::{explained, wait_nodes};
use super::together::{hosts, start, step};
use crate::host;
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// Often enough for a test.
const SCHEDULE: &str = "snapshot-schedule-cron: '@every 2s'\nsnapshot-retention: 2\n";

/// A cluster is restored on its host, once more, and on another host with another address.
pub fn restored() -> anyhow::Result<()> {
    let hosts = vec![Host::start("server-1", 1)?, Host::start("spare", 2)?];
    explained(hosts, |hosts| {
        fs::write(hosts[0].dir.join("etc/config.yaml"), SCHEDULE)?;
        hosts[0].launch("server")?;
        let k = hosts[0].kubectl()?;
        wait_nodes(&k, &mut hosts[..1], 1)?;
        k.run("create deployment web --image=docker.io/coracle/web:v1 --replicas=2")?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        k.run("create configmap before")?;
        step("snapshots come by themselves, and the oldest go", || scheduled(&hosts[0]))?;
        step("a failure is told, and the server goes on", || failing(&hosts[0], &k))?;
        let file = step("a snapshot is saved", || saved(&hosts[0]))?;
        k.run("create configmap after")?;
        step("while a server runs, nothing is restored", || {
            refused(&hosts[0], &format!("snapshot restore {file}"), &["in use by process"])
        })?;
        let pods = containers(&k, "server-1")?;
        hosts[0].terminate()?;
        step("a damaged snapshot is refused", || damaged(&hosts[0], &file))?;
        for time in ["once", "twice"] {
            step(&format!("restored {time} on the same host"), || same_host(&mut hosts[0], &k, &file))?;
            eventually(LIMIT, || {
                ensure!(containers(&k, "server-1")? == pods, "containers were touched");
                Ok(())
            })?;
        }
        hosts[0].power_off()?;
        step("restored on another host", || other_host(hosts, &file))
    })
}

/// Only so many of the schedule's are kept.
fn scheduled(host: &Host) -> anyhow::Result<()> {
    let of_schedule = || -> anyhow::Result<Vec<String>> {
        let all: Value = serde_json::from_str(&host.coracle("snapshot ls -o json")?)?;
        let names = all.as_array().context("a list")?.iter().filter_map(|row| row["name"].as_str());
        Ok(names.filter(|name| name.starts_with("snapshot-server-1-")).map(str::to_owned).collect())
    };
    let first = eventually(LIMIT, || of_schedule()?.first().cloned().context("none yet"))?;
    eventually(LIMIT, || {
        let names = of_schedule()?;
        ensure!(names.len() == 2 && !names.contains(&first), "there are {names:?}");
        Ok(())
    })
}

/// With a file where the folder is to be.
fn failing(host: &Host, k: &Kubectl) -> anyhow::Result<()> {
    host.run("mv /var/lib/coracle/snapshots /var/lib/coracle/kept")?;
    host.run("touch /var/lib/coracle/snapshots")?;
    refused(host, "snapshot save", &["/var/lib/coracle/snapshots"])?;
    let events = "get events --field-selector reason=SnapshotFailed,involvedObject.kind=Node -o name";
    k.until(LIMIT, events, |names| !names.trim().is_empty())?;
    let metrics = k.run("get --raw /metrics")?;
    ensure!(!metrics.contains("coracle_snapshot_saves_total{outcome=\"failed\"} 0"), "no failure is counted");
    host.run("rm /var/lib/coracle/snapshots")?;
    host.run("mv /var/lib/coracle/kept /var/lib/coracle/snapshots").map(drop)
}

/// The file of a snapshot that was asked for.
fn saved(host: &Host) -> anyhow::Result<String> {
    let said = host.coracle("snapshot save")?;
    let file = said.split(' ').next().unwrap_or_default().to_owned();
    let name = Path::new(&file).file_name().context("a file")?.to_string_lossy().into_owned();
    ensure!(name.starts_with("on-demand-server-1-"), "{said}");
    let listed = host.coracle("snapshot ls")?;
    ensure!(listed.lines().any(|line| line.starts_with(&name)), "{listed}");
    ensure!(host.run(&format!("stat -c %a {file}"))?.trim() == "600", "others can read it");
    let extra = host.coracle("snapshot save --name extra")?;
    let extra = extra.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    host.coracle("snapshot save --name extra")?;
    let pruned = host.coracle("snapshot prune --name extra --snapshot-retention 1")?;
    ensure!(pruned.contains(&extra) && pruned.lines().count() == 1, "pruned {pruned:?}");
    refused(host, &format!("snapshot delete {extra}"), &["there is no snapshot", &extra])?;
    Ok(file)
}

/// Where a file of a host is from outside.
fn outside(host: &Host, file: &str) -> anyhow::Result<PathBuf> {
    let within = Path::new(file).strip_prefix("/var/lib/coracle").context("a file in the data folder")?;
    Ok(host.dir.join("data").join(within))
}

/// Refused with what is wrong, and nothing is changed.
fn damaged(host: &Host, file: &str) -> anyhow::Result<()> {
    let bytes = fs::read(outside(host, file)?)?;
    let server = host.dir.join("data/server");
    let state = || host.run("find /var/lib/coracle/server -type f -exec sha256sum {} +");
    let before = state()?;
    let mut other_version = bytes.clone();
    other_version[16] += 1;
    let mut cases = vec![
        ("it is damaged at byte", bytes[..bytes.len() / 2].to_vec()),
        ("it has format 2", other_version),
        ("it is no snapshot of Coracle", b"PK\x03\x04 of something else".to_vec()),
    ];
    for part in 1..8 {
        let mut flipped = bytes.clone();
        flipped[20 + (bytes.len() - 20) * part / 8] ^= 1;
        cases.push(("it is damaged at byte", flipped));
    }
    for (why, bytes) in cases {
        fs::write(host.dir.join("data/bad"), bytes)?;
        refused(host, "snapshot restore /var/lib/coracle/bad", &["/var/lib/coracle/bad", why])?;
        ensure!(state()? == before && server.exists(), "a refused restore changed something");
    }
    Ok(())
}

fn restore(host: &Host, file: &str) -> anyhow::Result<()> {
    let said = host.coracle(&format!("snapshot restore {file}"))?;
    said.lines().filter(|line| line.starts_with("Done")).for_each(|line| println!("    {line}"));
    Ok(())
}

fn same_host(host: &mut Host, k: &Kubectl, file: &str) -> anyhow::Result<()> {
    let again = host.launched().to_owned();
    // The second time it runs.
    host.terminate()?;
    restore(host, file)?;
    host.launch(&again)?;
    wait_nodes(k, std::slice::from_mut(host), 1)?;
    k.run("get configmap before")?;
    ensure!(k.run("get configmap after").is_err(), "what came after the snapshot is still there");
    let old = k.run("get --raw '/api/v1/configmaps?watch=1&resourceVersion=100000&timeoutSeconds=5'")?;
    ensure!(old.contains("\"code\":410"), "a watch of before goes on: {old}");
    k.run("create configmap after")?;
    // The pods' own credentials are good, and the loops are at work.
    k.run("wait --for=condition=Available deployment/web --timeout=60s").map(drop)
}

fn other_host(hosts: &mut [Host], file: &str) -> anyhow::Result<()> {
    let moved = hosts[1].dir.join("data/moved");
    fs::copy(outside(&hosts[0], file)?, &moved)?;
    let token = hosts[0].token()?;
    restore(&hosts[1], "/var/lib/coracle/moved")?;
    refused(&hosts[1], "server --cluster-domain a.b", &["settings differ", "--cluster-domain is a.b"])?;
    hosts[1].launch("server")?;
    let k = hosts[1].kubectl()?;
    let line = "get node spare -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'";
    k.until(LIMIT, line, |ready| ready == "True")?;
    k.run("get configmap before")?;
    ensure!(hosts[1].token()? == token, "it has another token");
    // Whoever trusted the old server trusts this one, at its new address.
    let old = fs::read_to_string(hosts[0].dir.join("etc/coracle.yaml"))?;
    let path = hosts[1].dir.join("old.yaml");
    fs::write(&path, old.replace("127.0.0.1", &hosts[1].address))?;
    Kubectl::new(&path).run("get configmap before")?;
    let endpoints = "get endpointslice kubernetes -o 'jsonpath={.endpoints[*].addresses[*]}'";
    k.until(LIMIT, endpoints, |addresses| addresses == hosts[1].address)?;
    // What ran on the node that is gone moves when that is given up.
    k.run("delete node server-1")?;
    k.run("delete pod -l app=web --force --grace-period=0")?;
    k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
    let nodes = "get pods -l app=web -o 'jsonpath={.items[*].spec.nodeName}'";
    k.until(LIMIT, nodes, |nodes| nodes == "spare spare").map(drop)
}

/// Of three servers two are lost; the third is revived, and the others come back to it.
pub fn reset() -> anyhow::Result<()> {
    explained(hosts(3, 1)?, |hosts| {
        step("nodes are Ready", || start(hosts, 3, ""))?;
        let k = hosts[2].kubectl()?;
        k.apply(ALONE)?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        hosts[0].kubectl()?.run("create configmap acknowledged")?;
        let pods = containers(&k, "agent-1")?;
        let token = hosts[0].token()?;
        hosts[0].power_off()?;
        hosts[1].power_off()?;
        ensure!(k.run("--request-timeout=5s create configmap refused").is_err(), "written without a majority");
        hosts[2].kill()?;

        step("the third is reset", || {
            let said = hosts[2].coracle("server --cluster-reset")?;
            said.lines().filter(|line| line.starts_with("Done")).for_each(|line| println!("    {line}"));
            ensure!(said.contains("server-1, server-2") && said.contains("--resync"), "{said}");
            refused(&hosts[2], "server --cluster-reset", &["reset already", "reset-flag"])
        })?;
        step("it goes on alone", || {
            let again = hosts[2].launched().to_owned();
            hosts[2].launch(&again)?;
            eventually(LIMIT, || k.run("create configmap alone"))?;
            k.run("get configmap acknowledged")?;
            wait_members(&hosts[2], 1)
        })?;
        let url = format!("https://{}:6443", hosts[2].address);
        step("those of before end, and say why", || {
            for host in hosts.iter().take(2) {
                refused(host, host.launched(), &["reset or restored", "--resync"])?;
            }
            refused(&hosts[1], &format!("server --server {url} --token {token}"), &["before", "--resync"])
        })?;
        step("each comes back by one command", || {
            for number in 0..2 {
                hosts[number].launch(&format!("server --server {url} --token {token} --resync"))?;
                wait_members(&hosts[2], number + 2)?;
            }
            ensure!(hosts[0].run("ls /var/lib/coracle")?.contains("server-old-"), "the old data is gone");
            let count = hosts.len();
            wait_nodes(&hosts[0].kubectl()?, hosts, count)
        })?;
        hosts[0].kubectl()?.run("get configmap acknowledged alone")?;
        ensure!(containers(&k, "agent-1")? == pods, "pods were touched");
        Ok(())
    })
}

/// One of three is cut off and reset while the others go on: when they meet again, there is one cluster.
pub fn reset_apart() -> anyhow::Result<()> {
    explained(hosts(3, 0)?, |hosts| {
        let k = step("three servers", || grow(hosts))?;
        k.run("create configmap before")?;
        // Two of three acknowledge a write; that the third has it too takes asking.
        eventually(LIMIT, || hosts[2].coracle("kubectl get configmap before"))?;
        step("beside others nobody is reset", || {
            hosts[2].kill()?;
            refused(&hosts[2], "server --cluster-reset", &["other servers of the cluster run", "server-1", "server-2"])
        })?;
        step("one is cut off and reset", || {
            host::shell("ip link set host3 down")?;
            hosts[2].coracle("server --cluster-reset")?;
            let again = hosts[2].launched().to_owned();
            hosts[2].launch(&again)?;
            eventually(LIMIT, || hosts[2].coracle("kubectl create configmap here"))?;
            k.run("create configmap there").map(drop)
        })?;
        step("the others end when they meet it", || {
            host::shell("ip link set host3 up")?;
            for host in hosts.iter_mut().take(2) {
                eventually(LIMIT, || {
                    ensure!(host.check_alive().is_err(), "{} goes on", host.name);
                    Ok(())
                })?;
                ensure!(host.log_tail(5).contains("reset or restored without this server"), "{}", host.log_tail(5));
                host.kill()?;
            }
            Ok(())
        })?;
        step("and join it", || {
            let join = format!("server --disable-agent -s https://{}:6443 -t {}", hosts[2].address, hosts[2].token()?);
            for number in 0..2 {
                hosts[number].launch(&format!("{join} --resync"))?;
                wait_members(&hosts[2], number + 2)?;
            }
            k.run("get configmap before here")?;
            ensure!(k.run("get configmap there").is_err(), "two histories are one");
            Ok(())
        })
    })
}
