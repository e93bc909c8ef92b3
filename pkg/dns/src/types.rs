//! The fields of Services and EndpointSlices that names are made of.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub resource_version: String,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    pub metadata: Metadata,
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    pub external_name: String,
    pub ports: Vec<Port>,
}

/// A port of a Service or of a slice.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Port {
    pub name: String,
    pub protocol: String,
    pub port: Option<u16>,
}

impl Service {
    /// The addresses of the Service itself; none for headless and ExternalName.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let single = std::slice::from_ref(&self.spec.cluster_ip);
        let texts = if self.spec.cluster_ips.is_empty() { single } else { &self.spec.cluster_ips };
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EndpointSlice {
    pub metadata: Metadata,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<Port>,
}

impl EndpointSlice {
    pub fn service(&self) -> Option<&str> {
        self.metadata.labels.get("kubernetes.io/service-name").map(String::as_str)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    pub addresses: Vec<String>,
    pub conditions: Conditions,
    pub hostname: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    pub ready: Option<bool>,
}

impl Endpoint {
    /// Whether it has names. (`publishNotReadyAddresses` makes its endpoints ready already in the slice.)
    pub fn is_ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().filter_map(|text| text.parse().ok())
    }

    /// Its label below the Service's name: the host name or, without one, the address with dashes.
    pub fn label(&self, address: IpAddr) -> String {
        if self.hostname.is_empty() { address.to_string().replace(['.', ':'], "-") } else { self.hostname.clone() }
    }
}

client::cached!(Service, "", "v1", "services", at metadata);

client::cached!(EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", at metadata);
