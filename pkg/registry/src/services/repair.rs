//! Makes the IPAddress objects and the Services say the same again, after a crash between the writes of the two, after
//! somebody changed one by hand, or when they come from a time before there were such objects.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiResult, UserInfo};
use component_base::Shutdown;
use serde_json::{Value, json};
use storage::StoredObject;

use super::addresses::{Holder, MANAGED_BY, MANAGER, has_right_labels};
use super::{Ranges, Shared};
use crate::call::{Call, NoAdmission};
use crate::{Registry, metadata};

const INTERVAL: Duration = Duration::from_secs(180);
/// An address may be written so much earlier than its Service.
const GRACE_SECONDS: i64 = 60;
const REPORTER: &str = "ipallocator-repair-controller";

const NOT_ALLOCATED: &str = "ClusterIPNotAllocated";

/// All Services, by namespace and name.
type Services = HashMap<(String, String), Value>;

/// What was found, told as an Event about an object.
struct Finding<'a> {
    about: &'a Value,
    reason: &'static str,
    action: &'static str,
    note: String,
}

impl Registry {
    /// Repairs the addresses of Services again and again; ends with `shutdown`.
    pub async fn keep_service_addresses(&self, shutdown: Shutdown) {
        while shutdown.race(tokio::time::sleep(INTERVAL)).await.is_some() {
            if let Err(error) = self.repair_service_addresses().await {
                tracing::warn!(%error, "the addresses of services could not be repaired");
            }
        }
    }

    /// Writes the IPAddress objects that Services lack, and removes those that nobody has.
    pub async fn repair_service_addresses(&self) -> ApiResult<()> {
        let shared = &*self.services.0;
        // Addresses first: one that is written later is not judged by the older list of Services.
        let addresses = shared.ledger.all()?;
        let ranges = Ranges::read(&shared.storage, &shared.options)?;
        let mut holders = Services::new();
        for service in shared.stored_services()?.iter().map(StoredObject::decode) {
            holders.insert((service.namespace().to_owned(), service.name().to_owned()), service);
        }
        for service in holders.values() {
            self.repair_service(shared, &ranges, &holders, service).await?;
        }
        for listed in addresses {
            let object = listed.decode();
            // What changed meanwhile, by the repair above or by others, is for the next time.
            let same = shared.ledger.stored(object.name()).is_some_and(|now| now.revision() == listed.revision());
            let manager = object.labels().and_then(|labels| labels.get(MANAGED_BY)?.as_str());
            if same && manager == Some(MANAGER) {
                self.repair_address(shared, &holders, &object).await?;
            }
        }
        Ok(())
    }

    async fn repair_service(
        &self,
        shared: &Shared,
        ranges: &Ranges,
        services: &Services,
        service: &Value,
    ) -> ApiResult<()> {
        let holder = Holder::of(service);
        let addresses = service.array_at("spec/clusterIPs").iter().filter_map(Value::as_str);
        for address in addresses.filter_map(|text| text.parse::<IpAddr>().ok()) {
            let stored = shared.ledger.get(address);
            let Some((reason, note)) = judge(ranges, services, &holder, address, stored) else { continue };
            // It may have changed since it was listed.
            let now = self.read("", "services", &holder.namespace, &holder.name);
            if !now.is_some_and(|service| has(&service, address)) {
                continue;
            }
            if !note.is_empty() {
                self.tell(Finding { about: service, reason, action: "ClusterIPAllocation", note }).await;
            }
            if reason == NOT_ALLOCATED {
                shared.ledger.correct(address, &holder).await?;
            }
        }
        Ok(())
    }

