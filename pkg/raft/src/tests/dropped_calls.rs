//! Callers may give up at any moment; those who stay still get an answer.

use std::sync::{Arc, mpsc};
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

/// Proposes when it is dropped, as somebody does who gives a Lease back at the last moment.
struct Parting(Arc<Node>);

impl Drop for Parting {
    fn drop(&mut self) {
        assert!(self.0.propose(&create("/k/last", 10)).now_or_never().is_none_or(|written| written.is_err()));
    }
}

#[test]
fn a_proposal_at_the_end_of_the_runtime_does_not_hold_it_up() {
    let (ended, end) = mpsc::channel();
    // A thread of its own: one that hangs must not hang the test.
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        let node = runtime.block_on(async {
            let node = Arc::new(Node::open_on(small_config(), SimDisk::new(), 1).await.expect("the start"));
            change(&node, &create("/k/first", 10)).await.expect("a leader");
            node
        });
        let parting = Parting(node);
        runtime.spawn(async move {
            let _parting = parting;
            std::future::pending::<()>().await;
        });
        drop(runtime);
        let _ = ended.send(());
    });
    end.recv_timeout(Duration::from_secs(10)).expect("the runtime ends");
}
