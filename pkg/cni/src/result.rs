//! The result of ADD in the form of the version that was asked for.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// An interface that the plugin made; `sandbox` is empty for the host's end.
pub struct Interface {
    pub name: String,
    pub mac: String,
    pub sandbox: String,
}

/// `address` belongs to the interface with index `interface`.
pub struct Attached {
    pub interfaces: Vec<Interface>,
    pub interface: usize,
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
}

impl Attached {
    pub fn to_json(&self, version: &str) -> Value {
        let interfaces = self.interfaces.iter().map(|i| {
            let mut value = json!({ "name": i.name, "mac": i.mac });
            if !i.sandbox.is_empty() {
                value["sandbox"] = i.sandbox.as_str().into();
            }
            value
        });
        let mut ip =
            json!({ "address": format!("{}/32", self.address), "gateway": self.gateway, "interface": self.interface });
        if version != "1.0.0" {
            ip["version"] = "4".into();
        }
        json!({
            "cniVersion": version,
            "interfaces": interfaces.collect::<Vec<_>>(),
            "ips": [ip],
            "routes": [{ "dst": "0.0.0.0/0", "gw": self.gateway }],
            "dns": {},
        })
    }
}

/// The result of the loopback plugin.
pub fn loopback(version: &str, sandbox: &str) -> Value {
    let mut ip = json!({ "address": "127.0.0.1/8", "interface": 0 });
    if version != "1.0.0" {
        ip["version"] = "4".into();
    }
    json!({
        "cniVersion": version,
        "interfaces": [{ "name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox }],
        "ips": [ip],
        "dns": {},
    })
}
