#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use mvcc::{Limits, Operation, Store, Transaction};

use super::*;
use crate::archive::Contents;
use crate::folder;

const NOW: u64 = 1_795_000_000;
const LEASES: &str = "/registry/coordination.k8s.io/leases";

/// Data folders on one disk, and a snapshot of a cluster.
struct Site {
    root: tempfile::TempDir,
    snapshot: PathBuf,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let authority = root.path().join("authority");
        let pki = pki::Pki::load_or_create(&authority, &pki::Options::default()).unwrap();
        let mut files = pki.shared_files().unwrap();
        files.push((TOKEN.to_owned(), "K10…::server:secret\n".to_owned()));
        let keys = [
            "/registry/core/nodes/n".to_owned(),
            format!("{LEASES}/kube-system/apiserver-old"),
            format!("{LEASES}/kube-system/kube-scheduler"),
            format!("{LEASES}/kube-system/kube-controller-manager"),
            format!("{LEASES}/kube-system/somebody-else"),
            format!("{LEASES}/default/kube-scheduler"),
        ];
        let store = Store::new(Limits::default());
        for key in keys {
            let put = Operation::Put { key: key.into(), body: Bytes::new(), stamp_at: 0, attributes: Bytes::new() };
            store.apply(&Transaction { preconditions: Vec::new(), operations: vec![put] }, Instant::now());
        }
        let settings = BTreeMap::from([("--cluster-domain".to_owned(), "a.b".to_owned())]);
        let header =
            Header { node: "n".into(), created: 5, cluster: Some(7), earlier: vec![6], settings, ..Header::default() };
        let contents = Contents { header, files, state: store.snapshot() };
        let saved = folder::save(&root.path().join("snapshots"), "x", &contents, &crate::Saving::default()).unwrap();
        let snapshot = root.path().join("snapshots").join(saved.name);
        Self { root, snapshot }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn restore(&self, name: &str, now: u64) -> Result<Restored, Error> {
        restore((&self.snapshot, open(&self.snapshot)?), &self.data(name), now, &mut drop)
    }
}

async fn started(data_dir: &Path) -> raft::Node {
    raft::Node::open(raft::Config::new(data_dir.join("server/db"))).await.unwrap()
}

fn keys(state: &mvcc::Snapshot) -> Vec<String> {
    state.range(b"", None).map(|record| String::from_utf8_lossy(record.key()).into_owned()).collect()
}

#[tokio::test]
async fn a_snapshot_becomes_a_server_twice_over() {
    let site = Site::new();
    let data = site.data("data");
    let first = site.restore("data", NOW).unwrap();
    assert_eq!((first.aside.clone(), first.revision), (None, NOW * 100_000));
    assert_eq!(first.owner.earlier, [7, 6]);
    let node = started(&data).await;
    let wanted = ["/default/kube-scheduler", "/kube-system/somebody-else"].map(|lease| format!("{LEASES}{lease}"));
    assert_eq!(keys(&node.store().snapshot())[..2], wanted);
    assert_eq!(node.store().snapshot().len(), 3, "stale Leases are gone");
    let in_use = site.restore("data", NOW).unwrap_err().to_string();
    assert!(in_use.contains("in use by process"), "{in_use}");
    node.shutdown().await;
    assert_eq!(fs::read_to_string(data.join("server/token")).unwrap(), "K10…::server:secret\n");
    let settings = fs::read_to_string(data.join("server").join(SETTINGS)).unwrap();
    assert_eq!(settings, r#"{"--cluster-domain":"a.b"}"#);
    let keys_of = |folder: &Path| fs::read_to_string(folder.join("server-ca.key")).unwrap();
    assert_eq!(keys_of(&data.join("server/tls")), keys_of(&site.data("authority")));

    used(&data);
    let second = site.restore("data", NOW + 60).unwrap();
    assert!(second.revision > first.revision);
    let aside = second.aside.unwrap().path;
    assert_eq!(offline::owner(&aside.join("db")).unwrap(), Some(first.owner.clone()));
    assert_ne!(second.owner.cluster, first.owner.cluster);
    let node = started(&data).await;
    assert!(node.store().watch(b"/registry/", first.revision + 10).is_err(), "a client of before has to list again");
    node.shutdown().await;
}

/// As a server that has started leaves it.
fn used(data_dir: &Path) {
    fs::remove_file(data_dir.join("server").join(SETTINGS)).unwrap();
}

#[test]
fn whoever_restores_the_wrong_snapshot_still_has_what_was_there() {
    let site = Site::new();
    fs::create_dir_all(site.data("data/server/tls")).unwrap();
    fs::write(site.data("data/server/tls/mine"), "").unwrap();
    let aside = site.restore("data", NOW).unwrap().aside.unwrap().path;
    assert_eq!(site.restore("data", NOW + 60).unwrap().aside, None);
    assert!(aside.join("tls/mine").exists());
    assert_eq!(left_over(&site.data("data")), [aside]);
}

/// Every file below a folder, with its contents; without the log's next file, which is filled beside all else.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files.extend(tree(&entry.path()));
        } else if entry.file_name() != "spare.log.new" {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn a_damaged_snapshot_changes_nothing() {
    let site = Site::new();
    site.restore("data", NOW).unwrap();
    let good = fs::read(&site.snapshot).unwrap();
    let before = tree(&site.data("data"));
    let mut other_version = good.clone();
    other_version[16] = 9;
    let mut cases = vec![
        ("format 9", other_version),
        ("no snapshot", b"PK\x03\x04 something else that is long enough".to_vec()),
        ("damaged", good[..good.len() - 1].to_vec()),
        ("damaged", good[..good.len() / 2].to_vec()),
    ];
    for at in (20..good.len()).step_by(97) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        cases.push(("damaged", flipped));
    }
    for (why, bytes) in cases {
        fs::write(&site.snapshot, bytes).unwrap();
        let error = site.restore("data", NOW).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(tree(&site.data("data")), before);
    }
}

