//! The tests of `test/conformance`, all together.

use anyhow::ensure;

use super::CONFORMANCE;
use super::clients::kube_config;
use crate::cluster::Cluster;

/// Runs those that the arguments after `conformance` choose; each prints a line.
pub fn all(cluster: &mut Cluster) -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let filters: Vec<String> = match arguments.next() {
        Some(first) if first == CONFORMANCE => arguments.collect(),
        _ => Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let failed = runtime.block_on(async {
        let mut config = kube_config(&cluster.kubeconfig).await?;
        // The tests want to see a refusal, not wait for what comes of it.
        config.default_retry = false;
        let client = kube::Client::try_from(config)?;
        conformance::run::run(&client, &cluster.kubectl, &filters).await
    })?;
    ensure!(failed.is_empty(), "{} tests failed: {}", failed.len(), failed.join(" "));
    Ok(())
}
