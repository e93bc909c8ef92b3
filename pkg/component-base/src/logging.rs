//! Log lines on standard error: time, level, target, message, fields.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging at `level` (`info`, `debug` or a filter such as `info,kubelet=debug`); `RUST_LOG` overrides it.
/// The Raft library and the HTTP stack are kept at warnings: they are noisy and say nothing a user can act on.
pub fn init(level: &str) -> Result<(), String> {
    let quiet =
        "openraft=error,hyper=warn,h2=warn,tower=warn,rustls=warn,kube_client=warn,tonic=warn,netlink_proto=warn";
    let filter = match std::env::var("RUST_LOG") {
        Ok(spec) => EnvFilter::try_new(spec),
        Err(_) => EnvFilter::try_new(format!("{quiet},{level}")),
    };
    let filter = filter.map_err(|e| format!("--log-level {level:?}: {e}"))?;
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init().map_err(|e| e.to_string())
}
