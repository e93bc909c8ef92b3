//! Which endpoints go into which slices, without I/O: what is in a slice stays there, and no more slices are written
//! than have to be.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::Port;

/// Endpoints a slice holds at most.
const PER_SLICE_MAX: usize = 100;

/// Endpoints that share ports, for slices of one address type.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// By `(address type, ports)`.
    pub groups: BTreeMap<(String, Vec<Port>), Vec<Endpoint>>,
}

/// What has to be written.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Without names.
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<EndpointSlice>,
}

/// What identifies an endpoint across changes: the object it stands for, or else its addresses.
fn identity(endpoint: &Endpoint) -> String {
    match endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()) {
        Some(uid) => uid.to_owned(),
        None => endpoint.addresses.join(","),
    }
}

pub(super) fn wire_ports(ports: &[Port]) -> Option<Vec<EndpointPort>> {
    let wire = |port: &Port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    };
    (!ports.is_empty()).then(|| ports.iter().map(wire).collect())
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
        port: port.port.unwrap_or(0),
        app_protocol: port.app_protocol.clone(),
    };
    let mut ports: Vec<Port> = slice.ports.iter().flatten().map(port).collect();
    ports.sort();
    ports
}

/// `blank` is a slice without endpoints, ports and name, with the metadata that each should have.
pub(super) fn plan(wanted: &Wanted, existing: Vec<EndpointSlice>, blank: &EndpointSlice) -> Plan {
    let mut plan = Plan::default();
    let mut by_group: BTreeMap<(String, Vec<Port>), Vec<EndpointSlice>> = BTreeMap::new();
    for slice in existing {
        by_group.entry((slice.address_type.clone(), ports_of(&slice))).or_default().push(slice);
    }
    for (group, endpoints) in &wanted.groups {
        let slices = by_group.remove(group).unwrap_or_default();
        plan_group(group, endpoints, slices, blank, &mut plan);
    }
    // What is left belongs to ports or address types that are not wanted any more.
    plan.delete.extend(by_group.into_values().flatten());
    plan
}

fn plan_group(
    (address_type, ports): &(String, Vec<Port>),
    endpoints: &[Endpoint],
    slices: Vec<EndpointSlice>,
    blank: &EndpointSlice,
    plan: &mut Plan,
) {
    let mut missing: HashMap<String, &Endpoint> = endpoints.iter().map(|e| (identity(e), e)).collect();
    let mut kept: Vec<(EndpointSlice, EndpointSlice)> = Vec::new();
    for slice in slices {
        let mut next = slice.clone();
        let present = slice.endpoints.iter().flatten();
        let endpoints = present.filter_map(|endpoint| missing.remove(&identity(endpoint)).cloned()).collect();
        next.endpoints = Some(endpoints);
        kept.push((slice, next));
    }
    // In a stable order, so that equal input makes equal slices.
    let mut missing: Vec<&Endpoint> = missing.into_values().collect();
    missing.sort_by_key(|endpoint| identity(endpoint));
    // Slices that are written anyway are filled first, then the fullest.
    kept.sort_by_key(|(old, next)| {
        let len = next.endpoints.as_ref().map_or(0, Vec::len);
        (old.endpoints.as_ref().map_or(0, Vec::len) == len, std::cmp::Reverse(len))
    });
    let mut missing = missing.into_iter().cloned().peekable();
    for (_, next) in &mut kept {
        let list = next.endpoints.get_or_insert_default();
        while list.len() < PER_SLICE_MAX && missing.peek().is_some() {
            list.extend(missing.next());
        }
    }
    while missing.peek().is_some() {
        let mut slice = blank.clone();
        slice.address_type.clone_from(address_type);
        slice.ports = wire_ports(ports);
        slice.endpoints = Some(missing.by_ref().take(PER_SLICE_MAX).collect());
        plan.create.push(slice);
    }
    finish_group(kept, blank, address_type, ports, endpoints.is_empty(), plan);
}

/// Writes what changed and deletes what became empty. One empty slice stays where nothing else would: it says that there
/// is nothing.
fn finish_group(
    kept: Vec<(EndpointSlice, EndpointSlice)>,
    blank: &EndpointSlice,
    address_type: &str,
    ports: &[Port],
    nothing: bool,
    plan: &mut Plan,
) {
    let mut placeholder = !nothing;
    for (old, mut next) in kept {
        let empty = next.endpoints.as_ref().is_none_or(Vec::is_empty);
        if empty && placeholder {
            plan.delete.push(old);
            continue;
        }
        placeholder |= empty;
        dress(&mut next, blank);
        if !crate::template::equal(&old, &next) {
            plan.update.push(next);
        }
    }
    if !placeholder {
        let mut slice = blank.clone();
        slice.address_type = address_type.to_owned();
        slice.ports = wire_ports(ports);
        slice.endpoints = Some(Vec::new());
        plan.create.push(slice);
    }
}

