//! What the runtime hands over: the configuration on standard input and the request in the environment.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Versions of the specification whose result forms are known, oldest first.
pub const VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// One plugin's configuration, as the runtime passes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    pub cni_version: String,
    #[serde(default)]
    pub name: String,
    /// The plugin's name: ours, or `loopback`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default = "default_bridge")]
    pub bridge: String,
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The node's own part of the cluster's pod range.
    #[serde(default)]
    pub subnet: Option<Ipv4Net>,
    /// Where reservations are kept.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    #[serde(default, skip_serializing)]
    pub runtime_config: RuntimeConfig,
}

fn default_bridge() -> String {
    "cni0".into()
}

/// What the runtime adds for the capabilities that the configuration lists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

/// One host port of a pod. containerd 1.6 writes the names with a capital letter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    #[serde(default = "default_protocol", alias = "Protocol")]
    pub protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

fn default_protocol() -> String {
    "tcp".into()
}

impl NetworkConfig {
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let config: Self = serde_json::from_slice(text).map_err(Error::Decode)?;
        if !VERSIONS.contains(&config.cni_version.as_str()) {
            return Err(Error::Version(config.cni_version));
        }
        Ok(config)
    }

    pub fn subnet(&self) -> Result<Ipv4Net, Error> {
        let subnet = self.subnet.ok_or_else(|| Error::Config("subnet is missing".into()))?;
        if subnet.prefix_len() > 30 {
            return Err(Error::Config(format!("subnet {subnet} is too small")));
        }
        Ok(subnet)
    }

    pub fn data_dir(&self) -> Result<&std::path::Path, Error> {
        self.data_dir.as_deref().ok_or_else(|| Error::Config("dataDir is missing".into()))
    }
}

/// The subnet's first address: the bridge's own, and the pods' gateway.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + 1)
}

/// The `cniVersion` of a configuration that may be otherwise unreadable.
pub fn version_of(text: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: String,
    }
    let asked = serde_json::from_slice::<Versioned>(text).ok();
    VERSIONS.into_iter().find(|v| asked.as_ref().is_some_and(|a| a.cni_version == *v)).unwrap_or("1.0.0")
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    Add,
    Del,
    Check,
    Version,
}

/// The `CNI_*` environment.
#[derive(Clone, Debug)]
pub struct Request {
    pub command: Command,
    pub container_id: String,
    pub interface: String,
    /// Empty for a DEL whose namespace is already gone.
    pub netns: String,
}

impl Request {
    pub fn parse(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| variable(name).unwrap_or_default();
        let command = match get("CNI_COMMAND").as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "VERSION" => Command::Version,
            "" => return Err(Error::Environment("CNI_COMMAND is missing".into())),
            other => return Err(Error::Environment(format!("CNI_COMMAND {other:?} is unknown"))),
        };
        let request = Self {
            command,
            container_id: get("CNI_CONTAINERID"),
            interface: get("CNI_IFNAME"),
            netns: get("CNI_NETNS"),
        };
        if command != Command::Version {
            request.validate()?;
        }
        Ok(request)
    }

    /// The names become file names and interface names, so their form matters.
    fn validate(&self) -> Result<(), Error> {
        let id = self.container_id.as_bytes();
        let named = |c: &u8| c.is_ascii_alphanumeric() || b"_.-".contains(c);
        if !id.first().is_some_and(u8::is_ascii_alphanumeric) || !id.iter().all(named) || id.len() > 200 {
            return Err(Error::Environment(format!("CNI_CONTAINERID {:?} is not valid", self.container_id)));
        }
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if self.interface.is_empty()
            || self.interface.len() > 15
            || self.interface.chars().any(bad)
            || [".", ".."].contains(&self.interface.as_str())
        {
            return Err(Error::Environment(format!("CNI_IFNAME {:?} is not valid", self.interface)));
        }
        if self.netns.is_empty() && self.command != Command::Del {
            return Err(Error::Environment("CNI_NETNS is missing".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: &[(&str, &str)]) -> Result<Request, Error> {
        Request::parse(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn requests_are_checked() {
        let full = [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a1"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/n")];
        assert_eq!(request(&full).unwrap().command, Command::Add);
        assert!(request(&full[..3]).is_err(), "ADD wants a namespace");
        for (name, value) in [
            ("CNI_COMMAND", "MOVE"),
            ("CNI_CONTAINERID", "../x"),
            ("CNI_CONTAINERID", ""),
            ("CNI_IFNAME", "a/b"),
            ("CNI_IFNAME", "sixteen-letters-"),
            ("CNI_IFNAME", ".."),
        ] {
            let changed: Vec<_> = full.iter().map(|(n, v)| (*n, if *n == name { value } else { *v })).collect();
            let error = request(&changed).expect_err(&format!("{name}={value}"));
            assert_eq!(error.to_json("1.0.0")["code"], 4, "{name}={value}");
        }
        let gone = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "a1"), ("CNI_IFNAME", "eth0")];
        assert_eq!(request(&gone).unwrap().netns, "");
        assert!(request(&[("CNI_COMMAND", "VERSION")]).is_ok());
    }

    #[test]
    fn configurations_are_checked() {
        let parse = |text: &str| NetworkConfig::parse(text.as_bytes());
        let code = |text: &str| parse(text).expect_err(text).to_json("1.0.0")["code"].as_u64().unwrap();
        assert_eq!(code("{"), 6);
        assert_eq!(code(r#"{"cniVersion":"9.0.0","type":"x"}"#), 1);
        let config = parse(r#"{"cniVersion":"1.0.0","type":"x","subnet":"10.0.0.0/24"}"#).unwrap();
        assert_eq!(gateway(config.subnet().unwrap()), Ipv4Addr::new(10, 0, 0, 1));
        let tiny = parse(r#"{"cniVersion":"1.0.0","type":"x","subnet":"10.0.0.0/31"}"#).unwrap();
        assert!(tiny.subnet().is_err());
        let ports = r#"{"portMappings":[{"HostPort":1,"ContainerPort":2,"Protocol":"udp","HostIP":""}]}"#;
        let ports = format!(r#"{{"cniVersion":"1.0.0","type":"x","runtimeConfig":{ports}}}"#);
        assert_eq!(parse(&ports).unwrap().runtime_config.port_mappings[0].container_port, 2);
        assert_eq!(version_of(br#"{"cniVersion":"0.4.0"}"#), "0.4.0");
        assert_eq!(version_of(b"nonsense"), "1.0.0");
    }
}
