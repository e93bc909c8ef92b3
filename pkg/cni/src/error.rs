//! Failures, with the code that the CNI specification gives them.

use std::error::Error as _;
use std::io;

use serde_json::{Value, json};

/// Why a request to the plugin, or the node's network set-up, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cniVersion {0:?} is not supported")]
    Version(String),
    #[error("{0}")]
    Environment(String),
    #[error("the network configuration is not valid JSON")]
    Decode(#[source] serde_json::Error),
    #[error("the network configuration is wrong: {0}")]
    Config(String),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error("no free address is left in {0}")]
    Exhausted(ipnet::Ipv4Net),
    #[error("nft: {0}")]
    Nft(String),
    #[error("host port {0} is already in use by another pod")]
    HostPort(String),
    #[error("{0}")]
    Check(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Codes below 100 are the specification's; those from 100 are ours.
    fn code(&self) -> u32 {
        match self {
            Self::Version(_) => 1,
            Self::Environment(_) => 4,
            Self::Io { .. } => 5,
            Self::Decode(_) => 6,
            Self::Config(_) => 7,
            Self::Exhausted(_) => 11,
            Self::Netlink(netlink::Error::Missing(_)) => 103,
            Self::Netlink(_) => 100,
            Self::Nft(_) => 101,
            Self::HostPort(_) => 102,
            Self::Check(_) => 103,
        }
    }

    /// The specification's error object.
    pub fn to_json(&self, version: &str) -> Value {
        let mut value = json!({ "cniVersion": version, "code": self.code(), "msg": self.to_string() });
        if let Some(source) = self.source() {
            value["details"] = source.to_string().into();
        }
        value
    }
}
