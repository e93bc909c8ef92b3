//! What several hosts are to do together. Each scenario starts from hosts without anything.

use std::time::Duration;

use anyhow::ensure;

use super::{Host, backup, installing, joining, life, losses, store, together, work};
use crate::kubectl::{Kubectl, eventually};

pub type Scenario = fn() -> anyhow::Result<()>;

/// The longest comes first, so that the lanes end together.
pub const ALL: &[(&str, Scenario)] = &[
    ("work_moves_off_nodes", work::moves),
    ("hosts_do_not_disturb_each_other", apart),
    ("bad_joins_are_refused_and_tokens_live_and_end", joining::refusals_and_tokens),
    ("servers_leave_and_come_back", joining::servers_leave_and_come_back),
    ("servers_without_nodes_reach_pods", joining::servers_without_nodes),
    ("one_server_and_two_agents", together::one_server_two_agents),
    ("host_gateway_routes_between_nodes", together::one_server_two_agents_by_host_gateway),
    ("three_servers_and_two_agents", together::three_servers_two_agents),
    ("a_server_loses_its_power", losses::a_server),
    ("an_agent_goes_on_without_servers", losses::every_server),
    ("a_snapshot_is_restored_anywhere", backup::restored),
    ("a_cluster_is_reset", backup::reset),
    ("a_server_that_is_cut_off_is_reset", backup::reset_apart),
    ("a_store_is_shown_limited_and_read", store::shown_limited_and_read),
    ("three_servers_compare_their_stores", store::compared),
    ("an_agent_starts_without_servers", life::an_agent_starts_alone),
    ("pods_outlive_restarts", life::restarts),
    ("pods_end_in_order_with_the_machine", life::the_machine_goes_down),
    ("installed_killed_and_uninstalled", installing::installed_and_removed),
];

const READY: Duration = Duration::from_secs(90);

/// Waits until so many nodes are Ready.
pub fn wait_nodes(k: &Kubectl, hosts: &mut [Host], count: usize) -> anyhow::Result<()> {
    let line = "get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}'";
    let outcome = eventually(READY, || {
        let statuses = k.run(line)?;
        ensure!(statuses.split(' ').filter(|s| *s == "True").count() == count, "nodes are {statuses:?}");
        k.run("get serviceaccount default")?;
        Ok(())
    });
    for host in hosts {
        host.check_alive()?;
    }
    outcome
}

/// Runs with the hosts, and says what happened on them if that fails.
pub fn explained(mut hosts: Vec<Host>, scenario: impl FnOnce(&mut [Host]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let outcome = scenario(&mut hosts);
    if outcome.is_err() {
        if let Ok(k) = hosts[0].kubectl() {
            for line in ["get nodes,pods -A -o wide", "get events -A --sort-by=.metadata.creationTimestamp"] {
                println!("--- kubectl {line}\n{}", k.run(line).unwrap_or_else(|error| format!("{error:#}")));
            }
        }
        for host in &hosts {
            println!("--- {} ({})\n{}", host.name, host.address, host.log_tail(15));
        }
    }
    outcome
}

/// Two clusters of one server each, side by side: the hosts have nothing in common but the switch.
fn apart() -> anyhow::Result<()> {
    let hosts = vec![Host::start("one", 1)?, Host::start("two", 2)?];
    explained(hosts, |hosts| {
        for host in hosts.iter_mut() {
            host.launch("server")?;
        }
        for number in 0..2 {
            let k = hosts[number].kubectl()?;
            wait_nodes(&k, &mut hosts[number..=number], 1)?;
            k.run("create deployment web --image=docker.io/coracle/web:v1 --replicas=2")?;
        }
        for host in hosts.iter() {
            let k = host.kubectl()?;
            k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
            ensure!(
                k.run("get nodes -o name")?.trim() == format!("node/{}", host.name),
                "the node has the host's name"
            );
            let ip = k.run("get pods -l app=web -o 'jsonpath={.items[0].status.podIP}'")?;
            let answer = host.run(&format!("curl -s -m 3 http://{ip}:8080/hostname"))?;
            ensure!(answer.starts_with("web-"), "the host does not reach its pod: {answer}");
        }
        // What is killed on one host goes on at the other.
        hosts[0].power_off()?;
        let k = hosts[1].kubectl()?;
        k.run("delete pod -l app=web --wait=false")?;
        k.run("wait --for=condition=Available deployment/web --timeout=60s")?;
        Ok(())
    })
}
