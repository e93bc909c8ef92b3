//! Pods that wait for a node: ready ones by priority, failed ones until something happens that may help, and then for
//! their backoff.
//!
//! A pure state machine: time comes in as a parameter, and [`SchedulingQueue::next_deadline`] says when to look again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::ObjectKey;

use crate::events::Events;
use crate::types::Pod;

/// Upstream's: the first failure waits this long, each further one twice as long, up to the maximum.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that nothing woke is tried again after this long, in case a happening was misjudged.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);

/// Ready pods are taken by priority, then by when they came.
type ReadyKey = (Reverse<i32>, u64);

#[derive(Debug)]
struct Waiting {
    pod: Arc<Pod>,
    attempts: u32,
    /// The place among equals: given at arrival and kept over attempts.
    order: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Ready,
    /// Taken by [`SchedulingQueue::pop`]; what happens meanwhile is remembered.
    InFlight(Events),
    Backoff(Instant),
    Unschedulable {
        wakes_on: Events,
        /// Tried again then, even if nothing happens.
        until: Instant,
    },
    /// Held by `spec.schedulingGates`.
    Gated,
}

#[derive(Debug, Default)]
pub struct SchedulingQueue {
    pods: HashMap<ObjectKey, Waiting>,
    ready: BTreeMap<ReadyKey, ObjectKey>,
    backoff: BTreeMap<(Instant, u64), ObjectKey>,
    unschedulable: BTreeMap<(Instant, u64), ObjectKey>,
    in_flight: HashSet<ObjectKey>,
    arrivals: u64,
}

impl SchedulingQueue {
    /// A pod that waits for a node: new, or changed while it waits.
    pub fn set(&mut self, key: ObjectKey, pod: Arc<Pod>) {
        let gated = !pod.spec.scheduling_gates.is_empty();
        match self.pods.get_mut(&key) {
            Some(waiting) if waiting.pod.metadata.uid == pod.metadata.uid => {
                let changed = may_matter(&waiting.pod, &pod);
                waiting.pod = pod;
                match &mut waiting.state {
                    State::InFlight(events) if changed => *events = events.and(Events::POD_CHANGED),
                    State::Gated if !gated => self.make_ready(&key),
                    State::Unschedulable { wakes_on, .. } if changed && wakes_on.intersects(Events::POD_CHANGED) => {
                        self.make_ready(&key);
                    }
                    _ => {}
                }
            }
            _ => {
                self.remove(&key);
                self.arrivals += 1;
                let waiting = Waiting { pod, attempts: 0, order: self.arrivals, state: State::Gated };
                self.pods.insert(key.clone(), waiting);
                if !gated {
                    self.make_ready(&key);
                }
            }
        }
    }

    pub fn remove(&mut self, key: &ObjectKey) {
        self.leave_state(key);
        self.pods.remove(key);
    }

    /// The pod to schedule next. It stays known until it is removed or [`Self::failed`].
    pub fn pop(&mut self) -> Option<(ObjectKey, Arc<Pod>)> {
        let (_, key) = self.ready.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.state = State::InFlight(Events::NONE);
        waiting.attempts += 1;
        self.in_flight.insert(key.clone());
        Some((key, waiting.pod.clone()))
    }

