//! The older Endpoints objects of services that select pods: one for each service, of its first address family.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{Cached as _, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Service};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::{HEADLESS, Port, enqueue_services, is_headless, publishes_not_ready, selector};
use crate::pod::SlimPod;
use crate::skeleton::{
    Context, Error, SyncResult, Tasks, delete_uid, enqueue, ignore_not_found, is_already_exists, is_terminating,
};
use crate::template;

const NAME: &str = "endpoint";
const WORKERS: usize = 5;
pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses one object holds at most; more are cut, and the object says so.
const ADDRESSES_MAX: usize = 1000;

struct Controller {
    services: Store<Service>,
    pods: Store<SlimPod>,
    endpoints: Store<Endpoints>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let services = context.informers.get::<Service>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let endpoints = context.informers.get::<Endpoints>(Scope::all());
    services.synced().await;
    pods.synced().await;
    endpoints.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&services, enqueue(&queue));
    // Of the same name as their service.
    tasks.feed(&endpoints, enqueue(&queue));
    tasks.feed(&pods, {
        let (services, queue) = (services.store(), queue.clone());
        move |change| enqueue_services(&services, &queue, change)
    });
    let controller = Arc::new(Controller {
        services: services.store(),
        pods: pods.store(),
        endpoints: endpoints.store(),
        context: context.clone(),
    });
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let existing = self.endpoints.get_key(&key);
        let Some(service) = self.services.get_key(&key) else {
            // Only what this controller made goes with its service: others keep Endpoints for other ends.
            if let Some(existing) = existing.filter(|existing| is_ours(existing)) {
                let uid = existing.metadata.uid.as_deref().unwrap_or("");
                ignore_not_found(api.delete(&key.name, &delete_uid(uid)).await)?;
            }
            return Ok(None);
        };
        if selector(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let pods = self.pods.list_namespace(&key.namespace);
        let pods: Vec<_> = pods.into_iter().filter(|pod| super::selects(&service, pod)).collect();
        let (subsets, cut) = subsets(&service, &pods);
        let mut wanted = existing.as_deref().cloned().unwrap_or_else(|| Endpoints {
            metadata: ObjectMeta {
                name: Some(key.name.to_string()),
                namespace: Some(key.namespace.to_string()),
                ..ObjectMeta::default()
            },
            subsets: None,
        });
        wanted.subsets = (!subsets.is_empty()).then_some(subsets);
        wanted.metadata.labels = Some(labels(&service));
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        if cut {
            annotations.insert(OVER_CAPACITY.into(), "truncated".into());
        } else {
            annotations.remove(OVER_CAPACITY);
        }
        let outcome = match existing {
            Some(existing) if template::equal(&*existing, &wanted) => return Ok(None),
            Some(_) => api.replace(&key.name, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match outcome {
            Err(error) if is_terminating(&error) => Ok(None),
            Err(error) if is_already_exists(&error) => Err(Error::Wait("the cache does not show the object yet")),
            outcome => Ok(outcome.map(|_| None)?),
        }
    }
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels
}

/// Addresses, ready and not, that serve a set of ports. Keyed so that the order is always the same.
type Addresses = (BTreeMap<String, EndpointAddress>, BTreeMap<String, EndpointAddress>);

/// The subsets, and whether addresses were cut. Ports that are served by exactly the same addresses share a subset.
fn subsets(service: &Service, pods: &[Arc<SlimPod>]) -> (Vec<EndpointSubset>, bool) {
    let mut by_port: BTreeMap<Option<Port>, Addresses> = BTreeMap::new();
    for pod in pods {
        let Some(address) = address(service, pod) else { continue };
        let ready = pod.is_ready() || publishes_not_ready(service);
        let mut ports: Vec<Option<Port>> = super::ports(service, pod).into_iter().map(Some).collect();
        if service.spec.as_ref().is_none_or(|spec| spec.ports.as_ref().is_none_or(Vec::is_empty))
            && is_headless(service)
        {
            ports.push(None);
        }
        for port in ports {
            let entry = by_port.entry(port).or_default();
            let side = if ready { &mut entry.0 } else { &mut entry.1 };
            side.insert(format!("{}/{}", address.ip, pod.uid), address.clone());
        }
    }
    let mut groups: Vec<(Vec<Port>, Addresses)> = Vec::new();
    for (port, addresses) in by_port {
        let keys = |a: &Addresses| {
            (a.0.keys().cloned().collect::<BTreeSet<_>>(), a.1.keys().cloned().collect::<BTreeSet<_>>())
        };
        match groups.iter_mut().find(|(_, other)| keys(other) == keys(&addresses)) {
            Some((ports, _)) => ports.extend(port),
            None => groups.push((port.into_iter().collect(), addresses)),
        }
    }
    let mut left = ADDRESSES_MAX;
    let mut cut = false;
    let subsets = groups.into_iter().map(|(ports, (ready, not_ready))| {
        cut |= ready.len() + not_ready.len() > left;
        let ready: Vec<_> = ready.into_values().take(left).collect();
        left -= ready.len();
        let not_ready: Vec<_> = not_ready.into_values().take(left).collect();
        left -= not_ready.len();
        let port = |port: Port| EndpointPort {
            name: (!port.name.is_empty()).then_some(port.name),
            port: port.port,
            protocol: Some(port.protocol),
            app_protocol: port.app_protocol,
        };
        let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
        let ports: Vec<_> = ports.into_iter().map(port).collect();
        let ports = (!ports.is_empty()).then_some(ports);
        EndpointSubset { addresses: some(ready), not_ready_addresses: some(not_ready), ports }
    });
    (subsets.collect(), cut)
}

fn address(service: &Service, pod: &SlimPod) -> Option<EndpointAddress> {
    let v6 = service.spec.as_ref().is_some_and(|spec| {
        let family = spec.ip_families.as_ref().and_then(|families| families.first());
        family.is_some_and(|family| family == "IPv6")
    });
    let ip = pod.ips.iter().find(|ip| ip.contains(':') == v6)?;
    if pod.is_finished() || (pod.is_deleting() && !publishes_not_ready(service)) {
        return None;
    }
    let named = !pod.hostname.is_empty() && pod.subdomain == service.name();
    Some(EndpointAddress {
        ip: ip.to_string(),
        hostname: named.then(|| pod.hostname.to_string()),
        node_name: (!pod.node_name.is_empty()).then(|| pod.node_name.to_string()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: Some(pod.namespace.to_string()),
            name: Some(pod.name.to_string()),
            uid: Some(pod.uid.to_string()),
            ..ObjectReference::default()
        }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: bool, ports: &[(&str, i32)]) -> Arc<SlimPod> {
        let ports: Vec<_> =
            ports.iter().map(|(n, p)| json!({ "name": n, "containerPort": p, "protocol": "TCP" })).collect();
        let pod = json!({
            "metadata": { "name": name, "uid": name }, "spec": { "containers": [{ "ports": ports }] },
            "status": { "phase": "Running", "podIP": format!("10.0.0.{}", name.len()),
                "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] }
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn ports_with_the_same_addresses_share_a_subset() {
        let service: Service = serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": { "ports": [
            { "name": "http", "port": 80, "targetPort": "http" }, { "name": "x", "port": 90, "targetPort": "x" },
            { "name": "y", "port": 91, "targetPort": 9 }] } }))
        .unwrap();
        let pods = [pod("a", true, &[("http", 8080), ("x", 1)]), pod("bb", false, &[("http", 8080), ("x", 2)])];
        let (subsets, cut) = subsets(&service, &pods);
        assert!(!cut);
        let shape: Vec<_> = subsets
            .iter()
            .map(|s| {
                let ips =
                    |l: &Option<Vec<EndpointAddress>>| l.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>();
                let ports: Vec<_> = s.ports.iter().flatten().map(|p| p.port).collect();
                (ports, ips(&s.addresses), ips(&s.not_ready_addresses))
            })
            .collect();
        let (a, b) = ("10.0.0.1".to_owned(), "10.0.0.2".to_owned());
        assert_eq!(
            shape,
            [(vec![8080, 9], vec![a.clone()], vec![b.clone()]), (vec![1], vec![a], vec![]), (vec![2], vec![], vec![b]),]
        );
    }
}
