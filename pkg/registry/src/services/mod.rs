//! Services: their addresses out of the service CIDR and their ports on every node.
//!
//! What is taken stands in the Services themselves; the bitmaps here are rebuilt from them at start. A write takes what it
//! needs before the commit and gives it back if the commit fails. Start reading at [`Allocations::begin`].

mod fields;
mod settle;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apimachinery::ApiResult;
use apis::resource::Resource;
use serde_json::Value;
use storage::{ListOptions, Storage, StoredObject};

use crate::bitmap::Bitmap;
use crate::call::Call;

use fields::held_by;

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
    state: Mutex<State>,
}

struct State {
    addresses: Bitmap,
    ports: Bitmap,
    /// Those of the reserved addresses that a Service has.
    reserved_taken: Vec<Ipv4Addr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Address(Ipv4Addr),
    Port(u16),
}

/// What one write took and gives up. Dropped without [`Self::commit`], it gives back what it took.
#[derive(Default)]
pub struct Reservation {
    shared: Option<Arc<Shared>>,
    taken: Vec<Held>,
    given_up: Vec<Held>,
}

impl Reservation {
    /// The write is durable: what it took stays taken.
    pub fn commit(mut self) {
        self.taken.clear();
        if let Some(shared) = &self.shared {
            self.given_up.drain(..).for_each(|held| shared.free(held));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            self.taken.drain(..).for_each(|held| shared.free(held));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        u32::from(address).checked_sub(u32::from(self.options.network))
    }

    fn take(&self, held: Held) -> bool {
        match held {
            Held::Address(address) if self.options.reserved.contains(&address) => {
                let taken = &mut self.lock().reserved_taken;
                let free = !taken.contains(&address);
                if free {
                    taken.push(address);
                }
                free
            }
            Held::Address(address) => self.offset(address).is_some_and(|n| self.lock().addresses.take(n)),
            Held::Port(port) => {
                let offset = port.checked_sub(self.options.node_port_first);
                offset.is_some_and(|n| self.lock().ports.take(n.into()))
            }
        }
    }

    fn free(&self, held: Held) {
        match held {
            Held::Address(address) if self.options.reserved.contains(&address) => {
                self.lock().reserved_taken.retain(|taken| *taken != address);
            }
            Held::Address(address) => {
                if let Some(offset) = self.offset(address) {
                    self.lock().addresses.free(offset);
                }
            }
            Held::Port(port) => {
                if let Some(offset) = port.checked_sub(self.options.node_port_first) {
                    self.lock().ports.free(offset.into());
                }
            }
        }
    }

    fn is_in_range(&self, address: Ipv4Addr) -> bool {
        // Neither the network's own address nor its last one.
        self.offset(address).is_some_and(|n| n > 0 && n < self.lock().addresses.size() - 1)
    }
}

impl Allocations {
    pub fn new(options: ServiceOptions) -> Self {
        let size = 1u32 << (32 - u32::from(options.prefix_length.clamp(12, 30)));
        let mut addresses = Bitmap::new(size, (size / 16).clamp(16, 256));
        addresses.take(0);
        addresses.take(size - 1);
        let network = u32::from(options.network);
        for address in &options.reserved {
            addresses.take(u32::from(*address).wrapping_sub(network));
        }
        let ports = u32::from(options.node_port_last.saturating_sub(options.node_port_first)) + 1;
        let ports = Bitmap::new(ports, (ports / 32).clamp(16, 128));
        Self(Arc::new(Shared { options, state: Mutex::new(State { addresses, ports, reserved_taken: Vec::new() }) }))
    }

    pub fn options(&self) -> &ServiceOptions {
        &self.0.options
    }

    /// Takes what the stored Services have.
    pub fn load(&self, storage: &Storage) -> ApiResult<()> {
        let page = storage.list("/registry/core/services/", &ListOptions::default());
        for stored in page.map_err(crate::errors::from_storage)?.items {
            for held in held_by(&stored.decode()) {
                self.0.take(held);
            }
        }
        Ok(())
    }

    /// Gives the Service in `object` the addresses and ports it lacks. Other resources pass.
    pub fn begin(&self, call: &Call<'_>, object: &mut Value, old: Option<&Value>) -> ApiResult<Reservation> {
        if call.resource.plural != "services" || !call.resource.group.is_empty() || !call.subresource.is_empty() {
            return Ok(Reservation::default());
        }
        settle::settle(&self.0, object, old.map(held_by).unwrap_or_default())
    }

    /// Gives back what a deleted Service had.
    pub fn release(&self, resource: &Resource, stored: &StoredObject) {
        if resource.plural == "services" && resource.group.is_empty() {
            held_by(&stored.decode()).into_iter().for_each(|held| self.0.free(held));
        }
    }
}
