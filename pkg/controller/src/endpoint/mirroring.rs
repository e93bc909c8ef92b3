//! Mirrors of Endpoints that someone keeps by hand (or a tool does) for a service without selector: those who read only
//! EndpointSlices see them too.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Cached as _, Index, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slice_plan::{self, Wanted};
use super::slices::{by_service, is_managed_by, on_slice};
use super::{MANAGED_BY, Port, SERVICE_NAME, endpoints};
use crate::expectations::Expectations;
use crate::skeleton::{Context, Error, SyncResult, Tasks, enqueue};
use crate::template;

const NAME: &str = "endpoint_slice_mirroring";
const WORKERS: usize = 5;
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of one subset that are mirrored at most.
const ADDRESSES_MAX: usize = 1000;

struct Controller {
    expectations: Expectations<ObjectKey>,
    services: Store<Service>,
    endpoints: Store<Endpoints>,
    slices: Index<EndpointSlice>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let services = context.informers.get::<Service>(Scope::all());
    let endpoints = context.informers.get::<Endpoints>(Scope::all());
    let slices = context.informers.get::<EndpointSlice>(Scope::all());
    services.synced().await;
    endpoints.synced().await;
    slices.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let controller = Arc::new(Controller {
        expectations: Expectations::new(),
        services: services.store(),
        endpoints: endpoints.store(),
        slices: by_service(&slices.store()),
        context: context.clone(),
    });
    let mut tasks = Tasks::new();
    tasks.feed(&services, enqueue(&queue));
    tasks.feed(&endpoints, enqueue(&queue));
    tasks.feed(&slices, {
        let (controller, queue) = (controller.clone(), queue.clone());
        move |change| on_slice(&controller.expectations, &queue, MANAGER, change)
    });
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let existing = self.slices.get(&key.to_string());
        let existing: Vec<EndpointSlice> =
            existing.iter().filter(|slice| is_managed_by(slice, MANAGER)).map(|slice| (**slice).clone()).collect();
        let endpoints = self.endpoints.get_key(&key).filter(|endpoints| is_mirrored(endpoints));
        // A service that is not there has no mirror; the one that selects has slices of its own.
        let service = self.services.get_key(&key).filter(|service| {
            service.spec.as_ref().is_none_or(|spec| spec.selector.as_ref().is_none_or(BTreeMap::is_empty))
        });
        if !self.expectations.satisfied(&key) {
            return Ok(None);
        }
        let (Some(endpoints), Some(_)) = (endpoints, service) else {
            let plan = slice_plan::Plan { delete: existing, ..slice_plan::Plan::default() };
            super::slices_apply::apply(&self.context, &self.expectations, &key, "", plan).await?;
            return Ok(None);
        };
        let plan = slice_plan::plan(&wanted(&endpoints), existing, &blank(&endpoints));
        let prefix = format!("{}-", key.name);
        super::slices_apply::apply(&self.context, &self.expectations, &key, &prefix, plan).await?;
        Ok(None)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let label = |key: &str| endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let annotation = |key: &str| endpoints.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key));
    label(SKIP).is_none_or(|skip| skip != "true") && !annotation(LEADER) && label(endpoints::MANAGED_BY).is_none()
}

fn wanted(endpoints: &Endpoints) -> Wanted {
    let mut wanted = Wanted::default();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready).take(ADDRESSES_MAX) {
            let address_type = if address.ip.contains(':') { "IPv6" } else { "IPv4" };
            let group = wanted.groups.entry((address_type.to_owned(), ports.clone())).or_default();
            group.push(endpoint(address, ready));
        }
    }
    wanted
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let ports = subset.ports.iter().flatten().map(|port| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        port: port.port,
        app_protocol: port.app_protocol.clone(),
    });
    let mut ports: Vec<Port> = ports.collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// A slice that mirrors `endpoints`, without endpoints.
fn blank(endpoints: &Endpoints) -> EndpointSlice {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), endpoints.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("endpoints.kubernetes.io/last-change-trigger-time");
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    EndpointSlice {
        metadata: ObjectMeta {
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![template::controller_ref(endpoints)]),
            ..ObjectMeta::default()
        },
        ..EndpointSlice::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_subset_becomes_slices_of_its_ports() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": { "name": "e" },
            "subsets": [{ "addresses": [{ "ip": "10.1.2.3" }, { "ip": "fd00::1" }], "ports": [{ "name": "http", "port": 80 }] },
                { "notReadyAddresses": [{ "ip": "10.1.2.4" }], "ports": [{ "name": "http", "port": 81 }] }]
        }))
        .unwrap();
        let plan = slice_plan::plan(&wanted(&endpoints), Vec::new(), &blank(&endpoints));
        let shape: Vec<_> =
            plan.create.iter().map(|s| (s.address_type.as_str(), s.ports.as_ref().unwrap()[0].port)).collect();
        assert_eq!(shape, [("IPv4", Some(80)), ("IPv4", Some(81)), ("IPv6", Some(80))]);
        let mut skipped = endpoints;
        assert!(is_mirrored(&skipped));
        skipped.metadata.labels = Some(BTreeMap::from([(SKIP.into(), "true".into())]));
        assert!(!is_mirrored(&skipped));
    }
}
