//! The kernel's links, addresses, routes and neighbours by netlink, without a process a step.
//!
//! What is asked for and is so already is no error, nor is taking away what is gone: every call may be repeated. It must not
//! know pods, nodes or Services. Start reading at [`Netlink`]; what can be done with it is in [`link`], [`route`] and
//! [`neighbour`].

mod error;
pub mod link;
mod mac;
pub mod neighbour;
pub mod route;
mod watch;

use rtnetlink::Handle;
use tokio::task::AbortHandle;

pub use error::Error;
pub use link::{Link, Vxlan};
pub use mac::Mac;
pub use route::Route;
pub use watch::{Event, Watch};

/// A netlink connection to the network namespace of the thread that opened it.
pub struct Netlink {
    handle: Handle,
    connection: AbortHandle,
}

impl Netlink {
    /// Opens a connection, which is served by a task of the current runtime for as long as this lives.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        Ok(Self { handle, connection: tokio::spawn(connection).abort_handle() })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Runs `work` with a connection to this thread's namespace; blocks meanwhile. For callers that are in no runtime.
pub fn block_on<T>(work: impl AsyncFnOnce(&Netlink) -> Result<T, Error>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Error::Open)?;
    runtime.block_on(async { work(&Netlink::open()?).await })
}
