//! ADD, DEL, CHECK and VERSION.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use ipnet::Ipv4Net;
use netlink::Mac;
use serde_json::{Value, json};

use crate::config::{Command, NetworkConfig, Request, VERSIONS, gateway, version_of};
use crate::ipam::Ipam;
use crate::result::{Attached, Interface, loopback};
use crate::{Error, hostports, netns};

/// Does what the environment and the configuration ask for; what comes back goes to standard output.
pub fn run(variable: impl Fn(&str) -> Option<String>, config: &[u8]) -> Result<Option<Value>, Error> {
    let request = Request::parse(variable)?;
    if request.command == Command::Version {
        return Ok(Some(json!({ "cniVersion": version_of(config), "supportedVersions": VERSIONS })));
    }
    let config = NetworkConfig::parse(config)?;
    match (config.kind.as_str(), request.command) {
        ("loopback", Command::Add) => add_loopback(&config, &request).map(Some),
        ("loopback", _) => Ok(None),
        (_, Command::Add) => add(&config, &request).map(Some),
        (_, Command::Del) => delete(&config, &request).map(|()| None),
        (_, _) => check(&config, &request).map(|()| None),
    }
}

fn add_loopback(config: &NetworkConfig, request: &Request) -> Result<Value, Error> {
    netns::enter(Path::new(&request.netns), || Ok(netlink::block_on(async |netlink| netlink.set_up(1).await)?))?;
    Ok(loopback(&config.cni_version, &request.netns))
}

fn add(config: &NetworkConfig, request: &Request) -> Result<Value, Error> {
    let subnet = config.subnet()?;
    let address = Ipam::open(config.data_dir()?, subnet)?.reserve(&request.container_id, &request.interface)?;
    let attached = attach(config, request, subnet, address);
    if attached.is_err() {
        // What was half done is undone; the first error is the one to report.
        let _ = delete(config, request);
    }
    Ok(attached?.to_json(&config.cni_version))
}

fn attach(config: &NetworkConfig, request: &Request, subnet: Ipv4Net, address: Ipv4Addr) -> Result<Attached, Error> {
    let path = Path::new(&request.netns);
    let namespace = File::open(path).map_err(Error::io(format!("opening network namespace {}", path.display())))?;
    let host = host_interface(&request.container_id, &request.interface);
    let bridge_address =
        Ipv4Net::new(gateway(subnet), subnet.prefix_len()).map_err(|e| Error::Config(e.to_string()))?;
    let (bridge, port) = netlink::block_on(async |netlink| {
        let bridge = netlink.ensure_bridge(&config.bridge, bridge_address, config.mtu).await?;
        // An attempt that was cut short may have left its interface.
        netlink.delete(&host).await?;
        let netns = namespace.as_raw_fd();
        let port = netlink.add_veth(&host, &request.interface, Mac::of(address), netns, config.mtu).await?;
        netlink.attach(port.index, bridge.index).await?;
        Ok((bridge, port))
    })?;
    netns::enter(path, || set_up_inside(&request.interface, address, gateway(subnet)))?;
    hostports::add(
        config.data_dir()?,
        &request.container_id,
        &request.interface,
        address,
        &config.runtime_config.port_mappings,
    )?;
    let mac = Mac::of(address).to_string();
    let interfaces = vec![
        Interface { name: config.bridge.clone(), mac: show(bridge.mac), sandbox: String::new() },
        Interface { name: host, mac: show(port.mac), sandbox: String::new() },
        Interface { name: request.interface.clone(), mac, sandbox: request.netns.clone() },
    ];
    Ok(Attached { interfaces, interface: 2, address, gateway: gateway(subnet) })
}

/// The pod's side: address first and up last, so that coming up announces the address (`arp_notify`).
fn set_up_inside(interface: &str, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
    for (name, value) in [("arp_notify", "1"), ("accept_redirects", "0")] {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
        fs::write(&path, value).map_err(Error::io(format!("setting {path}")))?;
    }
    fs::write("/proc/sys/net/ipv4/conf/all/accept_redirects", "0").map_err(Error::io("setting accept_redirects"))?;
    Ok(netlink::block_on(async |netlink| {
        netlink.set_up(1).await?; // lo is always the first
        let link = netlink.require(interface).await?;
        netlink.add_address(link.index, Ipv4Net::from(address)).await?;
        netlink.set_up(link.index).await?;
        netlink.route_through(link.index, gateway).await
    })?)
}

fn show(mac: Option<Mac>) -> String {
    mac.map(|mac| mac.to_string()).unwrap_or_default()
}

/// Undoes ADD; what is gone already is no error, and so is a namespace that is gone.
fn delete(config: &NetworkConfig, request: &Request) -> Result<(), Error> {
    let (id, interface) = (&request.container_id, &request.interface);
    hostports::remove(config.data_dir()?, id, interface)?;
    netlink::block_on(async |netlink| netlink.delete(&host_interface(id, interface)).await)?;
    // The address goes last: as long as an interface could still have it, nobody else may.
    Ipam::open(config.data_dir()?, config.subnet()?)?.release(id, interface)?;
    Ok(())
}

fn check(config: &NetworkConfig, request: &Request) -> Result<(), Error> {
    let (id, interface) = (&request.container_id, &request.interface);
    let reserved = Ipam::open(config.data_dir()?, config.subnet()?)?.find(id, interface)?;
    let reserved = reserved.ok_or_else(|| Error::Check(format!("container {id} has no address")))?;
    let host = host_interface(id, interface);
    netlink::block_on(async |netlink| netlink.require(&host).await)?;
    let addresses = netns::enter(Path::new(&request.netns), || {
        Ok(netlink::block_on(async |netlink| {
            let link = netlink.require(interface).await?;
            netlink.addresses(link.index).await
        })?)
    })?;
    if !addresses.contains(&reserved.into()) {
        return Err(Error::Check(format!("interface {interface} does not have address {reserved}")));
    }
    Ok(())
}

/// The name of the host's end: short enough for the kernel, and the same whenever it is asked for (64-bit FNV-1a).
pub fn host_interface(container_id: &str, interface: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in container_id.bytes().chain([0]).chain(interface.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("veth{:011x}", hash >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_interfaces_have_stable_short_names() {
        let name = host_interface("0123456789abcdef", "eth0");
        assert_eq!(name.len(), 15);
        assert_eq!(name, host_interface("0123456789abcdef", "eth0"));
        assert_ne!(name, host_interface("0123456789abcdef", "eth1"));
    }

    #[test]
    fn version_lists_what_is_supported() {
        let answer = run(|name| (name == "CNI_COMMAND").then(|| "VERSION".into()), br#"{"cniVersion":"0.4.0"}"#)
            .unwrap()
            .unwrap();
        assert_eq!(answer["cniVersion"], "0.4.0");
        assert!(answer["supportedVersions"].as_array().unwrap().contains(&"1.0.0".into()));
    }
}
