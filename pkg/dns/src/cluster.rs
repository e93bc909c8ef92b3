//! The cluster's Services and endpoints as the informers hold them.

use std::net::IpAddr;
use std::sync::Arc;

use client::{Index, Informer, Informers, Scope, Store};

use crate::types::{EndpointSlice, Service};
use crate::zone::Cluster;

/// Reads the shared caches; indexed, so that no question looks at more than it is about.
pub struct Watched {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    store: Store<Service>,
    services_by_address: Index<Service>,
    slices_by_service: Index<EndpointSlice>,
    slices_by_address: Index<EndpointSlice>,
}

impl Watched {
    pub fn new(informers: &Informers) -> Self {
        let services = informers.get::<Service>(Scope::all());
        let slices = informers.get::<EndpointSlice>(Scope::all());
        let store = services.store();
        let services_by_address = store.index("address", |service: &Service| {
            service.addresses().iter().map(|address| address.to_string().into()).collect()
        });
        let slices_by_service = slices.store().index("service", |slice: &EndpointSlice| {
            let name = slice.service().map(|name| format!("{}/{name}", slice.metadata.namespace).into());
            name.into_iter().collect()
        });
        let slices_by_address = slices.store().index("address", |slice: &EndpointSlice| {
            slice.endpoints.iter().flat_map(|e| e.addresses().map(|a| a.to_string().into())).collect()
        });
        Self { services, slices, store, services_by_address, slices_by_service, slices_by_address }
    }
}

impl Cluster for Watched {
    fn is_synced(&self) -> bool {
        self.services.is_synced() && self.slices.is_synced()
    }

    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.store.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices_by_service.get(&format!("{namespace}/{service}"))
    }

    fn has_services(&self, namespace: &str) -> bool {
        !self.store.list_namespace(namespace).is_empty()
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        self.services_by_address.get(&address.to_string())
    }

    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        self.slices_by_address.get(&address.to_string())
    }
}