    /// No node was found (`wakes_on` says what may change that), or something else went wrong (`wakes_on` is empty: the
    /// pod is tried again after its backoff).
    pub fn failed(&mut self, key: &ObjectKey, wakes_on: Events, now: Instant) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let State::InFlight(missed) = waiting.state else { return };
        if wakes_on.is_empty() || missed.intersects(wakes_on) {
            self.start_backoff(key, now);
        } else {
            let until = now + UNSCHEDULABLE_MAX;
            waiting.state = State::Unschedulable { wakes_on, until };
            self.unschedulable.insert((until, waiting.order), key.clone());
            self.in_flight.remove(key);
        }
    }

    /// Something happened: pods that it may help wait for their backoff from now on, the others go on waiting.
    pub fn happened(&mut self, events: Events, now: Instant) {
        for key in &self.in_flight {
            if let Some(State::InFlight(missed)) = self.pods.get_mut(key).map(|waiting| &mut waiting.state) {
                *missed = missed.and(events);
            }
        }
        let helps = |key: &&ObjectKey| {
            let state = self.pods.get(*key).map(|waiting| &waiting.state);
            matches!(state, Some(State::Unschedulable { wakes_on, .. }) if wakes_on.intersects(events))
        };
        let woken: Vec<ObjectKey> = self.unschedulable.values().filter(helps).cloned().collect();
        for key in woken {
            self.start_backoff(&key, now);
        }
    }

    /// Makes those ready whose time has come.
    pub fn advance(&mut self, now: Instant) {
        while let Some((&(until, _), _)) = self.backoff.first_key_value()
            && until <= now
            && let Some((_, key)) = self.backoff.pop_first()
        {
            self.make_ready(&key);
        }
        while let Some((&(until, _), key)) = self.unschedulable.first_key_value()
            && until <= now
        {
            self.make_ready(&key.clone());
        }
    }

    /// When [`Self::advance`] has something to do next, unless something else happens before.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first =
            |waiting: &BTreeMap<(Instant, u64), ObjectKey>| waiting.first_key_value().map(|((until, _), _)| *until);
        first(&self.backoff).into_iter().chain(first(&self.unschedulable)).min()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn make_ready(&mut self, key: &ObjectKey) {
        self.leave_state(key);
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.state = State::Ready;
        self.ready.insert((Reverse(waiting.pod.spec.priority), waiting.order), key.clone());
    }

    fn start_backoff(&mut self, key: &ObjectKey, now: Instant) {
        self.leave_state(key);
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let until = now + backoff(waiting.attempts);
        waiting.state = State::Backoff(until);
        self.backoff.insert((until, waiting.order), key.clone());
    }

    /// Takes a pod out of the order that it waits in.
    fn leave_state(&mut self, key: &ObjectKey) {
        let Some(waiting) = self.pods.get(key) else { return };
        match waiting.state {
            State::Ready => drop(self.ready.remove(&(Reverse(waiting.pod.spec.priority), waiting.order))),
            State::InFlight(_) => drop(self.in_flight.remove(key)),
            State::Backoff(until) => drop(self.backoff.remove(&(until, waiting.order))),
            State::Unschedulable { until, .. } => drop(self.unschedulable.remove(&(until, waiting.order))),
            State::Gated => {}
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(8);
    (BACKOFF_MIN * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

/// Whether a change of a waiting pod may make it schedulable. Its status (our own conditions) does not.
fn may_matter(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels != new.metadata.labels
        || old.spec.tolerations != new.spec.tolerations
        || old.spec.node_selector != new.spec.node_selector
        || old.spec.affinity != new.spec.affinity
        || old.spec.scheduling_gates.len() != new.spec.scheduling_gates.len()
        || old.requests() != new.requests()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32, gates: &[&str]) -> (ObjectKey, Arc<Pod>) {
        let gates: Vec<_> = gates.iter().map(|name| json!({"name": name})).collect();
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"priority": priority, "schedulingGates": gates},
        });
        (ObjectKey::new("default", name), Arc::new(serde_json::from_value(pod).expect("a pod")))
    }

    fn names(queue: &mut SchedulingQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop()).map(|(key, _)| key.name.to_string()).collect()
    }

    #[test]
    fn higher_priority_first_then_first_come() {
        let mut queue = SchedulingQueue::default();
        for (key, pod) in [pod("a", 0, &[]), pod("b", 10, &[]), pod("c", 0, &[]), pod("d", 10, &[])] {
            queue.set(key, pod);
        }
        assert_eq!(names(&mut queue), ["b", "d", "a", "c"]);
    }

    #[test]
    fn a_failed_pod_waits_for_what_may_help_and_then_for_its_backoff() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        let (key, pod) = pod("a", 0, &[]);
        queue.set(key.clone(), pod);
        assert_eq!(names(&mut queue), ["a"]);
        queue.failed(&key, Events::NODE_ADDED, now);
        queue.happened(Events::POD_GONE, now);
        queue.advance(now + Duration::from_secs(60));
        assert_eq!(names(&mut queue), [""; 0], "a pod that left does not help");
        queue.happened(Events::NODE_ADDED, now);
        assert_eq!(queue.next_deadline(), Some(now + Duration::from_secs(1)));
        queue.advance(now + Duration::from_secs(1));
        assert_eq!(names(&mut queue), ["a"]);
        queue.failed(&key, Events::NONE, now);
        assert_eq!(queue.next_deadline(), Some(now + Duration::from_secs(2)), "the second failure waits longer");
    }

    #[test]
    fn what_happens_during_an_attempt_is_not_missed() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        let (key, pod) = pod("a", 0, &[]);
        queue.set(key.clone(), pod);
        assert_eq!(names(&mut queue), ["a"]);
        queue.happened(Events::NODE_ADDED, now);
        queue.failed(&key, Events::NODE_ADDED, now);
        queue.advance(now + Duration::from_secs(1));
        assert_eq!(names(&mut queue), ["a"]);
    }

    #[test]
    fn gates_hold_until_the_last_is_gone() {
        let mut queue = SchedulingQueue::default();
        for gates in [&["x", "y"][..], &["x"], &[]] {
            assert_eq!(names(&mut queue), [""; 0]);
            let (key, pod) = pod("a", 0, gates);
            queue.set(key, pod);
        }
        assert_eq!(names(&mut queue), ["a"]);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let (mut queue, now) = (SchedulingQueue::default(), Instant::now());
        let (key, pod) = pod("a", 0, &[]);
        queue.set(key.clone(), pod);
        assert_eq!(names(&mut queue), ["a"]);
        queue.failed(&key, Events::NODE_ADDED, now);
        let deadline = queue.next_deadline().expect("a deadline");
        queue.advance(deadline);
        assert_eq!(names(&mut queue), ["a"]);
    }
}
