//! Drives a real cluster from outside, as a user would: the built binary, kubectl, real pods on real containerd.
//!
//! Everything runs in network, mount and process namespaces of its own, so that a run neither sees nor disturbs what
//! else the machine does, and leaves nothing behind. `e2e [FILTER…]` runs the scenarios whose names contain a filter;
//! `e2e conformance [FILTER…]` runs the conformance tests whose names do.

pub mod cluster;
pub mod host;
mod scenarios;

pub use conformance::kubectl;
pub use scenarios::kube_client;

use std::time::Instant;

use crate::cluster::Cluster;

/// The whole program: enters namespaces of its own, runs, and reports.
pub fn main() -> std::process::ExitCode {
    if !host::is_inside() {
        return host::enter();
    }
    match run() {
        Ok(0) => std::process::ExitCode::SUCCESS,
        Ok(_) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            println!("0 passed, 1 failed");
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
    let mut failed = Vec::new();
    for (name, scenario) in &chosen {
        let begun = Instant::now();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&mut cluster)));
        let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("PASS {name} ({seconds:.1} s)"),
            Err(error) => {
                println!("FAIL {name} ({seconds:.1} s): {error:#}");
                cluster.explain();
                failed.push(*name);
            }
        }
    }
    cluster.stop();
    for name in &failed {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed", chosen.len() - failed.len(), failed.len());
    Ok(failed.len())
}
