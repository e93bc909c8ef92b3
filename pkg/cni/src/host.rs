//! What a node needs before its first pod: forwarding, the bridge, masquerading, the plugin's names and its configuration.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use serde_json::json;

use crate::ipam::Ipam;
use crate::{Error, config, firewall, hostports, nft, plugin};

/// The name under which the runtime finds the plugin.
pub const PLUGIN: &str = "coracle-cni";
/// Runtimes before containerd 2.0 start a plugin of this name for every pod.
const LOOPBACK: &str = "loopback";
/// The configuration file's name in the runtime's directory.
pub const CONFLIST: &str = "10-coracle.conflist";
/// Our table in the `ip` family.
pub(crate) const TABLE: &str = "coracle_cni";

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the runtime looks for plugins.
    pub bin_dir: PathBuf,
    /// Where the runtime looks for network configurations.
    pub conf_dir: PathBuf,
    /// Where reservations are kept: `<data-dir>/agent/cni`.
    pub data_dir: PathBuf,
    /// The node's own part of the cluster's pod range.
    pub pod_cidr: Ipv4Net,
    /// The whole pod range: traffic within it keeps its source address.
    pub cluster_cidr: Ipv4Net,
    /// The range of Service addresses. The node routes it to the bridge, so that its own connections to Services start
    /// with an address that every pod can answer, also on a node without a default route.
    pub service_cidr: Option<Ipv4Net>,
    pub bridge: String,
    /// The pods' MTU: that of the way to other nodes, less what an overlay takes of it.
    pub mtu: Option<u32>,
}

/// Sets the node's network up and then, last, writes the configuration that makes the runtime report it as ready.
/// Blocking, a few milliseconds; may be repeated.
pub fn configure(options: &Options) -> Result<(), Error> {
    config::NetworkConfig::parse(conflist_plugin(options).to_string().as_bytes())?.subnet()?;
    set_sysctls()?;
    let gateway = Ipv4Net::new(config::gateway(options.pod_cidr), options.pod_cidr.prefix_len())
        .map_err(|e| Error::Config(e.to_string()))?;
    netlink::block_on(async |netlink| {
        let bridge = netlink.ensure_bridge(&options.bridge, gateway, options.mtu).await?;
        // The range may be another than before. The one before may be another node's by now.
        netlink.only_address(bridge.index, gateway).await?;
        if let Some(mtu) = options.mtu.filter(|mtu| *mtu != bridge.mtu) {
            netlink.set_mtu(bridge.index, mtu).await?;
        }
        match options.service_cidr {
            Some(range) => netlink.route_to(bridge.index, range.trunc()).await,
            None => Ok(()),
        }
    })?;
    // Pods reach each other through the bridge's address on purpose: telling them of a shorter way would be wrong.
    set_sysctl(&format!("net/ipv4/conf/{}/send_redirects", options.bridge), "0")?;
    // Connections to 127.0.0.1 may be sent on to a pod by a host port; `guard-loopback` keeps pods out.
    set_sysctl(&format!("net/ipv4/conf/{}/route_localnet", options.bridge), "1")?;
    nft::apply(&ruleset(options))?;
    firewall::accept_pods(options.cluster_cidr);
    release_leaks(options)?;
    hostports::restore(&options.data_dir)?;
    install_plugins(&options.bin_dir)?;
    write_conflist(options)
}

fn set_sysctls() -> Result<(), Error> {
    set_sysctl("net/ipv4/ip_forward", "1")?;
    set_sysctl("net/ipv4/conf/all/send_redirects", "0")
}

fn set_sysctl(name: &str, value: &str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    // A container's /proc/sys may be read-only while the value is right already.
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::io(format!("setting sysctl {}={value}", name.replace('/', "."))))
}

