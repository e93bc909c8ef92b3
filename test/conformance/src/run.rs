//! Runs the tests, several at a time, and prints a line for each.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{FutureExt as _, StreamExt as _};
use kube::Client;

use crate::kubectl::Kubectl;
use crate::{Cluster, Test, tests};

/// Tests that run at the same time: they mostly wait.
const AT_ONCE: usize = 8;
/// The longest that one test may take.
const LIMIT: Duration = Duration::from_secs(240);
/// What would disturb others, such as dropping all history, runs after them.
const ALONE: &[&str] = &["chunking::an_expired_token_continues_inconsistently"];

/// Runs the tests whose names contain a filter (all, without filters) and answers the names of those that failed.
pub async fn run(client: &Client, kubectl: &Kubectl, filters: &[String]) -> anyhow::Result<Vec<&'static str>> {
    let chosen = tests::all().filter(|t| filters.is_empty() || filters.iter().any(|f| t.name.contains(f.as_str())));
    let (alone, together): (Vec<Test>, Vec<Test>) = chosen.partition(|t| ALONE.contains(&t.name));
    anyhow::ensure!(!alone.is_empty() || !together.is_empty(), "no test is named like {filters:?}");
    let mut failed = Vec::new();
    for (tests, at_once) in [(together, AT_ONCE), (alone, 1)] {
        let mut outcomes = futures::stream::iter(tests).map(|t| reported(client, kubectl, t)).buffer_unordered(at_once);
        while let Some((name, passed)) = outcomes.next().await {
            if !passed {
                failed.push(name);
            }
        }
    }
    Ok(failed)
}

/// Runs one test and prints what came of it.
async fn reported(client: &Client, kubectl: &Kubectl, test: Test) -> (&'static str, bool) {
    let begun = Instant::now();
    let one = AssertUnwindSafe(one(client, kubectl, test)).catch_unwind();
    let outcome = match tokio::time::timeout(LIMIT, one).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(anyhow::anyhow!("panicked")),
        Err(_) => Err(anyhow::anyhow!("not done within {LIMIT:?}")),
    };
    let seconds = begun.elapsed().as_secs_f64();
    match &outcome {
        Ok(()) => println!("PASS {} ({seconds:.1} s)", test.name),
        Err(error) => println!("FAIL {} ({seconds:.1} s): {error:#}", test.name),
    }
    (test.name, outcome.is_ok())
}

async fn one(client: &Client, kubectl: &Kubectl, test: Test) -> anyhow::Result<()> {
    let cluster = Cluster::prepare(client.clone(), kubectl.clone(), test.name).await.context("a namespace")?;
    let outcome = (test.run)(&cluster).await;
    outcome.and(cluster.clean().await.context("cleaning up"))
}
