//! Choosing what a Service is given.

use std::net::Ipv4Addr;
use std::sync::Arc;

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use serde_json::{Value, json};

use super::fields::{held_by, needs_address, needs_health_port, needs_node_ports, ports_mut, spec};
use super::{Held, Reservation, ServiceOptions, Shared};

/// Gives `service` what it lacks; `had` is what it has already.
pub(super) fn settle(shared: &Arc<Shared>, service: &mut Value, had: Vec<Held>) -> ApiResult<Reservation> {
    let reservation = Reservation { shared: Some(shared.clone()), taken: Vec::new(), given_up: Vec::new() };
    let mut work = Work { shared, had, reservation, errors: Vec::new() };
    work.settle_families(service);
    work.settle_address(service);
    work.settle_ports(service);
    work.settle_health_port(service);
    if !work.errors.is_empty() {
        return Err(ApiError::invalid(&GroupVersionKind::new("", "v1", "Service"), service.name(), &work.errors));
    }
    let has = held_by(service);
    let Work { mut reservation, had, .. } = work;
    reservation.given_up = had.into_iter().filter(|held| !has.contains(held)).collect();
    Ok(reservation)
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
            format!(
                "failed to allocate IP {text}: the provided IP ({text}) is not in the valid range. The range of valid \
                 IPs is {options}"
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
