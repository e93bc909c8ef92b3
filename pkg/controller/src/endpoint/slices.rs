//! EndpointSlices of services that select pods.

use std::sync::Arc;

use client::{Cached as _, Change, Index, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slice_plan::{self, OfPod, Wanted};
use super::{HEADLESS, MANAGED_BY, SERVICE_NAME, enqueue_services, is_headless, selector};
use crate::expectations::Expectations;
use crate::pod::SlimPod;
use crate::skeleton::{Context, Error, SyncResult, Tasks};
use crate::template;

const NAME: &str = "endpoint_slice";
const WORKERS: usize = 5;
const MANAGER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

struct Controller {
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations<ObjectKey>,
    services: Store<Service>,
    pods: Store<SlimPod>,
    nodes: Store<Node>,
    slices: Index<EndpointSlice>,
    context: Context,
}

/// Slices by `namespace/service`.
pub(super) fn by_service(slices: &Store<EndpointSlice>) -> Index<EndpointSlice> {
    slices.index("service", |slice| {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        service.map(|service| format!("{}/{service}", slice.namespace()).into()).into_iter().collect()
    })
}

pub(super) fn is_managed_by(slice: &EndpointSlice, manager: &str) -> bool {
    let labels = slice.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == manager)
}

/// Adds the service of a slice that changed under us; our own writes only settle expectations.
pub(super) fn on_slice(
    expectations: &Expectations<ObjectKey>,
    queue: &WorkQueue<ObjectKey>,
    manager: &str,
    change: &Change<EndpointSlice>,
) {
    if let Some(owner) = expectations.created(&change.key) {
        queue.add(owner);
    }
    if let Some(slice) = change.latest()
        && is_managed_by(slice, manager)
        && let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME))
    {
        queue.add(ObjectKey::new(&change.key.namespace, service));
    }
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let services = context.informers.get::<Service>(Scope::all());
    let pods = context.informers.get::<SlimPod>(Scope::all());
    let nodes = context.informers.get::<Node>(Scope::all());
    let slices = context.informers.get::<EndpointSlice>(Scope::all());
    services.synced().await;
    pods.synced().await;
    nodes.synced().await;
    slices.synced().await;
    let controller = Arc::new(Controller {
        queue: WorkQueue::new(NAME),
        expectations: Expectations::new(),
        services: services.store(),
        pods: pods.store(),
        nodes: nodes.store(),
        slices: by_service(&slices.store()),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&services, crate::skeleton::enqueue(&controller.queue));
    tasks.feed(&pods, {
        let c = controller.clone();
        move |change| enqueue_services(&c.services, &c.queue, change)
    });
    tasks.feed(&slices, {
        let c = controller.clone();
        move |change| on_slice(&c.expectations, &c.queue, MANAGER, change)
    });
    tasks.feed(&nodes, {
        let c = controller.clone();
        move |change| c.on_node(change)
    });
    let c = controller.clone();
    tasks.work(NAME, &controller.queue, WORKERS, move |key| {
        let c = c.clone();
        async move { c.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE)
}

impl Controller {
    /// A node's zone is part of its pods' endpoints; nodes are often seen after their pods.
    fn on_node(&self, change: &Change<Node>) {
        if change.old.as_deref().and_then(zone) == change.new.as_deref().and_then(zone) {
            return;
        }
        for service in self.services.list() {
            self.queue.add(ObjectKey::of(&*service));
        }
    }

    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(service) = self.services.get_key(&key) else {
            // The slices go with their owner.
            self.expectations.forget(&key);
            return Ok(None);
        };
        if selector(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        if !self.expectations.satisfied(&key) {
            return Ok(None);
        }
        let existing = self.slices.get(&key.to_string());
        let existing: Vec<EndpointSlice> = existing
            .iter()
            .filter(|slice| is_managed_by(slice, MANAGER) && slice.metadata.deletion_timestamp.is_none())
            .map(|slice| (**slice).clone())
            .collect();
        let pods = self.pods.list_namespace(&key.namespace);
        let pods: Vec<_> = pods.into_iter().filter(|pod| super::selects(&service, pod)).collect();
        let wanted = self.wanted(&service, &pods);
        let plan = slice_plan::plan(&wanted, existing, &blank(&service));
        let prefix = format!("{}-", key.name);
        super::slices_apply::apply(&self.context, &self.expectations, &key, &prefix, plan).await?;
        Ok(None)
    }

    fn wanted(&self, service: &Service, pods: &[Arc<SlimPod>]) -> Wanted {
        let mut wanted = Wanted::default();
        for address_type in address_types(service) {
            let mut any = false;
            for pod in pods {
                let node_zone = || self.nodes.get("", &pod.node_name).and_then(|node| zone(&node).cloned());
                let of_pod = OfPod {
                    pod,
                    publish_not_ready: super::publishes_not_ready(service),
                    service_name: service.name(),
                    zone: if pod.node_name.is_empty() { None } else { node_zone() },
                };
                let Some(endpoint) = of_pod.endpoint(address_type) else { continue };
                let group = (address_type.to_owned(), super::ports(service, pod));
                wanted.groups.entry(group).or_default().push(endpoint);
                any = true;
            }
            if !any {
                wanted.groups.insert((address_type.to_owned(), Vec::new()), Vec::new());
            }
        }
        wanted
    }
}

/// The families that the service has addresses in.
fn address_types(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    let mut types: Vec<&'static str> = families.map(|f| if f == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if types.is_empty() {
        let v6 = spec.and_then(|spec| spec.cluster_ip.as_deref()).is_some_and(|ip| ip.contains(':'));
        types.push(if v6 { "IPv6" } else { "IPv4" });
    }
    types
}

/// A slice of the service without endpoints.
fn blank(service: &Service) -> EndpointSlice {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    EndpointSlice {
        metadata: ObjectMeta {
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![template::controller_ref(service)]),
            ..ObjectMeta::default()
        },
        ..EndpointSlice::default()
    }
}