    async fn repair_address(&self, shared: &Shared, services: &Services, object: &Value) -> ApiResult<()> {
        let Ok(address) = object.name().parse::<IpAddr>() else { return Ok(()) };
        let uid = object.uid();
        let (reason, note) = match Holder::named_by(object) {
            None => (
                "IPAddressNotAllocated",
                format!("IPAddress {address} appears to have been modified, not referencing a Service: cleaning up"),
            ),
            Some(holder) => {
                let Holder { namespace, name } = &holder;
                let service = services.get(&(namespace.clone(), name.clone()));
                if service.is_some_and(|service| has(service, address)) || is_young(object) {
                    return Ok(());
                }
                match service {
                    None => (
                        "IPAddressNotAllocated",
                        format!(
                            "IPAddress: {address} for Service {namespace}/{name} appears to have leaked: cleaning up"
                        ),
                    ),
                    Some(_) => (
                        "IPAddressWrongReference",
                        format!(
                            "IPAddress: {address} for Service {namespace}/{name} has a wrong reference; cleaning up"
                        ),
                    ),
                }
            }
        };
        self.tell(Finding { about: object, reason, action: "IPAddressAllocation", note }).await;
        shared.ledger.remove_if(address, |current| current.uid() == uid).await
    }

    /// Writes an Event. Repairs go on without it.
    async fn tell(&self, finding: Finding<'_>) {
        let Finding { about, reason, action, note } = finding;
        tracing::warn!(reason, "{note}");
        let Some(found) = self.rows.newest("", "events") else { return };
        let namespace = if about.namespace().is_empty() { "default" } else { about.namespace() };
        let now = jiff::Timestamp::now();
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "namespace": namespace, "name": format!("{}.{:x}", about.name(), now.as_nanosecond()) },
            "involvedObject": {
                "apiVersion": about.api_version(), "kind": about.kind(), "namespace": about.namespace(),
                "name": about.name(), "uid": about.uid(), "resourceVersion": about.resource_version(),
            },
            "type": "Warning", "reason": reason, "message": note, "action": action,
            "eventTime": apimachinery::time::format_micro(now),
            "reportingComponent": REPORTER, "reportingInstance": format!("{REPORTER}-coracle"),
            "source": {}, "firstTimestamp": null, "lastTimestamp": null,
        });
        let call = Call {
            resource: found.resource,
            version: found.version,
            subresource: "",
            namespace,
            name: "",
            user: &UserInfo::new("system:apiserver", ["system:masters"]),
            field_manager: crate::managed::SERVER,
            dry_run: false,
            admission: &NoAdmission,
            warnings: std::sync::Mutex::default(),
        };
        if let Err(error) = self.create(&call, event).await {
            tracing::debug!(%error, reason, "an event was not written");
        }
    }
}

/// What is wrong with an address that a Service says it has: the reason for an Event and its text, which is empty if
/// nobody need know.
fn judge(
    ranges: &Ranges,
    services: &Services,
    holder: &Holder,
    address: IpAddr,
    stored: Option<StoredObject>,
) -> Option<(&'static str, String)> {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    if !ranges.contain(address) {
        let why = "is not within any configured Service CIDR; please recreate service";
        return Some(("ClusterIPOutOfRange", format!("Cluster IP [{family}]: {address} {why}")));
    }
    let Some(stored) = stored else {
        return Some((NOT_ALLOCATED, format!("Cluster IP [{family}]: {address} is not allocated; repairing")));
    };
    let object = stored.decode();
    let named = Holder::named_by(&object);
    if named.as_ref() == Some(holder) {
        return (!has_right_labels(&object)).then(|| (NOT_ALLOCATED, String::new()));
    }
    let other = named.and_then(|named| services.get(&(named.namespace, named.name)));
    if other.is_some_and(|other| has(other, address)) {
        let why = "was assigned to multiple services; please recreate service";
        return Some(("ClusterIPAlreadyAllocated", format!("Cluster IP [{family}]:{address} {why}")));
    }
    let Holder { namespace, name } = holder;
    let why = format!("for Service {namespace}/{name} has a wrong reference; repairing");
    Some((NOT_ALLOCATED, format!("the ClusterIP [{family}]: {address} {why}")))
}

fn has(service: &Value, address: IpAddr) -> bool {
    let listed = service.array_at("spec/clusterIPs").iter().filter_map(Value::as_str);
    listed.filter_map(|text| text.parse::<IpAddr>().ok()).any(|one| one == address)
}

/// True if the Service of this address may be on its way.
fn is_young(object: &Value) -> bool {
    let age = apimachinery::time::seconds_between(object.meta_str("creationTimestamp"), &metadata::now());
    age.is_some_and(|age| age <= GRACE_SECONDS)
}
