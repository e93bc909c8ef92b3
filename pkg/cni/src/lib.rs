//! The node's own CNI plugin (specification 1.0.0): a bridge with one veth a pod, host-local address management, host
//! ports and masquerading by nftables. The `coracle` binary is its own plugin: the runtime starts it under the name
//! `coracle-cni` (and, for runtimes that ask for it, `loopback`), and [`main`] answers.
//!
//! Pods have a /32 address and send everything to the bridge's address, so traffic between two pods of a node is routed,
//! not bridged: connection tracking, service translation and policies see all of it without `br_netfilter`.
//!
//! It must not know the Kubernetes API: it gets its configuration from [`configure`] and the pod from the runtime.
//! Start reading at [`plugin`].

pub mod config;
mod error;
mod firewall;
mod host;
mod hostports;
pub mod ipam;
mod netns;
mod nft;
pub mod plugin;
mod result;

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

pub use error::Error;
pub use host::{CONFLIST, Options, PLUGIN, configure};

/// The largest configuration that is read from standard input.
const CONFIG_MAX: u64 = 4 << 20;

/// True if this process was started as a CNI plugin, by the runtime or through one of the installed names.
pub fn is_invoked() -> bool {
    let name = std::env::args_os().next();
    let name = name.as_deref().and_then(|path| Path::new(path).file_name()).and_then(OsStr::to_str);
    name == Some(PLUGIN) || (std::env::var_os("CNI_COMMAND").is_some() && name != Some("coracle"))
}

/// The plugin's entry: reads the configuration from standard input and the request from `CNI_*`; writes the result, or an
/// error with its code, as JSON to standard output.
pub fn main() -> ExitCode {
    let mut config = Vec::new();
    let read = std::io::stdin().lock().take(CONFIG_MAX).read_to_end(&mut config);
    let answer = match read {
        Ok(_) => plugin::run(|name| std::env::var(name).ok(), &config),
        Err(error) => Err(Error::Io { what: "reading the configuration from standard input".into(), source: error }),
    };
    match answer {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(value)) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", error.to_json(config::version_of(&config)));
            ExitCode::FAILURE
        }
    }
}
