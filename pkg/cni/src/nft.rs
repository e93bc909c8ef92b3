//! One nftables transaction through the `nft` program.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::Error;

/// Applies a script atomically: all of it or nothing.
pub fn apply(script: &str) -> Result<(), Error> {
    let started = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|e| Error::Nft(format!("{e}; install the nftables package")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).map_err(|e| Error::Nft(e.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|e| Error::Nft(e.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Nft(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
