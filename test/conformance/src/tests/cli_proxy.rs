//! `kubectl proxy`, asked with curl.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::Cluster;
use crate::must::must;

tests!(cli_proxy: unix_socket, port_zero);

/// Starts a proxy, and asks for the API's versions with what `curl` makes of its first line.
async fn versions(
    cluster: &Cluster,
    line: &str,
    curl: impl FnOnce(&str) -> anyhow::Result<Command> + Send + 'static,
) -> anyhow::Result<()> {
    let answer = cluster.blocking(line, |kubectl, line| {
        let mut proxy = kubectl.start(line)?;
        let output = (|| {
            let mut first = String::new();
            // It says where it listens as soon as it does.
            BufReader::new(proxy.stdout.take().context("no output")?).read_line(&mut first)?;
            let output = curl(first.trim())?.output().context("curl")?;
            ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
            Ok(output.stdout)
        })();
        proxy.kill()?;
        proxy.wait()?;
        output
    });
    let answer: Value = serde_json::from_slice(&answer.await?)?;
    must(
        answer["versions"].as_array().is_some_and(|all| !all.is_empty()),
        "at least one version MUST be provided",
        &answer,
    )
}

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "10"]).args(arguments);
    command
}

async fn unix_socket(cluster: &Cluster) -> anyhow::Result<()> {
    let socket = std::env::temp_dir().join(format!("{}.sock", cluster.unique));
    let _ = std::fs::remove_file(&socket);
    let path = socket.display().to_string();
    let line = format!("proxy --unix-socket={path}");
    let ask = move |_: &str| Ok(curl(&["--unix-socket", &path, "http://localhost/api/"]));
    let outcome = versions(cluster, &line, ask).await;
    let _ = std::fs::remove_file(&socket);
    outcome
}

async fn port_zero(cluster: &Cluster) -> anyhow::Result<()> {
    versions(cluster, "proxy --port=0 --disable-filter", |first| {
        let address =
            first.rsplit(' ').next().filter(|a| a.contains(':')).context("the proxy says where it listens")?;
        Ok(curl(&[&format!("http://{address}/api/")]))
    })
    .await
}
