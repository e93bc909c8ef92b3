//! kubectl, and waiting for a condition with a deadline.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// kubectl as one user.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned() }
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        // Every run has its own discovery cache: nothing is left over from another server.
        let cache = self.kubeconfig.with_extension("cache");
        command.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", cache).args(words(line)).stdin(Stdio::null());
        command
    }

    /// Runs `kubectl <line>` and answers its standard output; fails with its standard error.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = self.command(line).output().context("kubectl")?;
        checked(line, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command that must fail and answers its standard error.
    pub fn refused(&self, line: &str) -> anyhow::Result<String> {
        let output = self.command(line).output().context("kubectl")?;
        ensure!(!output.status.success(), "kubectl {line} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs with `input` on standard input.
    pub fn feed(&self, line: &str, input: &str) -> anyhow::Result<String> {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl")?;
        // Dropped at the end of the statement, which closes the pipe.
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        checked(line, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        self.feed("apply -f -", manifest)
    }

    /// Starts a command that goes on, with its output piped.
    pub fn start(&self, line: &str) -> anyhow::Result<Child> {
        self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("kubectl")
    }

    /// Repeats a query until its output satisfies `good`.
    pub fn until(&self, limit: Duration, line: &str, good: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        eventually(limit, || {
            let output = self.run(line)?;
            ensure!(good(&output), "kubectl {line} still answers {:?}", output.trim());
            Ok(output)
        })
    }
}

fn checked(line: &str, output: &Output) -> anyhow::Result<()> {
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("kubectl {line}: {} {}", error.trim(), String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}

/// Splits at spaces; single quotes keep a word together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Tries until it succeeds or `limit` is over; then fails with the last reason.
pub fn eventually<T>(limit: Duration, mut attempt: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error.context(format!("not within {limit:?}"))),
            // Between two looks at a condition.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
