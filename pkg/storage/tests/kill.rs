//! `kill -9` in the middle of writes, again and again: what was acknowledged is there.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use storage::{Config, Storage};

/// Where cargo puts the examples of this test run.
fn writer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/crash_writer")
}

/// Runs the writer until `acknowledgements` were read, kills it, and returns what it printed.
fn live_and_die(directory: &Path, life: usize, acknowledgements: usize) -> (u64, BTreeMap<String, u64>) {
    let mut child = Command::new(writer())
        .arg(directory)
        .arg(format!("life{life}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example crash_writer is built with the tests");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let opened = lines.next().unwrap().unwrap();
    let opened = opened.strip_prefix("open ").unwrap().parse().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut add = |line: String| {
        let (key, revision) = line.split_once(' ').unwrap();
        acknowledged.insert(key.to_owned(), revision.parse().unwrap());
    };
    for _ in 0..acknowledgements {
        add(lines.next().unwrap().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Those that it printed before it died count too.
    lines.map(Result::unwrap).for_each(add);
    (opened, acknowledged)
}

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("db");
    let mut all = BTreeMap::new();
    let mut newest = 0;
    for life in 0..8 {
        let (opened, acknowledged) = live_and_die(&path, life, 50 + life * 150);
        assert!(opened >= newest, "revisions only grow: {opened} after {newest}");
        for (key, revision) in acknowledged {
            assert!(revision > opened);
            newest = newest.max(revision);
            all.insert(key, revision);
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Storage::open(Config::new(&path)).await.unwrap();
        assert!(store.revision().get() >= newest);
        for (key, revision) in &all {
            let object = store.get(key).unwrap_or_else(|| panic!("{key} was acknowledged and is gone"));
            assert_eq!(object.revision().get(), *revision);
            common::assert_stamped(&object);
        }
        store.shutdown().await;
    });
}
