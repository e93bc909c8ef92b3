//! Several scenarios at a time: they wait more than they work. Each is a process with namespaces, hosts and a folder of
//! its own.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::scenarios::{ALL, Scenario};
use crate::{Report, host};

/// Names the scenario in a process that is for one.
const ONLY: &str = "CORACLE_E2E_SCENARIO";
/// How many run at a time if nothing else is said.
const LANES: NonZero<usize> = NonZero::new(2).unwrap();

/// Runs the scenarios whose names contain a filter, and answers how many failed.
/// Of `words`, `--lanes N` says how many run at a time (2).
pub fn run(words: &[String]) -> anyhow::Result<usize> {
    let (lanes, filters): (NonZero<usize>, _) = match words {
        [flag, count, filters @ ..] if flag == "--lanes" => {
            (count.parse().context("--lanes takes a number from 1 on")?, filters)
        }
        filters => (LANES, filters),
    };
    let mut chosen: Vec<&'static str> = ALL.iter().map(|(name, _)| *name).collect();
    chosen.retain(|name| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)));
    ensure!(!chosen.is_empty(), "no scenario of several hosts is named like {filters:?}");
    let (left, report) = (Mutex::new(chosen.into_iter()), Mutex::new(Report::default()));
    std::thread::scope(|scope| {
        for lane in 0..lanes.get() {
            let (left, report) = (&left, &report);
            scope.spawn(move || {
                // The lock must not be held while the scenario runs.
                let next = || left.lock().unwrap_or_else(|e| e.into_inner()).next();
                while let Some(name) = next() {
                    let begun = Instant::now();
                    let outcome = run_apart(name, lane);
                    report.lock().unwrap_or_else(|e| e.into_inner()).add(name, begun.elapsed(), outcome);
                }
            });
        }
    });
    Ok(report.into_inner().unwrap_or_else(|e| e.into_inner()).finish())
}

/// Runs one in a process of its own, and prints what that said when it has failed.
fn run_apart(name: &str, lane: usize) -> anyhow::Result<()> {
    let work_dir = std::env::var(host::WORK_DIR).unwrap_or_else(|_| "hosts".to_owned());
    let mut scenario = host::Apart::start(&format!("{work_dir}-{lane}"), |command| {
        command.env(ONLY, name);
    })?;
    let mut said = String::new();
    // What is broken off is no reason to forget what was said before.
    let _ = scenario.out().map(|mut out| out.read_to_string(&mut said));
    let status = scenario.wait()?;
    if !status.success() {
        let _ = std::io::stdout().lock().write_all(said.as_bytes());
    }
    ensure!(status.success(), "see above");
    Ok(())
}

/// The scenario that this process is for, if it is for one.
pub fn only() -> Option<Scenario> {
    let name = std::env::var(ONLY).ok()?;
    ALL.iter().find(|(known, _)| *known == name).map(|(_, scenario)| *scenario)
}
