//! A full disk refuses writes as a whole, and they go on when there is space again.

use std::time::Duration;

use super::sim_disk::SimDisk;
use super::{change, create, small_config};
use crate::{Node, OpenError, ProposeError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_while_the_disk_is_full_and_go_on_after() {
    let disk = SimDisk::new();
    let mut config = small_config();
    config.proposal_timeout = Duration::from_millis(300);
    let node = Node::open_on(config.clone(), disk.clone(), 1).await.unwrap();
    change(&node, &create("/before", 100)).await.unwrap();
    disk.limit_space(Some(0));

    let mut acknowledged = vec!["/before".to_owned()];
    let mut refused = 0;
    for number in 0..400 {
        let key = format!("/k/{number:04}");
        match change(&node, &create(&key, 1000)).await {
            Ok(_) => acknowledged.push(key),
            Err(error @ ProposeError::Disk(_)) => {
                assert!(error.to_string().contains("free space"), "{error}");
                refused += 1;
                if refused == 3 {
                    break;
                }
            }
            // The write that ran into it.
            Err(ProposeError::Timeout) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 3, "a full disk is noticed");
    // Reads go on.
    assert!(node.store().get(b"/before").is_some());

    disk.limit_space(None);
    let again = async {
        loop {
            match change(&node, &create("/after", 1000)).await {
                Ok(event) => return event,
                Err(ProposeError::Disk(_) | ProposeError::Timeout) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("writes go on");
    node.shutdown().await;
    let node = Node::open_on(config, disk, 1).await.unwrap();
    for key in &acknowledged {
        assert!(node.store().get(key.as_bytes()).is_some(), "{key}");
    }
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_on_a_full_disk_says_so_and_can_be_tried_again() {
    // Where the space ends differs: before the checkpoint, before the log, in the middle of it.
    for space in [0, 1000, 600_000, 1_100_000] {
        let disk = SimDisk::new();
        disk.limit_space(Some(space));
        match Node::open_on(small_config(), disk.clone(), 1).await {
            Ok(node) => node.shutdown().await,
            Err(error) => assert!(matches!(error, OpenError::DiskFull { .. }), "{space}: {error}"),
        }
        disk.limit_space(None);
        let node = Node::open_on(small_config(), disk, 1).await.unwrap();
        change(&node, &create("/k", 100)).await.unwrap();
        node.shutdown().await;
    }
}
