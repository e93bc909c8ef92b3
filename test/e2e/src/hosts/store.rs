//! The store of real servers: shown, limited, and read whole when they have stopped.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::Host;
use super::joining::refused;
use super::scenarios::{explained, wait_nodes};
use super::together::{hosts, start, step};
use crate::kubectl::{Kubectl, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// Small enough to be filled by a test.
const QUOTA: &str = "store-quota: 12Mi\n";
/// What an object is found by in a file.
const MARK: &str = "a-text-that-is-in-no-other-object-of-this-cluster";

/// One server's store is filled and emptied, and looked at while it runs and when it has stopped.
pub fn shown_limited_and_read() -> anyhow::Result<()> {
    let hosts = vec![Host::start("server-1", 1)?];
    explained(hosts, |hosts| {
        fs::write(hosts[0].dir.join("etc/config.yaml"), QUOTA)?;
        hosts[0].launch("server")?;
        let k = hosts[0].kubectl()?;
        wait_nodes(&k, &mut hosts[..1], 1)?;
        step("the store is shown", || shown(&hosts[0]))?;
        let written = step("a full store refuses, and says so", || filled(&hosts[0], &k))?;
        step("with room again it takes writes again", || emptied(&hosts[0], &k, written))?;
        step("the files of a server that runs are left alone", || {
            refused(&hosts[0], "store verify", &["in use by process"])
        })?;
        hosts[0].coracle("snapshot save")?;
        hosts[0].terminate()?;
        step("a stopped server's store is read whole", || well(&hosts[0]))?;
        step("damage is named, and the server does not serve it", || damaged(&hosts[0]))
    })
}

/// Three servers show each other's stores, which are the same, and say who does not answer.
pub fn compared() -> anyhow::Result<()> {
    explained(hosts(3, 0)?, |hosts| {
        step("nodes are Ready", || start(hosts, 3, ""))?;
        let k = hosts[1].kubectl()?;
        step("all have the same state, whoever is asked", || same(hosts, &k))?;
        hosts[2].kill()?;
        step("who does not answer is named", || {
            eventually(LIMIT, || {
                let members = &status(&hosts[0])?["members"];
                ensure!(members[2]["reachable"] == false && members[1]["reachable"] == true, "{members}");
                Ok(())
            })?;
            refused(&hosts[1], "store status", &["server-3 does not answer"])
        })
    })
}

fn same(hosts: &[Host], k: &Kubectl) -> anyhow::Result<()> {
    for (number, host) in hosts.iter().enumerate() {
        k.run(&format!("create configmap of-{number}"))?;
        host.coracle("store status")?;
        let shown = status(host)?;
        let members = shown["members"].as_array().context("members")?;
        let digests: Vec<_> = members.iter().filter_map(|member| member["digest"].as_str()).collect();
        ensure!(digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]), "{shown}");
        ensure!(shown["revision"].as_u64() > Some(1) && shown["differing"] == json!([]), "{shown}");
    }
    Ok(())
}

fn status(host: &Host) -> anyhow::Result<Value> {
    // It ends with 1 when something is wrong, and prints all the same.
    let output = host.command(&crate::cluster::binary()).args(["store", "status", "-o", "json"]).output()?;
    serde_json::from_slice(&output.stdout).context("store status prints JSON")
}

fn shown(host: &Host) -> anyhow::Result<()> {
    let table = host.coracle("store status")?;
    let line = table.lines().find(|line| line.starts_with("server-1")).context("a line of the server")?;
    ensure!(line.ends_with(" ok"), "{table}");
    let member = &status(host)?["members"][0];
    ensure!(member["digest"].as_str().is_some_and(|digest| digest.len() == 32), "{member}");
    ensure!(member["keys"].as_u64() > Some(100) && member["quotaBytes"] == 12 << 20, "{member}");
    Ok(())
}

/// Fills the store with objects, and says how many it took.
fn filled(host: &Host, k: &Kubectl) -> anyhow::Result<usize> {
    let file = host.dir.join("large");
    fs::write(&file, "x".repeat(900 << 10))?;
    let create = |number: usize| k.run(&format!("create configmap large-{number} --from-file={}", file.display()));
    let mut written = 0;
    let error = loop {
        ensure!(written < 20, "nothing is refused");
        match create(written) {
            Ok(_) => written += 1,
            Err(error) => break error.to_string(),
        }
    };
    ensure!(error.contains("etcdserver: mvcc: database space exceeded") && error.contains("--store-quota"), "{error}");
    let member = &status(host)?["members"][0];
    ensure!(member["full"] == true, "{member}");
    refused(host, "status", &["the store is full (--store-quota)"])?;
    let ready = k.run("get --raw=/readyz?verbose")?;
    ensure!(ready.contains("warning: the store is full") && ready.contains("readyz check passed"), "{ready}");
    let metrics = k.run("get --raw=/metrics")?;
    ensure!(metrics.lines().any(|line| line == "coracle_store_full 1"), "no alarm among the metrics");
    // The cluster lives: its node reports, and objects can be marked.
    let renewed = || k.run("get lease -n kube-node-lease server-1 -o jsonpath={.spec.renewTime}");
    let before = renewed()?;
    eventually(LIMIT, || {
        ensure!(renewed()? != before, "the node's Lease is not renewed");
        Ok(())
    })?;
    k.run("label configmap large-0 seen=yes")?;
    Ok(written)
}

fn emptied(host: &Host, k: &Kubectl, written: usize) -> anyhow::Result<()> {
    for number in 0..written.div_ceil(2) {
        k.run(&format!("delete configmap large-{number}"))?;
    }
    k.run(&format!("create configmap small --from-literal=a={MARK}"))?;
    eventually(LIMIT, || {
        let member = &status(host)?["members"][0];
        ensure!(member["full"] == false, "{member}");
        Ok(())
    })?;
    host.coracle("status").map(drop)
}

fn well(host: &Host) -> anyhow::Result<()> {
    let text = host.coracle("store verify")?;
    ensure!(text.lines().count() >= 4 && text.lines().all(|line| line.starts_with("ok ")), "{text}");
    ensure!(text.contains("ok       snapshots/on-demand-"), "{text}");
    let all: Value = serde_json::from_str(&host.coracle("store verify -o json")?)?;
    ensure!(all["damaged"] == false, "{all}");
    Ok(())
}

/// Flips a bit of a record, in whatever pages it is: some are of its past.
fn damaged(host: &Host) -> anyhow::Result<()> {
    let file = host.dir.join("data/server/db/state.redb");
    let bytes = fs::read(&file)?;
    let mut flipped = bytes.clone();
    let places = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK.as_bytes());
    places.for_each(|(at, _)| flipped[at] ^= 1);
    ensure!(flipped != bytes, "the object is not in the checkpoint");
    fs::write(&file, &flipped)?;
    let verify = || refused(host, "store verify", &["damaged: state.redb", "restore a snapshot"]);
    verify()?;
    ensure!(fs::read(&file)? == flipped, "it was changed");
    refused(host, "server", &["state.redb is damaged", "/registry/core/configmaps/default/small"])?;
    verify()?;
    fs::write(&file, &bytes)?;
    host.coracle("store verify").map(drop)
}
