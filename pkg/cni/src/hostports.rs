//! Host ports: connections to the node's own addresses are sent on to a pod, by one map element a port.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::PortMapping;
use crate::host::TABLE;
use crate::{Error, nft};

/// What was mapped for one interface, kept so that DEL needs nothing from the runtime.
#[derive(Debug, Deserialize, Serialize)]
struct Record {
    address: Ipv4Addr,
    ports: Vec<PortMapping>,
}

fn record_path(data_dir: &Path, container_id: &str, interface: &str) -> PathBuf {
    data_dir.join("hostports").join(format!("{container_id}@{interface}"))
}

/// Maps the ports of a pod. A port that another pod has is an error.
pub fn add(data_dir: &Path, id: &str, interface: &str, address: Ipv4Addr, ports: &[PortMapping]) -> Result<(), Error> {
    // Upstream's runtimes hand over a zero host port for ports that are only declared.
    let ports: Vec<PortMapping> = ports.iter().filter(|p| p.host_port != 0).cloned().collect();
    if ports.is_empty() {
        return Ok(());
    }
    let script = add_script(address, &ports)?;
    let path = record_path(data_dir, id, interface);
    let text = serde_json::to_vec(&Record { address, ports }).map_err(Error::Decode)?;
    let failed = || Error::io(format!("writing {}", path.display()));
    fs::create_dir_all(data_dir.join("hostports")).map_err(failed())?;
    fs::write(&path, text).map_err(failed())?;
    nft::apply(&script).map_err(|error| {
        // Nothing was mapped; without the record, undoing this pod does not take the other's port away.
        let _ = fs::remove_file(&path);
        match error {
            Error::Nft(text) if text.contains("File exists") => Error::HostPort(text),
            other => other,
        }
    })
}

/// Takes the ports of a pod away again; none mapped is no error.
pub fn remove(data_dir: &Path, id: &str, interface: &str) -> Result<(), Error> {
    let path = record_path(data_dir, id, interface);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(format!("reading {}", path.display()))(error)),
    };
    if let Ok(record) = serde_json::from_slice::<Record>(&text) {
        // Each on its own: an element may be missing (the rules were flushed), and then the others must still go.
        for line in remove_lines(&record)? {
            if let Err(error) = nft::apply(&line)
                && !error.to_string().contains("No such file")
            {
                return Err(error);
            }
        }
    }
    fs::remove_file(&path).map_err(Error::io(format!("removing {}", path.display())))
}

/// The container id and the interface of every record.
pub fn recorded(data_dir: &Path) -> Result<Vec<(String, String)>, Error> {
    let dir = data_dir.join("hostports");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(format!("reading {}", dir.display()))(error)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names
        .filter_map(|name| name.split_once('@').map(|(id, interface)| (id.to_owned(), interface.to_owned())))
        .collect())
}

/// Maps every recorded port again, after the table was made anew.
pub fn restore(data_dir: &Path) -> Result<(), Error> {
    for (id, interface) in recorded(data_dir)? {
        let path = record_path(data_dir, &id, &interface);
        let text = fs::read(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        // A record that was cut short by a crash belongs to a pod that never started.
        let Ok(record) = serde_json::from_slice::<Record>(&text) else { continue };
        if let Err(error) = nft::apply(&add_script(record.address, &record.ports)?) {
            tracing::warn!(container = id, %error, "a host port of a running pod cannot be mapped again");
        }
    }
    Ok(())
}

/// The key of a port: a port of one host address, or of all.
fn element(port: &PortMapping) -> Result<(&'static str, String), Error> {
    let protocol = port.protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(Error::Config(format!("host port protocol {:?} is unknown", port.protocol)));
    }
    let any = port.host_ip.is_empty() || port.host_ip == "0.0.0.0" || port.host_ip == "::";
    if any {
        return Ok(("hostports", format!("{protocol} . {}", port.host_port)));
    }
    let address: Ipv4Addr =
        port.host_ip.parse().map_err(|_| Error::Config(format!("hostIP {:?} is not an IPv4 address", port.host_ip)))?;
    Ok(("hostports_of_address", format!("{address} . {protocol} . {}", port.host_port)))
}

fn add_script(address: Ipv4Addr, ports: &[PortMapping]) -> Result<String, Error> {
    // `create` fails on an element that is there already, where `add` would accept the same value silently.
    let mut script = format!("add element ip {TABLE} hairpin {{ {address} . {address} }}\n");
    for port in ports {
        let (map, key) = element(port)?;
        script += &format!("create element ip {TABLE} {map} {{ {key} : {address} . {} }}\n", port.container_port);
    }
    Ok(script)
}

fn remove_lines(record: &Record) -> Result<Vec<String>, Error> {
    let address = record.address;
    let mut lines = vec![format!("delete element ip {TABLE} hairpin {{ {address} . {address} }}\n")];
    for port in &record.ports {
        let (map, key) = element(port)?;
        lines.push(format!("delete element ip {TABLE} {map} {{ {key} : {address} . {} }}\n", port.container_port));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_become_map_elements() {
        let port = |host_ip: &str, protocol: &str| PortMapping {
            host_port: 80,
            container_port: 8080,
            protocol: protocol.into(),
            host_ip: host_ip.into(),
        };
        for (mapping, expected) in [
            (port("", "TCP"), ("hostports", "tcp . 80")),
            (port("0.0.0.0", "udp"), ("hostports", "udp . 80")),
            (port("127.0.0.1", "tcp"), ("hostports_of_address", "127.0.0.1 . tcp . 80")),
        ] {
            let (map, key) = element(&mapping).unwrap();
            assert_eq!((map, key.as_str()), expected);
        }
        assert!(element(&port("", "icmp")).is_err());
        assert!(element(&port("x", "tcp")).is_err());
    }
}
