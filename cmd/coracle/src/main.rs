//! The one binary: reads flags, wires the parts together, runs and drains them. It holds no rules of its own.
//!
//! Start reading at [`server`]; [`options`] is the table of flags.

mod agent;
mod anew;
mod certificates;
mod check;
mod config_file;
mod door;
mod host;
mod identity;
mod joiner;
mod loops;
mod network;
mod node;
mod options;
mod passthrough;
mod peers;
mod quota;
mod removal;
mod renewal;
mod server;
mod service;
mod snapshot;
mod snapshots;
mod status;
mod store;
mod terms;
mod token;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::options::joining::ServerAction;
use crate::options::{Cli, Command, ServerOptions};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    if cni::is_invoked() {
        return cni::main();
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments = config_file::expand(std::env::args_os().collect())?;
    match Cli::parse_from(arguments).command {
        Command::Server(ServerOptions { action: Some(ServerAction::Remove { admin, name }), .. }) => {
            on_runtime("warn", async move { status::remove(&admin, &name).await })
        }
        Command::Status(admin) => on_runtime("warn", async move { status::run(&admin).await }),
        Command::Server(options) => on_runtime(&options.common.log_level.clone(), server::run(options)),
        Command::Agent(options) => on_runtime(&options.common.log_level.clone(), agent::run(options)),
        Command::Snapshot(arguments) => on_runtime("warn", snapshot::run(arguments)),
        Command::Store(arguments) => on_runtime("warn", store::run(arguments.command)),
        Command::Token(arguments) => on_runtime("warn", token::run(arguments.command)),
        Command::Scheduler(options) => on_runtime(&options.log_level.clone(), loops::scheduler(options)),
        Command::ControllerManager(options) => on_runtime(&options.run.log_level.clone(), loops::controllers(options)),
        Command::Kubectl(arguments) => passthrough::kubectl(&arguments),
        Command::Crictl(arguments) => passthrough::crictl(&arguments),
        Command::Ctr(arguments) => passthrough::ctr(&arguments),
        Command::CheckConfig(options) => check::run(&options),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "coracle", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Many systems start programs with room for 1,024 open files, which a few hundred watches use up. What may be raised is
/// raised, though not to the millions that some systems allow: pods inherit it, and some programs walk through all of it.
fn raise_file_limit() {
    const ENOUGH: u64 = 65_536;
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files; many watches may use it up");
        }
    }
}

/// Starts logging and the async runtime, and runs `main` on it.
fn on_runtime(log_level: &str, main: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    component_base::logging::init(log_level).map_err(anyhow::Error::msg)?;
    raise_file_limit();
    // One provider for every TLS library in the process. Only the first call can succeed, and this is it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("coracle").build()?;
    let outcome = runtime.block_on(main);
    // What is left are tasks that nobody waits for; they are not worth a delay.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}
