//! Measures Coracle, and with `--peer` any other Kubernetes API server under the same load in the same run.
//!
//! `bench api` loads the API server and the scheduler; `bench node` runs a whole node in namespaces of its own, `bench group`
//! three members beside one. Each writes rows to a JSON file; `hack/bench` runs all. Nothing here is a test: no figure makes
//! it fail.

mod drive;
mod group;
mod load;
mod node;
mod report;
mod watches;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use e2e::http::Target;

use crate::load::{Row, Size};
use crate::report::Report;

#[derive(Parser)]
#[command(name = "hack/bench", about = "Measures Coracle and prints a table")]
enum Options {
    /// The API server and the scheduler
    Api(ApiOptions),
    /// A node: start, pods, idle cost
    Node {
        /// Where to write the rows as JSON
        #[arg(long, default_value = "build/bench-node.json")]
        output: PathBuf,
    },
    /// Three members beside one, and an agent
    Group(GroupOptions),
}

#[derive(clap::Args)]
struct GroupOptions {
    /// Less of everything, to try things out
    #[arg(long)]
    quick: bool,
    /// How often the leader is killed
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    failovers: usize,
    /// Where to write the rows as JSON
    #[arg(long, default_value = "build/bench-group.json")]
    output: PathBuf,
}

#[derive(clap::Args)]
struct ApiOptions {
    /// Another API server to put the same load on: https://HOST:PORT
    #[arg(long, value_name = "URL", requires = "token")]
    peer: Option<String>,
    /// A bearer token of the peer that may do everything
    #[arg(long, value_name = "TOKEN", env = "CORACLE_BENCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A tenth of the load, to try things out
    #[arg(long)]
    quick: bool,
    /// Only these rows
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    rows: Vec<Row>,
    /// Where to write the rows as JSON
    #[arg(long, default_value = "build/bench-api.json")]
    output: PathBuf,
}

fn main() -> ExitCode {
    // A host's first process is this program again.
    if e2e::hosts::inside::is_inside() {
        return e2e::hosts::inside::main();
    }
    let outcome = match Options::parse() {
        Options::Api(options) => api(&options),
        Options::Node { .. } | Options::Group(_) if !e2e::host::is_inside() => return e2e::host::enter(),
        Options::Node { output } => run_node(&output),
        Options::Group(options) => run_group(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_node(output: &std::path::Path) -> anyhow::Result<()> {
    let mut report = Report::default();
    node::all(&mut report)?;
    report.print();
    report.write(output)
}

fn run_group(options: &GroupOptions) -> anyhow::Result<()> {
    let (seconds, idle_seconds) = if options.quick { (2, 10) } else { (10, 60) };
    let mut report = Report::default();
    let outcome = group::all(group::Size { seconds, idle_seconds, failovers: options.failovers }, &mut report);
    report.print();
    report.write(&options.output)?;
    outcome
}

/// Waits until a server that has just started has come to rest: until then it works for itself, too.
async fn calm(process: u32) -> anyhow::Result<()> {
    let mut before = node::cpu_ticks(process)?;
    load::until(Duration::from_secs(30), async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = node::cpu_ticks(process)?;
        // A tick is a hundredth of a second.
        Ok(now - std::mem::replace(&mut before, now) <= 2.0)
    })
    .await
    .context("the server does not come to rest")
}

/// Starts a server without a node on a port of its own, and loads it.
fn api(options: &ApiOptions) -> anyhow::Result<()> {
    let size = if options.quick { Size::QUICK } else { Size::FULL };
    let dir = e2e::host::repository().join("build/bench");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let (kubeconfig, log) = (dir.join("kubeconfig.yaml"), std::fs::File::create(dir.join("coracle.log"))?);
    let mut server = Command::new(e2e::cluster::binary())
        .args([
            "server",
            "--disable-agent",
            "--https-listen-port=17443",
            "--bind-address=127.0.0.1",
            "--log-level=warn",
        ])
        .arg(format!("--data-dir={}", dir.join("data").display()))
        .arg(format!("--write-kubeconfig={}", kubeconfig.display()))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("the coracle binary starts")?;
    let outcome = tokio::runtime::Runtime::new()?.block_on(async {
        load::until(Duration::from_secs(30), async || {
            let Ok(target) = Target::from_kubeconfig("coracle", &kubeconfig) else { return Ok(false) };
            let Ok(mut connection) = target.connect().await else { return Ok(false) };
            Ok(connection.call(hyper::Method::GET, "/readyz", "").await.is_ok())
        })
        .await
        .context("the server is not ready; see build/bench/coracle.log")?;
        calm(server.id()).await?;
        let mut report = Report::default();
        let pid = Some(server.id());
        load::all(&Target::from_kubeconfig("coracle", &kubeconfig)?, pid, size, &options.rows, &mut report).await?;
        if let (Some(url), Some(token)) = (&options.peer, &options.token) {
            load::all(&Target::with_token("peer", url, token)?, None, size, &options.rows, &mut report).await?;
        }
        report.print();
        report.write(&options.output)
    });
    server.kill()?;
    server.wait()?;
    outcome
}
