//! `kill -9` under load, again and again: nothing acknowledged is lost, revisions only grow, containers go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};

use super::clients::kube_client;
use super::in_namespace;
use crate::cluster::Cluster;

const ROUNDS: usize = 20;
const CREATES: usize = 1000;
const AT_ONCE: usize = CREATES;

/// Name → resourceVersion of every create that was answered.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

pub fn twenty_kills(cluster: &mut Cluster) -> anyhow::Result<()> {
    in_namespace(cluster, "crash", |cluster| {
        let k = cluster.kubectl.clone();
        k.run("-n crash run steady --image=docker.io/coracle/busybox:test --command -- sleep 36000")?;
        k.run("-n crash wait --for=condition=Ready pod/steady --timeout=60s")?;
        let identity = "-n crash get pod steady -o 'jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'";
        let before = k.run(identity)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let acknowledged = Acknowledged::default();
        let mut newest = 0;
        for round in 0..ROUNDS {
            // Early and late in the load, to hit different moments.
            let moment = Duration::from_millis(20 + (round as u64 * 97) % 1500);
            let load = runtime.spawn(create_many(cluster.kubeconfig.clone(), round, acknowledged.clone()));
            std::thread::sleep(moment);
            cluster.kill()?;
            runtime.block_on(load)?.context("the load could not start")?;
            cluster.launch(&[])?;
            cluster.wait_api()?;
            newest = runtime
                .block_on(check(cluster.kubeconfig.clone(), &acknowledged, newest))
                .context(format!("round {round}"))?;
        }
        cluster.wait_ready()?;
        let count = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
        println!("     {count} acknowledged creates over {ROUNDS} kills, all there; newest revision {newest}");
        ensure!(count > ROUNDS * 20, "too few creates were acknowledged to prove anything: {count}");
        k.until(Duration::from_secs(30), identity, |now| now == before)?;
        Ok(())
    })
}

async fn create_many(kubeconfig: std::path::PathBuf, round: usize, acknowledged: Acknowledged) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(kube_client(&kubeconfig).await?, "crash");
    let creates = (0..CREATES).map(|i| {
        let (api, acknowledged) = (api.clone(), acknowledged.clone());
        async move {
            let name = format!("r{round:02}-{i:04}");
            let map = ConfigMap {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                data: Some([("payload".to_owned(), "x".repeat(200))].into()),
                ..ConfigMap::default()
            };
            // After the kill every call fails, as it should.
            if let Ok(created) = api.create(&PostParams::default(), &map).await {
                let version = created.metadata.resource_version.and_then(|v| v.parse().ok()).unwrap_or_default();
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(name, version);
            }
        }
    });
    let load = futures::stream::iter(creates).buffer_unordered(AT_ONCE).collect::<Vec<()>>();
    // Calls that hang on a killed server are not waited for: they were not acknowledged.
    let _ = tokio::time::timeout(Duration::from_secs(10), load).await;
    Ok(())
}

/// Every acknowledged object is there with its revision; answers the store's newest revision.
async fn check(kubeconfig: std::path::PathBuf, acknowledged: &Acknowledged, newest: u64) -> anyhow::Result<u64> {
    let api: Api<ConfigMap> = Api::namespaced(kube_client(&kubeconfig).await?, "crash");
    let list = api.list(&ListParams::default()).await?;
    let revision: u64 = list.metadata.resource_version.context("a list has a revision")?.parse()?;
    ensure!(revision >= newest, "the revision went back from {newest} to {revision}");
    let found: BTreeSet<(String, u64)> = list
        .items
        .into_iter()
        .filter_map(|m| Some((m.metadata.name?, m.metadata.resource_version?.parse().ok()?)))
        .collect();
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    let lost: Vec<_> = acknowledged.iter().filter(|(n, v)| !found.contains(&((*n).clone(), **v))).take(5).collect();
    ensure!(lost.is_empty(), "acknowledged but lost: {lost:?}");
    Ok(revision)
}
