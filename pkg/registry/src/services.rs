//! Services: their addresses out of the service CIDR and their ports on every node.
//!
//! What is taken stands in the Services themselves; the bitmaps here are rebuilt from them at start. A write takes what it
//! needs before the commit and gives it back if the commit fails.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use apis::resource::Resource;
use serde_json::{Value, json};
use storage::{ListOptions, Storage, StoredObject};

use crate::bitmap::Bitmap;
use crate::call::Call;

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
        if call.resource.plural != "services" || !call.resource.group.is_empty() || call.subresource != "" {
            return Ok(Reservation::default());
        }
        let mut work = Work {
            shared: &self.0,
            had: old.map(held_by).unwrap_or_default(),
            reservation: Reservation { shared: Some(self.0.clone()), taken: Vec::new(), given_up: Vec::new() },
            errors: Vec::new(),
        };
        work.settle_families(object);
        work.settle_address(object);
        work.settle_ports(object);
        work.settle_health_port(object);
        if !work.errors.is_empty() {
            return Err(ApiError::invalid(&GroupVersionKind::new("", "v1", "Service"), object.name(), &work.errors));
        }
        let has = held_by(object);
        let Work { mut reservation, had, .. } = work;
        reservation.given_up = had.into_iter().filter(|held| !has.contains(held)).collect();
        Ok(reservation)
    }

    /// Gives back what a deleted Service had.
    pub fn release(&self, resource: &Resource, stored: &StoredObject) {
        if resource.plural == "services" && resource.group.is_empty() {
            held_by(&stored.decode()).into_iter().for_each(|held| self.0.free(held));
        }
    }
}

/// On update, what a client left out stays as it was given: addresses by service, node ports by port and protocol.
pub fn keep_allocated(new: &mut Value, old: &Value) {
    if needs_address(new) && needs_address(old) {
        for field in ["clusterIP", "clusterIPs"] {
            let missing = match new.at("spec").and_then(|s| s.get(field)) {
                Some(Value::String(text)) => text.is_empty(),
                Some(Value::Array(list)) => list.is_empty(),
                _ => true,
            };
            if let (true, Some(value)) = (missing, old.at("spec").and_then(|s| s.get(field))) {
                spec(new).insert(field.to_owned(), value.clone());
            }
        }
    }
    if needs_node_ports(old) {
        let keep = needs_node_ports(new);
        let old_ports = old.array_at("spec/ports").to_vec();
        for port in ports_mut(new) {
            let same = old_ports.iter().find(|o| key_of(o) == key_of(port)).and_then(|o| o.get("nodePort"));
            match (keep, port.get("nodePort").and_then(Value::as_i64).unwrap_or(0)) {
                (true, 0) => drop(same.map(|n| object_mut(port).insert("nodePort".to_owned(), n.clone()))),
                // The type no longer has node ports: those that only stayed in the object go.
                (false, n) if same.and_then(Value::as_i64) == Some(n) => drop(object_mut(port).remove("nodePort")),
                _ => {}
            }
        }
    }
    if needs_health_port(old) && needs_health_port(new) && new.i64_at("spec/healthCheckNodePort").unwrap_or(0) == 0 {
        if let Some(port) = old.at("spec/healthCheckNodePort") {
            spec(new).insert("healthCheckNodePort".to_owned(), port.clone());
        }
    }
    if !needs_address(new) && needs_address(old) {
        for field in ["clusterIP", "clusterIPs"] {
            if new.at("spec").and_then(|s| s.get(field)) == old.at("spec").and_then(|s| s.get(field)) {
                spec(new).remove(field);
            }
        }
        spec(new).remove("ipFamilies");
        spec(new).remove("ipFamilyPolicy");
    }
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    had: Vec<Held>,
    reservation: Reservation,
    errors: field::ErrorList,
}

