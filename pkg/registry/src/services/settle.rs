//! Choosing what a Service is given.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use apimachinery::meta::{ObjectExt as _, object_mut};
use apimachinery::{ApiError, ApiResult, GroupVersionKind, field};
use serde_json::{Value, json};

use super::fields::{held_by, needs_address, needs_health_port, needs_node_ports, ports_mut, spec};
use super::{Held, Holder, Ranges, Reservation, ServiceOptions, Shared};

/// Gives `service` what it lacks; `had` is what it has already. A dry run takes nothing.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    service: &mut Value,
    had: Vec<Held>,
    dry_run: bool,
) -> ApiResult<Reservation> {
    let reservation = Reservation::new(shared.clone(), Holder::of(service));
    let mut work = Work { shared, dry_run, had, reservation, errors: Vec::new() };
    let settled = work.settle_all(service).await;
    let Work { mut reservation, had, .. } = work;
    if dry_run || settled.is_err() {
        reservation.abandon().await;
        return settled.map(|()| Reservation::default());
    }
    let has = held_by(service);
    reservation.given_up = had.into_iter().filter(|held| !has.contains(held)).collect();
    Ok(reservation)
}

struct Work<'a> {
    shared: &'a Arc<Shared>,
    dry_run: bool,
    had: Vec<Held>,
    reservation: Reservation,
    errors: field::ErrorList,
}

impl Work<'_> {
    async fn settle_all(&mut self, service: &mut Value) -> ApiResult<()> {
        self.settle_families(service);
        self.settle_address(service).await?;
        self.settle_ports(service);
        self.settle_health_port(service);
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(&GroupVersionKind::new("", "v1", "Service"), service.name(), &self.errors))
    }

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

    async fn settle_address(&mut self, service: &mut Value) -> ApiResult<()> {
        if !needs_address(service) {
            return Ok(());
        }
        let listed = service.array_at("spec/clusterIPs").first().and_then(Value::as_str).unwrap_or("");
        let single = service.str_at("spec/clusterIP");
        let wanted = if single.is_empty() { listed } else { single }.to_owned();
        let address = match wanted.as_str() {
            "None" => "None".to_owned(),
            "" => match self.any_address().await? {
                Some(address) => address.to_string(),
                None => return Ok(()),
            },
            text => {
                self.certain_address(text).await?;
                text.to_owned()
            }
        };
        spec(service).insert("clusterIPs".to_owned(), json!([address]));
        spec(service).insert("clusterIP".to_owned(), address.into());
        Ok(())
    }

    async fn any_address(&mut self) -> ApiResult<Option<Ipv4Addr>> {
        let shared = self.shared;
        let ranges = Ranges::read(&shared.storage, &shared.options)?;
        for address in ranges.candidates().filter(|address| !shared.options.reserved.contains(address)) {
            if self.take(address.into()).await? {
                return Ok(Some(address));
            }
        }
        let path = field::Path::new("spec").child("clusterIPs");
        self.errors.push(field::Error::internal(&path, "failed to allocate a serviceIP: range is full"));
        Ok(None)
    }

    async fn certain_address(&mut self, text: &str) -> ApiResult<()> {
        let path = field::Path::new("spec").child("clusterIPs");
        let mut refuse = |why: String| self.errors.push(field::Error::invalid(&path, json!([text]), why));
        let Ok(address) = text.parse::<Ipv4Addr>() else {
            refuse(format!("failed to allocate IP {text}: no IPv6 addresses are served"));
            return Ok(());
        };
        if self.had.contains(&Held::Address(address.into())) {
            return Ok(());
        }
        if !Ranges::read(&self.shared.storage, &self.shared.options)?.may_give(address) {
            refuse(format!("failed to allocate IP {text}: the provided network does not match the current range"));
        } else if !self.take(address.into()).await? {
            let why = format!("failed to allocate IP {text}: provided IP is already allocated");
            self.errors.push(field::Error::invalid(&path, json!([text]), why));
        }
        Ok(())
    }

    /// False if somebody has `address`. A dry run only looks.
    async fn take(&mut self, address: IpAddr) -> ApiResult<bool> {
        let shared = self.shared;
        if shared.ledger.get(address).is_some() {
            return Ok(false);
        }
        if self.dry_run {
            return Ok(true);
        }
        let taken = shared.ledger.take(address, &self.reservation.holder).await?;
        if taken {
            self.reservation.taken.push(Held::Address(address));
        }
        Ok(taken)
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
        let offset = self.shared.ports().take_any();
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
        if !self.shared.take_port(port) {
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
