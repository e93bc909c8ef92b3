//! Services: their addresses out of the service ranges and their ports on every node.
//!
//! Each address is an IPAddress object, so what is taken is stored. Ports stand in the Services themselves; their bitmap is
//! rebuilt from those at start. A write takes what it needs before the commit and gives it back if the commit fails; what
//! an interrupted one leaves behind, the repair finds. Start reading at [`Allocations::begin`].

mod addresses;
mod fields;
mod ranges;
mod repair;
mod settle;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apimachinery::{ApiError, ApiResult};
use apis::resource::Resource;
use serde_json::Value;
use storage::{ListOptions, Storage, StoredObject};

use crate::bitmap::Bitmap;
use crate::call::Call;
use crate::rows::Rows;

use addresses::{Holder, Ledger};
use fields::held_by;
use ranges::Ranges;

const SERVICES: &str = "/registry/core/services/";
/// The ServiceCIDR of [`ServiceOptions`].
const DEFAULT_CIDR: &str = "kubernetes";

/// The ranges that Services are given addresses and ports from.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    pub network: Ipv4Addr,
    pub prefix_length: u8,
    /// Addresses that are handed out only when asked for: cluster DNS.
    pub reserved: Vec<Ipv4Addr>,
    pub node_port_first: u16,
    pub node_port_last: u16,
}

impl ServiceOptions {
    /// The address of the `kubernetes` Service: the first of the range.
    pub fn first_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }
}

impl std::fmt::Display for ServiceOptions {
    /// The range of addresses: `10.43.0.0/16`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_length)
    }
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 43, 0, 0),
            prefix_length: 16,
            reserved: vec![Ipv4Addr::new(10, 43, 0, 10)],
            node_port_first: 30000,
            node_port_last: 32767,
        }
    }
}

/// What is taken.
pub struct Allocations(Arc<Shared>);

struct Shared {
    options: ServiceOptions,
    storage: Storage,
    ledger: Ledger,
    ports: Mutex<Bitmap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Address(IpAddr),
    Port(u16),
}

/// What one write took and gives up. Whoever cannot know whether it happened drops this: ports come back at once,
/// addresses when the repair sees that nobody has them.
#[derive(Default)]
pub struct Reservation {
    shared: Option<Arc<Shared>>,
    holder: Holder,
    taken: Vec<Held>,
    given_up: Vec<Held>,
}

impl Reservation {
    fn new(shared: Arc<Shared>, holder: Holder) -> Self {
        Self { shared: Some(shared), holder, taken: Vec::new(), given_up: Vec::new() }
    }

    /// The write is durable: what it took stays taken.
    pub async fn commit(mut self) {
        self.taken.clear();
        let given_up = std::mem::take(&mut self.given_up);
        self.free(given_up).await;
    }

    /// The write did not happen: what it took is given back.
    pub async fn abandon(mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.free(taken).await;
    }

    async fn free(&self, held: Vec<Held>) {
        if let Some(shared) = &self.shared {
            shared.free(held, &self.holder).await;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(shared) = &self.shared else { return };
        for held in self.taken.drain(..) {
            if let Held::Port(port) = held {
                shared.free_port(port);
            }
        }
    }
}

impl Shared {
    fn ports(&self) -> MutexGuard<'_, Bitmap> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_port(&self, port: u16) -> bool {
        let offset = port.checked_sub(self.options.node_port_first);
        offset.is_some_and(|n| self.ports().take(n.into()))
    }

    fn free_port(&self, port: u16) {
        if let Some(offset) = port.checked_sub(self.options.node_port_first) {
            self.ports().free(offset.into());
        }
    }

    async fn free(&self, held: Vec<Held>, holder: &Holder) {
        for one in held {
            match one {
                Held::Port(port) => self.free_port(port),
                Held::Address(address) => {
                    if let Err(error) = self.ledger.give_back(address, holder).await {
                        tracing::warn!(%address, %error, "an address of a service could not be given back yet");
                    }
                }
            }
        }
    }

    fn stored_services(&self) -> ApiResult<Vec<StoredObject>> {
        let page = self.storage.list(SERVICES, &ListOptions::default());
        Ok(page.map_err(crate::errors::from_storage)?.items)
    }
}

impl Allocations {
    pub fn new(options: ServiceOptions, storage: Storage, rows: &Rows) -> ApiResult<Self> {
        let missing = || ApiError::internal("ipaddresses are not served");
        let row = rows.newest("networking.k8s.io", "ipaddresses").ok_or_else(missing)?.resource;
        let ports = u32::from(options.node_port_last.saturating_sub(options.node_port_first)) + 1;
        let ports = Mutex::new(Bitmap::new(ports, (ports / 32).clamp(16, 128)));
        let ledger = Ledger::new(storage.clone(), row);
        Ok(Self(Arc::new(Shared { options, storage, ledger, ports })))
    }

    pub fn options(&self) -> &ServiceOptions {
        &self.0.options
    }

    /// Takes the ports that the stored Services have.
    pub fn load(&self) -> ApiResult<()> {
        for stored in self.0.stored_services()? {
            for held in held_by(&stored.decode()) {
                if let Held::Port(port) = held {
                    self.0.take_port(port);
                }
            }
        }
        Ok(())
    }

    /// Gives the Service in `object` the addresses and ports it lacks. Other resources pass.
    pub async fn begin(&self, call: &Call<'_>, object: &mut Value, old: Option<&Value>) -> ApiResult<Reservation> {
        if call.resource.plural != "services" || !call.resource.group.is_empty() || !call.subresource.is_empty() {
            return Ok(Reservation::default());
        }
        settle::settle(&self.0, object, old.map(held_by).unwrap_or_default(), call.dry_run).await
    }

    /// Gives back what a deleted Service had.
    pub async fn release(&self, resource: &Resource, stored: &StoredObject) {
        if resource.plural == "services" && resource.group.is_empty() {
            let service = stored.decode();
            self.0.free(held_by(&service), &Holder::of(&service)).await;
        }
    }
}