impl Work<'_> {
    fn settle_families(&self, service: &mut Value) {
        if !needs_address(service) {
            return;
        }
        let selectorless = service.at("spec/selector").and_then(Value::as_object).is_none_or(|m| m.is_empty());
        let headless = service.str_at("spec/clusterIP") == "None";
        let both = headless && selectorless && service.str_at("spec/ipFamilyPolicy").is_empty();
        let spec = spec(service);
        let policy = if both { "RequireDualStack" } else { "SingleStack" };
        spec.entry("ipFamilyPolicy").or_insert_with(|| policy.into());
        let families = if both { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
        spec.entry("ipFamilies").or_insert(families);
    }

    fn settle_address(&mut self, service: &mut Value) {
        if !needs_address(service) {
            return;
        }
        let listed = service.array_at("spec/clusterIPs").first().and_then(Value::as_str).unwrap_or("");
        let single = service.str_at("spec/clusterIP");
        let wanted = if single.is_empty() { listed } else { single }.to_owned();
        let address = match wanted.as_str() {
            "None" => "None".to_owned(),
            "" => match self.any_address() {
                Some(address) => address.to_string(),
                None => return,
            },
            text => {
                self.certain_address(text);
                text.to_owned()
            }
        };
        spec(service).insert("clusterIPs".to_owned(), json!([address]));
        spec(service).insert("clusterIP".to_owned(), address.into());
    }

    fn any_address(&mut self) -> Option<Ipv4Addr> {
        let offset = self.shared.lock().addresses.take_any();
        let Some(offset) = offset else {
            let path = field::Path::new("spec").child("clusterIPs");
            self.errors.push(field::Error::internal(&path, "failed to allocate a serviceIP: range is full"));
            return None;
        };
        let address = Ipv4Addr::from(u32::from(self.shared.options.network) + offset);
        self.reservation.taken.push(Held::Address(address));
        Some(address)
    }

    fn certain_address(&mut self, text: &str) {
        let path = field::Path::new("spec").child("clusterIPs");
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            let why = format!("failed to allocate IP {text}: no IPv6 addresses are served");
            self.errors.push(field::Error::invalid(&path, json!([text]), why));
            return;
        };
        let held = Held::Address(address);
        if self.had.contains(&held) {
            return;
        }
        let options = &self.shared.options;
        let why = if !self.shared.is_in_range(address) {
            let range = format!("{}/{}", options.network, options.prefix_length);
            format!(
                "failed to allocate IP {text}: the provided IP ({text}) is not in the valid range. The range of valid \
                 IPs is {range}"
            )
        } else if self.shared.take(held) {
            self.reservation.taken.push(held);
            return;
        } else {
            format!("failed to allocate IP {text}: provided IP is already allocated")
        };
        self.errors.push(field::Error::invalid(&path, json!([text]), why));
    }

    fn settle_ports(&mut self, service: &mut Value) {
        if !needs_node_ports(service) {
            return;
        }
        let allocate = service.str_at("spec/type") != "LoadBalancer"
            || service.at("spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool) != Some(false);
        // One service may use a node port for several protocols.
        let mut mine: Vec<(i64, u16)> = Vec::new();
        for (index, port) in ports_mut(service).iter_mut().enumerate() {
            let wanted = port.i64_at("nodePort").unwrap_or(0);
            let number = port.i64_at("port").unwrap_or(0);
            let path = || field::Path::new("spec").child("ports").index(index).child("nodePort");
            let given = if wanted != 0 {
                match u16::try_from(wanted) {
                    Ok(wanted) if mine.iter().any(|(_, p)| *p == wanted) => Ok(wanted),
                    Ok(wanted) => self.certain_port(wanted),
                    Err(_) => Err(self.out_of_range()),
                }
            } else if !allocate {
                continue;
            } else if let Some((_, shared)) = mine.iter().find(|(n, _)| *n == number) {
                Ok(*shared)
            } else {
                self.any_port()
            };
            match given {
                Ok(given) => {
                    mine.push((number, given));
                    object_mut(port).insert("nodePort".to_owned(), given.into());
                }
                Err(why) => self.errors.push(field::Error::invalid(&path(), wanted, why)),
            }
        }
    }

    fn settle_health_port(&mut self, service: &mut Value) {
        if !needs_health_port(service) {
            return;
        }
        let wanted = service.i64_at("spec/healthCheckNodePort").unwrap_or(0);
        let given = match u16::try_from(wanted) {
            Ok(0) => self.any_port(),
            Ok(wanted) => self.certain_port(wanted),
            Err(_) => Err(self.out_of_range()),
        };
        match given {
            Ok(port) => drop(spec(service).insert("healthCheckNodePort".to_owned(), port.into())),
            Err(why) => {
                let path = field::Path::new("spec").child("healthCheckNodePort");
                self.errors.push(field::Error::invalid(&path, wanted, why));
            }
        }
    }

    fn any_port(&mut self) -> Result<u16, String> {
        let offset = self.shared.lock().ports.take_any();
        let offset = offset.and_then(|n| u16::try_from(n).ok());
        let offset = offset.ok_or_else(|| "failed to allocate a nodePort: range is full".to_owned())?;
        let port = self.shared.options.node_port_first + offset;
        self.reservation.taken.push(Held::Port(port));
        Ok(port)
    }

    fn certain_port(&mut self, port: u16) -> Result<u16, String> {
        let held = Held::Port(port);
        let options = &self.shared.options;
        if self.had.contains(&held) {
            return Ok(port);
        }
        if port < options.node_port_first || port > options.node_port_last {
            return Err(self.out_of_range());
        }
        if !self.shared.take(held) {
            return Err("provided port is already allocated".to_owned());
        }
        self.reservation.taken.push(held);
        Ok(port)
    }

    fn out_of_range(&self) -> String {
        let ServiceOptions { node_port_first, node_port_last, .. } = self.shared.options;
        format!(
            "provided port is not in the valid range. The range of valid ports is {node_port_first}-{node_port_last}"
        )
    }
}

fn held_by(service: &Value) -> Vec<Held> {
    let addresses = service.array_at("spec/clusterIPs").iter().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|text| text.parse().ok()).map(Held::Address);
    let ports = service.array_at("spec/ports").iter().filter_map(|port| port.i64_at("nodePort"));
    let ports = ports.chain(service.i64_at("spec/healthCheckNodePort"));
    let ports = ports.filter_map(|n| u16::try_from(n).ok()).filter(|n| *n > 0).map(Held::Port);
    let mut held: Vec<Held> = Vec::new();
    for one in addresses.chain(ports) {
        if !held.contains(&one) {
            held.push(one);
        }
    }
    held
}

fn needs_address(service: &Value) -> bool {
    service.str_at("spec/type") != "ExternalName"
}

fn needs_node_ports(service: &Value) -> bool {
    matches!(service.str_at("spec/type"), "NodePort" | "LoadBalancer")
}

fn needs_health_port(service: &Value) -> bool {
    service.str_at("spec/type") == "LoadBalancer" && service.str_at("spec/externalTrafficPolicy") == "Local"
}

fn spec(service: &mut Value) -> &mut serde_json::Map<String, Value> {
    object_mut(object_mut(service).entry("spec").or_insert(Value::Null))
}

fn ports_mut(service: &mut Value) -> &mut [Value] {
    match spec(service).get_mut("ports") {
        Some(Value::Array(ports)) => ports,
        _ => &mut [],
    }
}

/// What tells the ports of a service apart.
fn key_of(port: &Value) -> (i64, &str) {
    let protocol = port.str_at("protocol");
    (port.i64_at("port").unwrap_or(0), if protocol.is_empty() { "TCP" } else { protocol })
}
