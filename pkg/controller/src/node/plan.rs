//! What a node's silence and conditions mean, without I/O.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
pub(super) const NO_EXECUTE: &str = "NoExecute";
const NO_SCHEDULE: &str = "NoSchedule";
const READY: &str = "Ready";

/// Conditions that the kubelet reports and that become unknown with it.
const REPORTED: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];
/// Conditions that, when true, keep new pods away.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// A node that was heard of may be silent for this long.
pub(super) const GRACE: Duration = Duration::from_secs(50);
/// A node that never was may take this long to start.
pub(super) const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// Between two nodes that lose their pods.
pub(super) const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// The same while much of a large zone is away.
const EVICTION_INTERVAL_SLOW: Duration = Duration::from_secs(100);
/// A zone with fewer nodes than this evicts nothing while most of it is away.
const LARGE_ZONE: usize = 50;
const UNHEALTHY_PERCENT: usize = 55;

pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

pub(super) fn ready(node: &Node) -> Option<&str> {
    condition(node, READY).map(|condition| condition.status.as_str())
}

/// How long a node may be silent.
pub(super) fn grace(node: &Node) -> Duration {
    if condition(node, READY).is_some() { GRACE } else { STARTUP_GRACE }
}

/// The conditions to write for a node that has been silent for too long.
pub(super) fn unknown_conditions(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let mut changed = Vec::new();
    for kind in REPORTED {
        let old = condition(node, kind);
        if old.is_some_and(|old| old.status == "Unknown") {
            continue;
        }
        let (reason, message) = match old {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let heartbeat = old.and_then(|old| old.last_heartbeat_time.clone());
        changed.push(NodeCondition {
            type_: kind.into(),
            status: "Unknown".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: heartbeat.or_else(|| node.metadata.creation_timestamp.clone()),
            last_transition_time: Some(Time(now)),
        });
    }
    changed
}

fn taint(key: &str, effect: &str) -> Taint {
    Taint { key: key.into(), effect: effect.into(), time_added: None, value: None }
}

/// The taints that follow from a node's state. `evict` says whether pods may be driven off it now.
fn wanted_taints(node: &Node, evict: bool) -> Vec<Taint> {
    let mut wanted = Vec::new();
    let key = match ready(node) {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    // A node that never reported is not ready rather than out of reach.
    let key = if condition(node, READY).is_none() { Some(NOT_READY) } else { key };
    if let Some(key) = key {
        wanted.push(taint(key, NO_SCHEDULE));
        if evict && condition(node, READY).is_some() {
            wanted.push(taint(key, NO_EXECUTE));
        }
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind).is_some_and(|condition| condition.status == "True") {
            wanted.push(taint(key, NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        wanted.push(taint(UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted
}

fn is_ours(taint: &Taint) -> bool {
    match taint.effect.as_str() {
        NO_EXECUTE => taint.key == NOT_READY || taint.key == UNREACHABLE,
        NO_SCHEDULE => {
            [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
                || PRESSURES.iter().any(|(_, key)| *key == taint.key)
        }
        _ => false,
    }
}

fn same(a: &Taint, b: &Taint) -> bool {
    a.key == b.key && a.effect == b.effect
}

/// What is to become of the eviction taint of a node that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// Put it on.
    Start,
    /// Leave it as it is: not this node's turn yet.
    Keep,
    /// Take it off: so much is away that the fault is more likely here.
    Stop,
}

/// The node's taints as they should be; `None` if that is what they are.
pub(super) fn taints(node: &Node, eviction: Eviction, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let has_eviction = current.iter().any(|taint| is_ours(taint) && taint.effect == NO_EXECUTE);
    let evict = match eviction {
        Eviction::Start => true,
        Eviction::Keep => has_eviction,
        Eviction::Stop => false,
    };
    let wanted = wanted_taints(node, evict);
    let mut next: Vec<Taint> =
        current.iter().filter(|taint| !is_ours(taint) || wanted.iter().any(|w| same(w, taint))).cloned().collect();
    for taint in wanted {
        if !next.iter().any(|existing| same(existing, &taint)) {
            next.push(Taint { time_added: Some(Time(now)), ..taint });
        }
    }
    (next != current).then_some(next)
}

/// How fast nodes of a zone may lose their pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    One(Duration),
    Halt,
}

/// The pace for a zone with that many ready and other nodes.
pub(super) fn pace(ready: usize, not_ready: usize) -> Pace {
    let all = ready + not_ready;
    match () {
        () if ready == 0 && not_ready > 0 => Pace::One(EVICTION_INTERVAL),
        () if not_ready > 2 && not_ready * 100 >= all * UNHEALTHY_PERCENT => {
            if all > LARGE_ZONE {
                Pace::One(EVICTION_INTERVAL_SLOW)
            } else {
                Pace::Halt
            }
        }
        () => Pace::One(EVICTION_INTERVAL),
    }
}

/// What a pod's tolerations say about the taints that would drive it off its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    Forever,
    Until(Timestamp),
}

/// How long a pod may stay on a node with these taints.
pub(super) fn stay(tolerations: &[Toleration], taints: &[Taint], now: Timestamp) -> Stay {
    let mut until: Option<Timestamp> = None;
    for taint in taints.iter().filter(|taint| taint.effect == NO_EXECUTE) {
        let matching: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        let deadline = if matching.is_empty() {
            now
        } else {
            // Of several that match, the one that ends first counts.
            let Some(seconds) = matching.iter().filter_map(|t| t.toleration_seconds).min() else { continue };
            let added = taint.time_added.as_ref().map_or(now, |time| time.0);
            added.checked_add(jiff::SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX)
        };
        until = Some(until.map_or(deadline, |until| until.min(deadline)));
    }
    until.map_or(Stay::Forever, Stay::Until)
}

/// Whether a pod with this toleration lives with the taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(ready: Option<&str>, extra: Value) -> Node {
        let mut node = json!({ "metadata": { "name": "n" }, "spec": {}, "status": { "conditions": [] } });
        if let Some(status) = ready {
            node["status"]["conditions"] = json!([{ "type": "Ready", "status": status }]);
        }
        node["spec"] = extra;
        serde_json::from_value(node).unwrap()
    }

    fn shown(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        let short = |t: &Taint| format!("{}:{}", t.key.rsplit('/').next().unwrap(), t.effect);
        taints.map(|taints| taints.iter().map(short).collect())
    }

    #[test]
    fn taints_follow_conditions() {
        let now = Timestamp::UNIX_EPOCH;
        let keep = Eviction::Keep;
        assert_eq!(taints(&node(Some("True"), json!({})), keep, now), None);
        let both = ["not-ready:NoSchedule".to_owned(), "not-ready:NoExecute".to_owned()];
        assert_eq!(shown(taints(&node(Some("False"), json!({})), Eviction::Start, now)).unwrap(), both);
        assert_eq!(shown(taints(&node(Some("False"), json!({})), keep, now)).unwrap(), both[..1]);
        let cordoned =
            node(Some("True"), json!({ "unschedulable": true, "taints": [{ "key": "own", "effect": "NoExecute" }] }));
        assert_eq!(shown(taints(&cordoned, keep, now)).unwrap(), ["own:NoExecute", "unschedulable:NoSchedule"]);
        // From not ready to out of reach, keeping what others put there.
        let old = json!({ "taints": [
            { "key": NOT_READY, "effect": "NoSchedule" }, { "key": NOT_READY, "effect": "NoExecute" }, { "key": "own", "effect": "NoSchedule" }] });
        let moved = shown(taints(&node(Some("Unknown"), old.clone()), keep, now)).unwrap();
        assert_eq!(moved, ["own:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]);
        assert_eq!(shown(taints(&node(Some("True"), old.clone()), keep, now)).unwrap(), ["own:NoSchedule"]);
        assert_eq!(
            shown(taints(&node(Some("False"), old), Eviction::Stop, now)).unwrap(),
            ["not-ready:NoSchedule", "own:NoSchedule"]
        );
        // A node at birth keeps pods away but drives none off.
        assert_eq!(shown(taints(&node(None, json!({})), Eviction::Start, now)).unwrap(), ["not-ready:NoSchedule"]);
    }

    #[test]
    fn silence_makes_every_reported_condition_unknown_once() {
        let mut silent = node(Some("True"), json!({}));
        assert_eq!((grace(&silent), grace(&node(None, json!({})))), (GRACE, STARTUP_GRACE));
        let changed = unknown_conditions(&silent, Timestamp::UNIX_EPOCH);
        assert_eq!(changed.len(), 4);
        assert_eq!(changed[0].message.as_deref(), Some("Kubelet stopped posting node status."));
        assert_eq!(changed[1].reason.as_deref(), Some("NodeStatusNeverUpdated"));
        silent.status.as_mut().unwrap().conditions = Some(changed);
        assert!(unknown_conditions(&silent, Timestamp::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn a_zone_that_is_mostly_away_loses_few() {
        assert_eq!(pace(10, 1), Pace::One(EVICTION_INTERVAL));
        assert_eq!(pace(1, 2), Pace::One(EVICTION_INTERVAL), "few nodes are no disaster");
        assert_eq!(pace(4, 6), Pace::Halt);
        assert_eq!(pace(40, 60), Pace::One(EVICTION_INTERVAL_SLOW));
    }

    #[test]
    fn tolerations_say_how_long() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let taint = |key: &str| -> Taint {
            Taint { key: key.into(), effect: NO_EXECUTE.into(), time_added: Some(Time(at(100))), value: None }
        };
        let tolerate = |v: Value| -> Vec<Toleration> { serde_json::from_value(v).unwrap() };
        let five_minutes = tolerate(
            json!([{ "key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 }]),
        );
        let forever = tolerate(json!([{ "operator": "Exists" }]));
        for (tolerations, taints, wanted) in [
            (&five_minutes, vec![], Stay::Forever),
            (&five_minutes, vec![taint(NOT_READY)], Stay::Until(at(400))),
            (&five_minutes, vec![taint(UNREACHABLE)], Stay::Until(at(150))),
            (&forever, vec![taint(UNREACHABLE), taint("x")], Stay::Forever),
            (&Vec::new(), vec![taint("x")], Stay::Until(at(150))),
        ] {
            assert_eq!(stay(tolerations, &taints, at(150)), wanted);
        }
    }
}
