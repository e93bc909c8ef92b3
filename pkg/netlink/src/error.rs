//! What the kernel refused.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening a netlink socket")]
    Open(#[source] io::Error),
    #[error("{what}")]
    Refused { what: String, source: rtnetlink::Error },
    #[error("interface {0} is missing")]
    Missing(String),
}

impl Error {
    /// The kernel's error number; 0 if the kernel did not answer.
    pub fn code(&self) -> i32 {
        match self {
            Self::Refused { source, .. } => code_of(source),
            _ => 0,
        }
    }

    /// The interface, route or entry is there already.
    pub const EXISTS: i32 = 17;
    /// There is no such route or neighbour.
    pub const NO_ENTRY: i32 = 2;
    /// There is no such process, as the kernel says of a route that is gone.
    pub const NO_PROCESS: i32 = 3;
    pub const NO_DEVICE: i32 = 19;
    /// This kernel was built without it, or the module is not loaded.
    pub const NOT_SUPPORTED: i32 = 95;
    /// The address is not there on this machine.
    pub const NO_ADDRESS: i32 = 99;
    /// A gateway that cannot be reached without another.
    pub const UNREACHABLE: i32 = 101;

    pub(crate) fn refused(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |source| Self::Refused { what, source }
    }
}

pub(crate) fn code_of(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}

/// Takes the refusals that mean "it is so already" for success.
pub(crate) fn allow(outcome: Result<(), rtnetlink::Error>, codes: &[i32]) -> Result<(), rtnetlink::Error> {
    match outcome {
        Err(error) if codes.contains(&code_of(&error)) => Ok(()),
        other => other,
    }
}
