//! The scenarios, in the order in which they run. Each uses a namespace of its own and removes it at the end.

mod apply;
mod cli;
mod clients;
mod config;
mod conformant;
mod crash;
mod helm;
mod lifecycle;
mod network;
mod processes;
mod streams;
mod web;
mod wrong;

use std::time::Duration;

pub use self::clients::kube_client;
use crate::cluster::Cluster;

pub type Scenario = fn(&mut Cluster) -> anyhow::Result<()>;

/// The scenario that is many tests.
pub const CONFORMANCE: &str = "conformance";

pub const ALL: &[(&str, Scenario)] = &[
    ("web_deployment_is_reached_healed_scaled_and_rolled", web::deployment),
    ("kubectl_reads_and_edits", cli::reads_and_edits),
    ("kubectl_describes_and_explains", cli::describes_and_explains),
    ("kubectl_applies_on_the_server", apply::on_the_server),
    ("helm_installs_upgrades_and_rolls_back", helm::life),
    ("logs_exec_cp_port_forward", streams::all),
    ("services_resolve_by_name_and_reach_the_outside", network::names),
    ("session_affinity_and_headless_services", network::affinity_and_headless),
    ("probes_restart_and_withdraw", lifecycle::probes),
    ("init_and_sidecar_containers_run_in_order", lifecycle::order),
    ("restart_policy_and_hooks", lifecycle::restarts_and_hooks),
    ("jobs_complete_and_fail", lifecycle::jobs),
    ("configuration_reaches_containers", config::all_sources),
    ("a_namespace_takes_its_contents_with_it", cli::namespace_deletion),
    ("roles_grant_and_nothing_else", cli::roles),
    ("quota_and_limits_hold", config::quota_and_limits),
    ("other_clients_work", clients::all),
    (CONFORMANCE, conformant::all),
    ("mistakes_get_one_clear_line", wrong::all),
    ("loops_run_as_their_own_processes", processes::loops),
    ("kill_loses_nothing_acknowledged", crash::twenty_kills),
];

/// Objects to apply, in any namespace.
const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue, size: '7'}
";
const IDLE: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: idle}
spec:
  replicas: 1
  selector: {matchLabels: {app: idle}}
  template:
    metadata: {labels: {app: idle}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: main, image: 'docker.io/coracle/busybox:test', command: [sleep, '3600']}
";

/// Makes a namespace for the scenario, runs it, and removes the namespace whatever came of it.
fn in_namespace(
    cluster: &mut Cluster,
    namespace: &str,
    scenario: impl FnOnce(&mut Cluster) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    cluster.kubectl.run(&format!("create namespace {namespace}"))?;
    // Pods need it, and a controller makes it.
    let account = format!("-n {namespace} get serviceaccount default -o name");
    cluster.kubectl.until(Duration::from_secs(30), &account, |_| true)?;
    let outcome = scenario(cluster);
    let removed = cluster.kubectl.run(&format!("delete namespace {namespace} --wait=false"));
    outcome.and(removed.map(drop))
}