#[tokio::test]
async fn a_server_is_revived_with_what_it_has() {
    let site = Site::new();
    let data = site.data("data");
    assert!(matches!(reset(&data, NOW, &mut drop), Err(Error::NoServer(_))));
    assert!(!data.exists(), "nothing is made");
    let first = site.restore("data", NOW).unwrap();
    let revived = reset(&data, NOW + 10, &mut drop).unwrap();
    assert_eq!(revived.objects, first.objects);
    assert!(revived.revision > first.revision);
    assert_eq!(revived.owner.earlier, [vec![first.owner.cluster.unwrap()], first.owner.earlier].concat());
    assert!(data.join("server").join(RESET_FLAG).exists());
    let aside = revived.aside.unwrap().path;
    assert_eq!(offline::owner(&aside).unwrap().map(|owner| owner.cluster), Some(first.owner.cluster));
    let node = started(&data).await;
    assert_eq!(node.store().snapshot().len(), first.objects);
    node.shutdown().await;
}

/// As a crash between two steps: what was there is there, and the next try is like the first.
#[tokio::test]
async fn a_restore_that_ends_between_two_steps_changes_nothing() {
    let site = Site::new();
    let first = site.restore("data", NOW).unwrap();
    used(&site.data("data"));
    let before = tree(&site.data("data/server"));
    for last in 0..2 {
        let mut step = 0;
        let mut crash = |_| {
            assert!(step < last, "a crash that is part of the test");
            step += 1;
        };
        let archive = open(&site.snapshot).unwrap();
        let run = || restore((&site.snapshot, archive), &site.data("data"), NOW + 1, &mut crash);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(tree(&site.data("data/server")), before);
        assert!(site.data("data/server.new").exists() && half_done(&site.data("data")).is_none());
    }
    let second = site.restore("data", NOW + 2).unwrap();
    assert!(second.revision > first.revision && !site.data("data/server.new").exists());
    assert_eq!(tree(&second.aside.unwrap().path).len(), before.len());
}

#[test]
fn nobody_is_made_the_only_one_beside_others() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = Other { name: "there".into(), address: listener.local_addr().unwrap().to_string() };
    let gone = |address: &str| Other { name: "gone".into(), address: address.into() };
    refuse_others(&[gone(""), gone("127.0.0.1:1"), gone("no such host:2380")]).unwrap();
    let error = refuse_others(&[gone("127.0.0.1:1"), there.clone()]).unwrap_err().to_string();
    assert!(error.contains(&format!("there ({})", there.address)) && !error.contains("gone"), "{error}");
}

#[test]
fn a_restore_that_was_cut_short_is_noticed_and_done_again() {
    let site = Site::new();
    let data = site.data("data");
    fs::create_dir_all(data.join("server.new/tls")).unwrap();
    assert_eq!(half_done(&data), Some(data.join("server.new")));
    site.restore("data", NOW).unwrap();
    assert_eq!(half_done(&data), None);
    assert!(!data.join("server.new").exists());
    let aside = set_aside(&data, NOW).unwrap().path;
    assert_eq!(left_over(&data), std::slice::from_ref(&aside));
    assert!(aside.join("db").exists() && !data.join("server").exists());
}
