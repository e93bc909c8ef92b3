//! Whether the loops are at work: a new pod gets a node, a new Deployment its ReplicaSet.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::caller::{Answer, Caller};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const AGAIN: Duration = Duration::from_millis(20);

/// How long it took since `begun` until a new pod had a node and a new Deployment a ReplicaSet; none within the limit.
pub async fn loops(mut caller: Caller, name: String, begun: Instant, limit: Duration) -> [Option<Duration>; 2] {
    let labels = json!({ "app": name });
    let container = json!([{ "name": "main", "image": "docker.io/coracle/web:v1" }]);
    let spec = json!({ "terminationGracePeriodSeconds": 0, "containers": container });
    let pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels }, "spec": spec });
    let template = json!({ "metadata": { "labels": labels }, "spec": spec });
    // None of its pods: a ReplicaSet says enough.
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    let deployment =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name }, "spec": spec });
    let until = begun + limit;
    create(&mut caller, PODS, &pod, until).await;
    create(&mut caller, DEPLOYMENTS, &deployment, until).await;
    let mut times = [None; 2];
    while times.contains(&None) && Instant::now() < until {
        if times[0].is_none() {
            let pod = caller.ask(Method::GET, &format!("{PODS}/{name}"), "").await.unwrap_or_default();
            times[0] = pod["spec"]["nodeName"].is_string().then(|| begun.elapsed());
        }
        if times[1].is_none() {
            let sets = caller.ask(Method::GET, &format!("{REPLICA_SETS}?labelSelector=app%3D{name}"), "").await;
            let any = sets.is_some_and(|sets| sets["items"].as_array().is_some_and(|items| !items.is_empty()));
            times[1] = any.then(|| begun.elapsed());
        }
        sleep(AGAIN).await;
    }
    caller.ask(Method::DELETE, &format!("{PODS}/{name}"), r#"{"gracePeriodSeconds":0}"#).await;
    caller.ask(Method::DELETE, &format!("{DEPLOYMENTS}/{name}"), r#"{"propagationPolicy":"Background"}"#).await;
    times
}

/// Creates an object, as often as it takes.
async fn create(caller: &mut Caller, path: &str, object: &Value, until: Instant) {
    let body = object.to_string();
    while Instant::now() < until {
        for server in 0..caller.servers() {
            // It may be there from an attempt whose answer was lost.
            if let Answer::Said(201 | 409, _) = caller.call(server, Method::POST, path, body.clone()).await {
                return;
            }
        }
        sleep(AGAIN).await;
    }
}

/// Which servers hold the Leases of the scheduler and of the controllers, by name.
pub async fn holders(caller: &mut Caller) -> [Option<String>; 2] {
    let mut holders = [None, None];
    for (at, lease) in ["kube-scheduler", "kube-controller-manager"].iter().enumerate() {
        let lease = caller.ask(Method::GET, &format!("{LEASES}/{lease}"), "").await.unwrap_or_default();
        let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        holders[at] = identity.split('_').next().filter(|name| !name.is_empty()).map(str::to_owned);
    }
    holders
}

/// Makes pods that must not be touched, and waits until they run.
pub async fn pods(caller: &mut Caller, limit: Duration) -> anyhow::Result<Vec<String>> {
    let labels = json!({ "app": "stay" });
    let container = json!([{ "name": "main", "image": "docker.io/coracle/web:v1" }]);
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": container } });
    let spec = json!({ "replicas": 3, "selector": { "matchLabels": labels }, "template": template });
    let deployment =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "stay" }, "spec": spec });
    caller.ask(Method::POST, DEPLOYMENTS, &deployment.to_string()).await.context("a Deployment")?;
    let until = Instant::now() + limit;
    loop {
        let running = containers(caller).await;
        if running.len() == 3 && running.iter().all(|line| line.contains("containerd://") && line.contains("true")) {
            return Ok(running);
        }
        anyhow::ensure!(Instant::now() < until, "pods do not run: {running:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Those pods: names, containers, restarts and whether they are ready.
pub async fn containers(caller: &mut Caller) -> Vec<String> {
    let list = caller.ask(Method::GET, &format!("{PODS}?labelSelector=app%3Dstay"), "").await.unwrap_or_default();
    let mut lines: Vec<String> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let id = status["containerID"].as_str().unwrap_or_default();
            format!("{name} {id} {} {}", status["restartCount"], status["ready"])
        })
        .collect();
    lines.sort();
    lines
}
