//! Three servers with one store: what each of them promises while it is behind the others.
#![allow(clippy::unwrap_used)] // A failed expectation is what a test is for.

mod common;

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use storage::{
    At, Change, Config, ListOptions, Outcome, PEER_SERVER_NAME, PeerConfig, Storage, StorageError, UpdateError,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use common::{PODS, create, key, pod, put};

const SOON: Duration = Duration::from_secs(30);

/// The way to a server: what others send to it can be held up.
struct Door {
    address: String,
    open: watch::Sender<bool>,
}

impl Door {
    async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = watch::Sender::new(true);
        let opened = open.subscribe();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let (target, opened) = (target.clone(), opened.clone());
                tokio::spawn(async move {
                    let Ok(to) = TcpStream::connect(target).await else { return };
                    let ((from_read, from_write), (to_read, to_write)) = (from.into_split(), to.into_split());
                    tokio::join!(pass(from_read, to_write, opened.clone()), pass(to_read, from_write, opened),);
                });
            }
        });
        Self { address, open }
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut opened: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if opened.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

struct Servers {
    stores: Vec<Storage>,
    doors: Vec<Door>,
    _directories: Vec<TempDir>,
}

impl Servers {
    async fn three() -> Self {
        let authority = pki::Authority::generate("peers").unwrap();
        let mut servers = Self { stores: Vec::new(), doors: Vec::new(), _directories: Vec::new() };
        for number in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let door = Door::to(listener.local_addr().unwrap().to_string()).await;
            let name = format!("server{number}");
            let roots = pki::tls::roots([authority.cert()]).unwrap();
            let sans = pki::Sans { hostnames: vec![PEER_SERVER_NAME.to_owned()], ..pki::Sans::default() };
            let serving = pki::Identity::new(&authority.issue_server(&name, &[], &sans).unwrap()).unwrap();
            let own = pki::Identity::new(&authority.issue_client(&name, &[]).unwrap()).unwrap();
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let mut config = Config::new(directory.path().join("db"));
            config.join = number > 0;
            config.peers = Some(PeerConfig {
                listener: Arc::new(listener),
                advertise: door.address.clone(),
                name: name.clone(),
                server: Arc::new(pki::tls::server_config(&serving, roots.clone()).unwrap()),
                client: Arc::new(pki::tls::client_config(roots, Some(&own)).unwrap()),
            });
            let store = Storage::open(config).await.unwrap();
            if let Some(first) = servers.stores.first() {
                first.add_member(store.node_id(), &name, &door.address).await.unwrap();
                store.ready(SOON).await.unwrap();
            }
            servers.stores.push(store);
            servers.doors.push(door);
            servers._directories.push(directory);
        }
        servers
    }

    /// A server that does not lead, the way to it, and the one that does.
    fn behind(&self) -> (&Storage, &Door, &Storage) {
        let leader = self.stores[0].leader().unwrap();
        let leads = self.stores.iter().position(|store| store.node_id() == leader).unwrap();
        let other = (leads + 1) % 3;
        (&self.stores[other], &self.doors[other], &self.stores[leads])
    }

    async fn stop(self) {
        futures::future::join_all(self.stores.iter().map(Storage::shutdown)).await;
    }
}

/// Starts `work` while nothing reaches the server, and lets it come to its end behind the open door.
async fn held_up<T>(door: &Door, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    assert!(
        timeout(Duration::from_millis(300), &mut work).await.is_err(),
        "it has to wait for what is newer elsewhere"
    );
    door.open.send_replace(true);
    timeout(SOON, work).await.expect("it goes on")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_behind_refuses_nothing_for_what_is_old() {
    let servers = Servers::three().await;
    let (behind, door, leader) = servers.behind();
    create(leader, "gone", "a").await;
    create(leader, "changed", "a").await;
    behind.read_barrier().await.unwrap();
    assert!(!behind.is_alone() && behind.get(&key("gone")).is_some());

    // Behind the closed door it still has both as they were.
    door.open.send_replace(false);
    leader.guaranteed_update::<(), _>(&key("gone"), |_| async { Ok(Change::Delete) }.boxed()).await.unwrap();
    assert!(behind.get(&key("gone")).is_some());
    let created = held_up(door, behind.create(&key("gone"), pod("gone", "b"))).await.unwrap();
    assert_eq!(behind.get(&key("gone")).unwrap().revision(), created.revision());
    // But what is there is there.
    let again = behind.create(&key("gone"), pod("gone", "b")).await;
    assert!(matches!(again, Err(StorageError::KeyExists { .. })), "{again:?}");

    door.open.send_replace(false);
    let newest = put(leader, "changed", "b").await.revision().get();
    // A client that has seen the newest version asks for a change of exactly that one.
    let only_newest = |current: Option<storage::StoredObject>| {
        let current = current.unwrap().revision().get();
        async move { if current == newest { Ok(Change::Put(pod("changed", "c"))) } else { Err(current) } }.boxed()
    };
    let changed = key("changed");
    let updating = behind.guaranteed_update::<u64, _>(&changed, only_newest);
    let updated = held_up(door, updating).await;
    assert!(matches!(updated, Ok(Outcome::Put(_))), "{updated:?}");
    // And one that is refused with the newest in sight stays refused.
    let refused = behind.guaranteed_update::<u64, _>(&changed, only_newest).await;
    assert!(matches!(refused, Err(UpdateError::Refused(current)) if current > newest), "{refused:?}");
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_wait_for_the_newest_or_take_what_is_there() {
    let servers = Servers::three().await;
    let (behind, door, leader) = servers.behind();
    create(leader, "a", "a").await;
    behind.read_barrier().await.unwrap();
    door.open.send_replace(false);
    let newest = create(leader, "b", "a").await.revision();
    let old = behind.list(PODS, &ListOptions::default()).unwrap();
    assert_eq!(old.items.len(), 1, "what is there can be read at once");
    let ahead = ListOptions { at: At::NotOlderThan(newest.get()), ..ListOptions::default() };
    assert!(matches!(behind.list(PODS, &ahead), Err(StorageError::TooLarge { .. })));
    held_up(door, behind.read_barrier()).await.unwrap();
    assert_eq!(behind.list(PODS, &ahead).unwrap().items.len(), 2);
    servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_at_another_server() {
    let servers = Servers::three().await;
    let [first, second, third] = servers.stores.as_slice() else { panic!("three") };
    let mut seen = create(first, "a", "a").await.revision().get();
    for (number, store) in [first, second, third, first].into_iter().enumerate() {
        // The one that the client comes to may not have what it has seen yet.
        let mut watch = store.watch(PODS, seen).unwrap();
        let name = format!("b{number}");
        let written = create(second, &name, "a").await.revision();
        let event = timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((event.revision, event.object.key()), (written, key(&name).as_str()));
        seen = written.get();
    }
    servers.stop().await;
}
