//! What every process part needs: logs, metrics, version, clock, supervised tasks and an orderly shutdown.
//!
//! It must not know Kubernetes objects. Start reading at [`task`].

pub mod clock;
pub mod logging;
pub mod metrics;
pub mod task;
pub mod version;

pub use task::Shutdown;
