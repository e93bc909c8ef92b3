//! Callers may give up at any moment; those who stay still get an answer.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use super::sim_disk::SimDisk;
use super::{change, create, small_config};
use crate::{Node, ProposeError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_was_given_up_leaves_every_other_call_an_answer() {
    let node = Arc::new(Node::open_on(small_config(), SimDisk::new(), 1).await.expect("the start"));
    // It has told the core to stop and waits for its end; then its caller is gone.
    assert!(node.shutdown().now_or_never().is_none());
    let calls = (0..8).map(|number| {
        let node = node.clone();
        tokio::spawn(async move {
            let written = change(&node, &create(&format!("/k/{number}"), 10)).await;
            (written, node.read_barrier().await, node.checkpoint().await)
        })
    });
    for call in futures::future::join_all(calls).await {
        let (written, ..) = call.expect("no call panics");
        assert!(matches!(written, Ok(_) | Err(ProposeError::Stopped(_))), "{written:?}");
    }
    tokio::time::timeout(Duration::from_secs(10), node.shutdown()).await.expect("the second shutdown ends");
}
