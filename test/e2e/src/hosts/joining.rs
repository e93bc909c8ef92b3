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
    let begun = Instant::now();
    let output = host.command(Path::new("timeout")).arg("30").arg(binary()).args(line.split(' ')).output()?;
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
    ];
    for (line, parts) in cases {
        refused(stranger, line, parts)?;
    }
    ensure!(stranger.run("ls /var/lib/coracle")?.split_whitespace().eq(["agent"]), "a refused join left something");
    ensure!(k.run("get nodes -o name")?.lines().count() == 1, "a refused join left a node");
    Ok(())
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
        let k = step("a single server grows", || {
            hosts[0].launch("server --disable-agent")?;
            let k = hosts[0].kubectl()?;
            let join = format!("server --disable-agent -s https://{}:6443 -t {}", hosts[0].address, hosts[0].token()?);
            for number in 1..3 {
                hosts[number].launch(&join)?;
                wait_members(&hosts[0], number + 1)?;
            }
            Ok(k)
        })?;
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
            hosts[2].run("rm -rf /var/lib/coracle/server")?;
            let again = hosts[2].launched().to_owned();
            hosts[2].launch(&again)?;
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

/// Waits until so many servers vote and answer.
pub fn wait_members(host: &Host, count: usize) -> anyhow::Result<()> {
    eventually(LIMIT, || {
        let status = host.coracle("status")?;
        let ready = status.lines().filter(|line| line.ends_with("ready") && !line.contains("learner")).count();
        ensure!(ready == count, "{ready} servers are ready: {status}");
        Ok(())
    })
}
