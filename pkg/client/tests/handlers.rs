//! Handlers: what they are told, in which order, and how they end.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too")]

mod fake;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use client::{Change, Handler, Informer, Informers, Scope};
use component_base::Shutdown;
use fake::{Script, Step, event, list, map};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

/// What was told, to be looked at while it grows.
#[derive(Clone)]
struct Told(watch::Sender<Vec<String>>);

impl Told {
    fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    fn note(&self, change: &Change<ConfigMap>) {
        self.0.send_modify(|told| told.push(fake::describe(change)));
    }

    fn noting(&self) -> impl FnMut(&Change<ConfigMap>) + Send + 'static + use<> {
        let told = self.clone();
        move |change| told.note(change)
    }

    fn so_far(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// Waits for so many.
    async fn first(&self, count: usize) -> Vec<String> {
        let mut told = self.0.subscribe();
        let wait = tokio::time::timeout(Duration::from_secs(120), told.wait_for(|told| told.len() >= count));
        wait.await.expect("told within the deadline").unwrap().clone()
    }

    async fn expect(&self, wanted: &[&str]) {
        assert_eq!(self.first(wanted.len()).await, wanted);
    }
}

/// An informer of what the steps tell; the second is to be held.
fn informer(steps: Vec<Step>) -> (Informer<ConfigMap>, Informers) {
    let informers = Informers::new(Script::new(steps).client(), Shutdown::new());
    (informers.get::<ConfigMap>(Scope::all()), informers)
}

#[tokio::test(start_paused = true)]
async fn every_change_is_told_in_order_and_none_is_merged() {
    let (informer, _informers) = informer(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![
            event("MODIFIED", map("a", 6)),
            event("ADDED", map("b", 7)),
            event("DELETED", map("a", 8)),
            event("DELETED", map("unknown", 9)),
            event("ADDED", map("a", 10)),
        ]),
    ]);
    let (one, other) = (Told::new(), Told::new());
    let _handlers = (informer.handle(one.noting()), informer.handle(other.noting()));
    for told in [one, other] {
        told.expect(&["+a@3", "~a@6", "+b@7", "-a@8", "+a@10"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_handler_is_told_the_contents_first_also_when_nothing_happens() {
    let (informer, _informers) =
        informer(vec![list(5, &[map("a", 3)]), Step::Open(vec![event("MODIFIED", map("a", 6))])]);
    let early = Told::new();
    let _early = informer.handle(early.noting());
    early.expect(&["+a@3", "~a@6"]).await;
    let told = Told::new();
    let _handler = informer.handle(told.noting());
    told.expect(&["+a@6"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_relist_tells_what_was_missed() {
    let (informer, _informers) = informer(vec![
        list(5, &[map("same", 1), map("changed", 2), map("deleted", 3)]),
        Step::Open(vec![event("ERROR", fake::gone())]),
        list(20, &[map("same", 1), map("changed", 15), map("new", 16)]),
    ]);
    let told = Told::new();
    let _handler = informer.handle(told.noting());
    told.expect(&["+same@1", "+changed@2", "+deleted@3", "~changed@15", "+new@16", "-deleted@3"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_list_finds_that_handlers_know_it() {
    let (informer, _informers) = informer(vec![list(5, &[map("a", 3), map("b", 4)])]);
    let told = Told::new();
    let _handler = informer.handle(told.noting());
    informer.synced().await;
    assert_eq!(told.so_far(), ["+a@3", "+b@4"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_read_its_store_and_start_another() {
    let (informer, _informers) = informer(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![event("ADDED", map("b", 6)), event("ADDED", map("c", 7))]),
    ]);
    let (seen, started) = (Told::new(), Arc::new(OnceLock::<Handler<ConfigMap>>::new()));
    let _handler = informer.handle({
        let (informer, seen, started) = (informer.clone(), seen.clone(), started.clone());
        move |change| {
            assert!(informer.store().get_key(&change.key).is_some(), "the store is not behind");
            if change.key.name == "b" {
                assert!(started.set(informer.handle(seen.noting())).is_ok());
            }
        }
    });
    let mut first = seen.first(3).await;
    assert_eq!(first.pop().as_deref(), Some("+c@7"), "what follows");
    first.sort();
    assert_eq!(first, ["+a@3", "+b@6"], "the contents, in no order");
    drop(started);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_handler_is_let_go_with_all_it_holds() {
    let (informer, _informers) = informer(vec![list(5, &[map("a", 3)]), Step::Open(vec![])]);
    let held = Arc::new(());
    let handler = informer.handle({
        // Holding its own informer does not keep it.
        let (held, _informer) = (held.clone(), informer.clone());
        move |_| drop(held.clone())
    });
    informer.synced().await;
    assert_eq!(Arc::strong_count(&held), 2);
    drop(handler);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_its_handler_and_nothing_else() {
    let (informer, _informers) = informer(vec![
        list(5, &[map("a", 3)]),
        Step::Open(vec![event("ADDED", map("b", 6)), event("ADDED", map("c", 7))]),
    ]);
    let (failing, told) = (Told::new(), Told::new());
    let handler = informer.handle({
        let failing = failing.clone();
        move |change| {
            failing.note(change);
            assert_ne!(change.key.name, "b", "planted");
        }
    });
    let _other = informer.handle(told.noting());
    let ended = tokio::spawn(handler.panics()).await.unwrap_err().into_panic();
    assert!(ended.downcast_ref::<String>().is_some_and(|text| text.contains("planted")));
    told.expect(&["+a@3", "+b@6", "+c@7"]).await;
    assert_eq!(failing.so_far(), ["+a@3", "+b@6"]);
}