/// Gives an existing slice the labels and owner that slices of the service have now.
fn dress(slice: &mut EndpointSlice, blank: &EndpointSlice) {
    slice.metadata.labels.clone_from(&blank.metadata.labels);
    slice.metadata.owner_references.clone_from(&blank.metadata.owner_references);
    for (key, value) in blank.metadata.annotations.iter().flatten() {
        slice.metadata.annotations.get_or_insert_default().insert(key.clone(), value.clone());
    }
}

/// One endpoint of a pod.
pub(super) struct OfPod<'a> {
    pub pod: &'a crate::pod::SlimPod,
    pub publish_not_ready: bool,
    pub service_name: &'a str,
    pub zone: Option<String>,
}

impl OfPod<'_> {
    pub(super) fn endpoint(&self, address_type: &str) -> Option<Endpoint> {
        let pod = self.pod;
        let addresses: Vec<String> =
            pod.ips.iter().filter(|ip| super::is_of_type(ip, address_type)).map(|ip| ip.to_string()).collect();
        if addresses.is_empty() || pod.is_finished() {
            return None;
        }
        let (serving, terminating) = (pod.is_ready(), pod.is_deleting());
        let ready = self.publish_not_ready || (serving && !terminating);
        let named = !pod.hostname.is_empty() && pod.subdomain == self.service_name;
        Some(Endpoint {
            addresses,
            conditions: Some(EndpointConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            hostname: named.then(|| pod.hostname.to_string()),
            node_name: (!pod.node_name.is_empty()).then(|| pod.node_name.to_string()),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some(pod.namespace.to_string()),
                name: Some(pod.name.to_string()),
                uid: Some(pod.uid.to_string()),
                ..ObjectReference::default()
            }),
            zone: self.zone.clone(),
            ..Endpoint::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(i: usize, ready: bool) -> Endpoint {
        serde_json::from_value(json!({
            "addresses": [format!("10.0.{}.{}", i / 250, i % 250)], "conditions": { "ready": ready },
            "targetRef": { "uid": format!("{i:04}") }
        }))
        .unwrap()
    }

    fn port(number: i32) -> Port {
        Port { name: "http".into(), protocol: "TCP".into(), port: number, app_protocol: None }
    }

    fn wanted(number: i32, endpoints: Vec<Endpoint>) -> Wanted {
        Wanted { groups: BTreeMap::from([(("IPv4".to_owned(), vec![port(number)]), endpoints)]) }
    }

    fn blank() -> EndpointSlice {
        serde_json::from_value(json!({ "addressType": "", "metadata": { "labels": { "a": "b" } } })).unwrap()
    }

    fn sizes(slices: &[EndpointSlice]) -> Vec<usize> {
        slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect()
    }

    #[test]
    fn slices_fill_up_and_then_more_are_made() {
        let all: Vec<_> = (0..250).map(|i| endpoint(i, true)).collect();
        let first = plan(&wanted(80, all.clone()), Vec::new(), &blank());
        assert_eq!(sizes(&first.create), [100, 100, 50]);
        // Nothing changed: nothing is written.
        let same = plan(&wanted(80, all.clone()), first.create.clone(), &blank());
        assert_eq!((same.create.len(), same.update.len(), same.delete.len()), (0, 0, 0));
        // One became unready: one slice is written.
        let mut changed = all.clone();
        changed[7] = endpoint(7, false);
        assert_eq!(plan(&wanted(80, changed), first.create.clone(), &blank()).update.len(), 1);
        // One went and another came: they share one write.
        let mut moved = all;
        moved[7] = endpoint(300, true);
        let next = plan(&wanted(80, moved), first.create.clone(), &blank());
        assert_eq!((next.create.len(), sizes(&next.update), next.delete.len()), (0, vec![100], 0));
        // All went: one empty slice stays.
        let none = plan(&wanted(80, Vec::new()), first.create, &blank());
        assert_eq!((none.create.len(), sizes(&none.update), none.delete.len()), (0, vec![0], 2));
    }

    #[test]
    fn nothing_is_said_by_one_empty_slice() {
        let plan = plan(&wanted(80, Vec::new()), Vec::new(), &blank());
        assert_eq!(sizes(&plan.create), [0]);
    }

    #[test]
    fn other_ports_are_other_slices() {
        let first = plan(&wanted(80, vec![endpoint(1, true)]), Vec::new(), &blank());
        let next = plan(&wanted(81, vec![endpoint(1, true)]), first.create, &blank());
        assert_eq!((sizes(&next.create), next.update.len(), sizes(&next.delete)), (vec![1], 0, vec![1]));
    }

    #[test]
    fn new_labels_are_written_to_every_slice() {
        let first = plan(&wanted(80, vec![endpoint(1, true)]), Vec::new(), &blank());
        let mut relabeled = blank();
        relabeled.metadata.labels.as_mut().unwrap().insert("c".into(), "d".into());
        let next = plan(&wanted(80, vec![endpoint(1, true)]), first.create, &relabeled);
        assert_eq!(next.update[0].metadata.labels, relabeled.metadata.labels);
    }
}