/// Our table: made anew, so that an earlier run's rules never linger.
fn ruleset(options: &Options) -> String {
    let Options { pod_cidr, cluster_cidr, bridge, .. } = options;
    format!(
        r#"add table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
    map hostports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    map hostports_of_address {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
    set hairpin {{ type ipv4_addr . ipv4_addr; }}
    chain guard-loopback {{
        type filter hook prerouting priority raw; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 drop
    }}
    chain hostports {{
        dnat ip to ip daddr . meta l4proto . th dport map @hostports_of_address
        dnat ip to meta l4proto . th dport map @hostports
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat + 5; policy accept;
        fib daddr type local meta l4proto {{ tcp, udp, sctp }} jump hostports
    }}
    chain output {{
        type nat hook output priority -95; policy accept;
        fib daddr type local meta l4proto {{ tcp, udp, sctp }} jump hostports
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "{bridge}" ct status dnat ip saddr . ip daddr @hairpin masquerade
        oifname "{bridge}" ip saddr 127.0.0.0/8 masquerade
        ip saddr {pod_cidr} ip daddr != {{ {cluster_cidr}, 224.0.0.0/4 }} masquerade fully-random
    }}
}}
"#
    )
}

/// Gives back what belongs to pods whose interface is gone: their end was never told to the plugin. What is younger than a
/// moment may just be in the making.
fn release_leaks(options: &Options) -> Result<(), Error> {
    const YOUNG: Duration = Duration::from_secs(60);
    let names = netlink::block_on(async |netlink| netlink.names().await)?;
    let attached = |id: &str, interface: &str| names.contains(&plugin::host_interface(id, interface));
    let ipam = Ipam::open(&options.data_dir, options.pod_cidr.trunc())?;
    let young = |address: Ipv4Addr| ipam.age(address).is_none_or(|age| age < YOUNG);
    let freed = ipam.release_addresses(|address, id, interface| !attached(id, interface) && !young(address))?;
    for (id, interface) in hostports::recorded(&options.data_dir)? {
        if ipam.find(&id, &interface)?.is_none() {
            hostports::remove(&options.data_dir, &id, &interface)?;
        }
    }
    if !freed.is_empty() {
        tracing::info!(?freed, "gave back addresses of pods that are gone");
    }
    Ok(())
}

fn install_plugins(bin_dir: &Path) -> Result<(), Error> {
    let program = running_program()?;
    fs::create_dir_all(bin_dir).map_err(Error::io(format!("creating {}", bin_dir.display())))?;
    install_link(&program, &bin_dir.join(PLUGIN))?;
    // A host that has the real one keeps it.
    let loopback = bin_dir.join(LOOPBACK);
    match fs::symlink_metadata(&loopback) {
        Ok(existing) if !existing.is_symlink() => Ok(()),
        _ => install_link(&program, &loopback),
    }
}

/// The running program's path; of one that was replaced meanwhile, its successor's.
fn running_program() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(Error::io("finding the running program"))?;
    let replaced = program.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|path| path.exists()).unwrap_or(program))
}

fn install_link(program: &Path, link: &Path) -> Result<(), Error> {
    if fs::read_link(link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    let fresh = link.with_extension("new");
    let failed = || Error::io(format!("installing {}", link.display()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed()(error)),
        _ => {}
    }
    std::os::unix::fs::symlink(program, &fresh).map_err(failed())?;
    fs::rename(&fresh, link).map_err(failed())
}

fn conflist_plugin(options: &Options) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "coracle",
        "type": PLUGIN,
        "bridge": options.bridge,
        "mtu": options.mtu,
        "subnet": options.pod_cidr.trunc(),
        "dataDir": options.data_dir,
        "capabilities": { "portMappings": true },
    })
}

fn write_conflist(options: &Options) -> Result<(), Error> {
    let list = json!({ "cniVersion": "1.0.0", "name": "coracle", "plugins": [conflist_plugin(options)] });
    let text = serde_json::to_string_pretty(&list).map_err(Error::Decode)?;
    let path = options.conf_dir.join(CONFLIST);
    // An unchanged file is left alone: the runtime watches the directory.
    if fs::read_to_string(&path).is_ok_and(|current| current == text) {
        return Ok(());
    }
    let failed = || Error::io(format!("writing {}", path.display()));
    fs::create_dir_all(&options.conf_dir).map_err(failed())?;
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).map_err(failed())?;
    fs::rename(&fresh, &path).map_err(failed())
}
