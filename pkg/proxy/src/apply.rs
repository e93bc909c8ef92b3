//! Transactions through the `nft` program.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A transaction that takes longer than this is given up.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("starting nft failed; install the nftables package")]
    Start(#[source] std::io::Error),
    #[error("talking to nft failed")]
    Talk(#[source] std::io::Error),
    #[error("nft refused the rules: {0}")]
    Refused(String),
    #[error("nft did not answer within {} s", LIMIT.as_secs())]
    Slow,
}

/// Applies a script: all of it or nothing.
pub async fn apply(script: &str) -> Result<(), Error> {
    tokio::time::timeout(LIMIT, run(script)).await.unwrap_or(Err(Error::Slow))
}

async fn run(script: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(Error::Start)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).await.map_err(Error::Talk)?;
    }
    let output = child.wait_with_output().await.map_err(Error::Talk)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first: String = text.trim().chars().take(500).collect();
    Err(Error::Refused(first))
}
