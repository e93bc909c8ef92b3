//! Drives a real cluster from outside, as a user would: the built binary, kubectl, real pods on real containerd.
//!
//! Everything runs in network, mount and process namespaces of its own, so that a run neither sees nor disturbs what
//! else the machine does, and leaves nothing behind. `e2e [FILTER…]` runs the scenarios whose names contain a filter;
//! `e2e conformance [FILTER…]` runs the conformance tests whose names do, `e2e hosts [--lanes N] [FILTER…]` those
//! scenarios that need several hosts, N at a time.

pub mod cluster;
pub mod host;
pub mod hosts;
pub mod http;
mod scenarios;
pub mod wire;

pub use conformance::kubectl;
pub use scenarios::kube_client;

use std::time::{Duration, Instant};

use crate::cluster::Cluster;

/// The word that chooses the scenarios of several hosts.
const HOSTS: &str = "hosts";

/// The whole program: enters namespaces of its own, runs, and reports.
pub fn main() -> std::process::ExitCode {
    if hosts::inside::is_inside() {
        return hosts::inside::main();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let only = hosts::lanes::only();
    let outcome = match words.split_first() {
        Some((first, words)) if first == HOSTS && only.is_none() => hosts::lanes::run(words),
        _ if !host::is_inside() => return host::enter(),
        _ => only.map_or_else(run, run_one),
    };
    match outcome {
        Ok(0) => std::process::ExitCode::SUCCESS,
        Ok(_) => std::process::ExitCode::FAILURE,
        Err(error) => {
            // Where the rest of the story is.
            println!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs all chosen scenarios on one cluster, in order, and answers how many failed.
fn run() -> anyhow::Result<usize> {
    let mut filters: Vec<String> = std::env::args().skip(1).collect();
    if filters.first().is_some_and(|first| first == scenarios::CONFORMANCE) {
        // The rest chooses among its tests.
        filters.truncate(1);
    }
    let chosen: Vec<_> = scenarios::ALL
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(f)))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "no scenario is named like {filters:?}");
    host::prepare()?;
    let started = Instant::now();
    let mut cluster = Cluster::start()?;
    println!("cluster ready after {:.1} s", started.elapsed().as_secs_f64());
    let mut report = Report::default();
    for (name, scenario) in &chosen {
        if !report.run(name, || scenario(&mut cluster)) {
            cluster.explain();
        }
    }
    cluster.stop();
    Ok(report.finish())
}

/// Runs the one scenario of several hosts that this process is for.
fn run_one(scenario: hosts::Scenario) -> anyhow::Result<usize> {
    host::end_with_parent();
    hosts::prepare()?;
    scenario()?;
    Ok(0)
}

/// What came of the scenarios.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: Vec<&'static str>,
}

impl Report {
    /// Runs one, prints its outcome, and answers whether it passed.
    fn run(&mut self, name: &'static str, scenario: impl FnOnce() -> anyhow::Result<()>) -> bool {
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(scenario));
        self.add(name, begun.elapsed(), outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked"))))
    }

    /// Prints the outcome of one that ran, and answers whether it passed.
    fn add(&mut self, name: &'static str, took: Duration, outcome: anyhow::Result<()>) -> bool {
        let seconds = took.as_secs_f64();
        match &outcome {
            Ok(()) => {
                println!("PASS {name} ({seconds:.1} s)");
                self.passed += 1;
            }
            Err(error) => {
                println!("FAIL {name} ({seconds:.1} s): {error:#}");
                self.failed.push(name);
            }
        }
        outcome.is_ok()
    }

    /// Prints the sum, and answers how many failed.
    fn finish(self) -> usize {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        self.failed.len()
    }
}
