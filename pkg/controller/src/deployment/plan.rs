//! How many replicas each ReplicaSet of a Deployment gets, without I/O.

use apimachinery::intstr::IntOrString;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString as WireIntOrString;

use super::revision::{DESIRED, MAX, annotation_i32};

/// A ReplicaSet (by its place in the list given) and the size it should have.
pub(super) type Sizes = Vec<(usize, i32)>;

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    let kind = deployment.spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref());
    kind.is_none_or(|kind| kind == "RollingUpdate")
}

/// Absolute `(maxSurge, maxUnavailable)`: percentages of the replicas, surge rounded up and unavailability down. Both
/// zero would allow no step at all, so one may then be unavailable.
pub(super) fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    if !is_rolling(deployment) {
        return (0, 0);
    }
    let rolling = deployment.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let total = i64::from(replicas(deployment));
    let scaled = |value: Option<&WireIntOrString>, up: bool| {
        let value = match value {
            Some(WireIntOrString::Int(number)) => return *number,
            Some(WireIntOrString::String(text)) => IntOrString::String(text.clone()),
            None => IntOrString::String("25%".into()),
        };
        value.scaled(total, up).ok().and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
    };
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), true);
    let unavailable = scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    fenceposts(deployment).1.min(replicas(deployment))
}

fn total<'a>(sets: impl IntoIterator<Item = &'a ReplicaSet>) -> i32 {
    sets.into_iter().map(size).sum()
}

/// The size of the new ReplicaSet in the next step, given all of them (the new one included).
pub(super) fn new_set_size(deployment: &Deployment, current: i32, all: &[ReplicaSet]) -> i32 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let max_total = wanted + fenceposts(deployment).0;
    let room = max_total - total(all);
    if room <= 0 {
        return current;
    }
    current + room.min(wanted - current).max(0)
}

/// Old ReplicaSets by how much they can shrink while enough pods stay available: first what is unhealthy, then the
/// oldest. `new` is the new one.
pub(super) fn shrink_old(deployment: &Deployment, new: &ReplicaSet, old: &[ReplicaSet]) -> Sizes {
    let min_available = replicas(deployment) - max_unavailable(deployment);
    let new_unavailable = size(new) - available(new);
    let spare = total(old) + size(new) - min_available - new_unavailable;
    if total(old) == 0 || spare <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(size).collect();
    let order = by_age(old);
    let mut unhealthy_left = spare;
    for &i in &order {
        let unhealthy = sizes[i] - available(&old[i]);
        let cut = unhealthy.clamp(0, unhealthy_left);
        sizes[i] -= cut;
        unhealthy_left -= cut;
    }
    let available_now = available(new) + old.iter().map(available).sum::<i32>();
    let mut healthy_left = available_now - min_available;
    for &i in &order {
        let cut = sizes[i].clamp(0, healthy_left.max(0));
        sizes[i] -= cut;
        healthy_left -= cut;
    }
    changes(old, &sizes)
}

/// The sets whose size differs from the one given.
fn changes(sets: &[ReplicaSet], sizes: &[i32]) -> Sizes {
    sizes.iter().copied().enumerate().filter(|(i, wanted)| size(&sets[*i]) != *wanted).collect()
}

/// Places in the list, the oldest set first.
fn by_age(sets: &[ReplicaSet]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sets.len()).collect();
    let age = |i: usize| (sets[i].metadata.creation_timestamp.clone(), sets[i].metadata.name.clone());
    order.sort_by_key(|i| age(*i));
    order
}

/// The deployment's size changed in the middle of a rollout, or while it is paused: sizes that keep the proportions.
/// `new` is the place of the new ReplicaSet in `sets`, if there is one. Sets whose size stays are listed too where their
/// annotations have to follow.
pub(super) fn scale(deployment: &Deployment, sets: &[ReplicaSet], new: Option<usize>) -> Sizes {
    let wanted = replicas(deployment);
    let active: Vec<usize> = (0..sets.len()).filter(|i| size(&sets[*i]) > 0).collect();
    if active.len() <= 1 {
        // One set, or none: then the new one, or else the latest.
        let latest = || by_age(sets).last().copied();
        let only = active.first().copied().or(new).or_else(latest);
        return only.filter(|i| size(&sets[*i]) != wanted).map(|i| (i, wanted)).into_iter().collect();
    }
    if new.is_some_and(|new| is_saturated(deployment, &sets[new])) {
        return active.into_iter().filter(|i| Some(*i) != new).map(|i| (i, 0)).collect();
    }
    if is_rolling(deployment) { proportional(deployment, sets, active) } else { Vec::new() }
}

/// The new ReplicaSet carries the whole deployment.
fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    annotation_i32(&set.metadata, DESIRED) == Some(wanted) && size(set) == wanted && available(set) == wanted
}

fn proportional(deployment: &Deployment, sets: &[ReplicaSet], mut active: Vec<usize>) -> Sizes {
    let wanted = replicas(deployment);
    let max_replicas = wanted + fenceposts(deployment).0;
    let allowed = if wanted > 0 { max_replicas } else { 0 };
    let to_add = allowed - active.iter().map(|i| size(&sets[*i])).sum::<i32>();
    // The largest first; among equals the newest when growing and the oldest when shrinking.
    let created = |i: usize| sets[i].metadata.creation_timestamp.clone();
    active.sort_by(|a, b| {
        let by_size = size(&sets[*b]).cmp(&size(&sets[*a]));
        let by_age = created(*a).cmp(&created(*b));
        by_size.then(if to_add > 0 { by_age.reverse() } else { by_age })
    });
    let mut added = 0;
    let mut sizes = Vec::with_capacity(active.len());
    for &i in &active {
        let fraction = fraction(deployment, &sets[i], max_replicas);
        let left = to_add - added;
        let part = match to_add {
            0 => 0,
            1.. => fraction.min(left),
            _ => fraction.max(left),
        };
        sizes.push((i, size(&sets[i]) + part));
        added += part;
    }
    if let Some(first) = sizes.first_mut()
        && to_add != 0
    {
        // What rounding left over goes to the largest.
        first.1 = (first.1 + to_add - added).max(0);
    }
    sizes
}

/// By how much a set grows (or shrinks) to keep its share of the deployment.
fn fraction(deployment: &Deployment, set: &ReplicaSet, max_replicas: i32) -> i32 {
    let current = size(set);
    if replicas(deployment) == 0 {
        return -current;
    }
    let status = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let before = annotation_i32(&set.metadata, MAX).filter(|max| *max > 0).unwrap_or(status);
    if before == 0 {
        return 0;
    }
    let exact = f64::from(current) * f64::from(max_replicas) / f64::from(before);
    // Replica counts are far below 2^31.
    exact.round() as i32 - current
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32, surge: &str, unavailable: &str) -> Deployment {
        let parse = |s: &str| s.parse::<i32>().map_or(json!(s), |n| json!(n));
        serde_json::from_value(json!({
            "metadata": { "name": "d" },
            "spec": {
                "replicas": replicas, "selector": {}, "template": {},
                "strategy": { "type": "RollingUpdate",
                    "rollingUpdate": { "maxSurge": parse(surge), "maxUnavailable": parse(unavailable) } }
            },
            "status": { "replicas": replicas }
        }))
        .unwrap()
    }

    /// A set of `(age rank, size, available)`; the annotations are those of a deployment of `desired` and `max`.
    fn set(age: i32, size: i32, available: i32, desired: i32, max: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": { "name": format!("rs{age}"), "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z"),
                "annotations": { DESIRED: desired.to_string(), MAX: max.to_string() } },
            "spec": { "replicas": size, "selector": {} },
            "status": { "replicas": size, "availableReplicas": available }
        }))
        .unwrap()
    }

    #[test]
    fn surge_rounds_up_and_unavailability_down() {
        for (replicas, surge, unavailable, wanted) in [
            (10, "25%", "25%", (3, 2)),
            (1, "25%", "25%", (1, 0)),
            (3, "0", "1%", (0, 1)),
            (4, "2", "0", (2, 0)),
            (0, "25%", "25%", (0, 1)),
        ] {
            assert_eq!(
                fenceposts(&deployment(replicas, surge, unavailable)),
                wanted,
                "{replicas} {surge} {unavailable}"
            );
        }
    }

    #[test]
    fn the_new_set_grows_into_the_room_there_is() {
        let d = deployment(10, "3", "2");
        assert_eq!(new_set_size(&d, 0, &[set(1, 10, 10, 10, 13)]), 3);
        assert_eq!(new_set_size(&d, 3, &[set(1, 8, 8, 10, 13), set(2, 3, 0, 10, 13)]), 5);
        assert_eq!(new_set_size(&d, 9, &[set(1, 0, 0, 10, 13), set(2, 9, 0, 10, 13)]), 10);
        assert_eq!(new_set_size(&d, 5, &[set(1, 9, 9, 10, 13), set(2, 5, 0, 10, 13)]), 5);
    }

    #[test]
    fn old_sets_shrink_only_while_enough_is_available() {
        let d = deployment(10, "3", "2");
        // Nothing of the new is ready: two may go.
        assert_eq!(shrink_old(&d, &set(9, 3, 0, 10, 13), &[set(1, 10, 10, 10, 13)]), [(0, 8)]);
        // Already at the limit.
        assert_eq!(shrink_old(&d, &set(9, 5, 0, 10, 13), &[set(1, 8, 8, 10, 13)]), []);
        // The new ones became ready.
        assert_eq!(shrink_old(&d, &set(9, 5, 5, 10, 13), &[set(1, 8, 8, 10, 13)]), [(0, 3)]);
        // Unhealthy ones go first and cost no availability.
        assert_eq!(shrink_old(&d, &set(9, 3, 0, 10, 13), &[set(1, 5, 5, 10, 13), set(2, 5, 0, 10, 13)]), [(1, 3)]);
        // The oldest goes first.
        assert_eq!(
            shrink_old(&d, &set(9, 10, 10, 10, 13), &[set(2, 4, 4, 10, 13), set(1, 4, 4, 10, 13)]),
            [(0, 0), (1, 0)]
        );
        assert_eq!(shrink_old(&d, &set(9, 4, 4, 10, 13), &[set(2, 4, 4, 10, 13), set(1, 4, 4, 10, 13)]), [(1, 0)]);
    }

    #[test]
    fn one_active_set_takes_the_whole_change() {
        let d = deployment(5, "25%", "25%");
        assert_eq!(scale(&d, &[set(1, 0, 0, 3, 4), set(2, 3, 3, 3, 4)], Some(1)), [(1, 5)]);
        assert_eq!(scale(&d, &[set(1, 0, 0, 0, 0), set(2, 0, 0, 0, 0)], None), [(1, 5)]);
        assert_eq!(scale(&d, &[set(1, 5, 5, 5, 7)], Some(0)), []);
    }

    #[test]
    fn a_change_in_the_middle_of_a_rollout_keeps_the_proportions() {
        // Upstream's documented example: 10 replicas, maxSurge 3, 8 old and 5 new; scaled to 15.
        let d = deployment(15, "3", "2");
        let sets = [set(1, 8, 8, 10, 13), set(2, 5, 0, 10, 13)];
        assert_eq!(scale(&d, &sets, Some(1)), [(0, 11), (1, 7)]);
        let d = deployment(0, "3", "2");
        assert_eq!(scale(&d, &sets, Some(1)), [(0, 0), (1, 0)]);
        let d = deployment(5, "0", "1");
        let sizes = scale(&d, &[set(1, 6, 6, 10, 10), set(2, 4, 4, 10, 10)], Some(1));
        assert_eq!(sizes.iter().map(|(_, size)| size).sum::<i32>(), 5);
    }

    #[test]
    fn a_saturated_new_set_ends_the_old_ones() {
        let d = deployment(5, "25%", "25%");
        assert_eq!(scale(&d, &[set(1, 2, 2, 5, 7), set(2, 5, 5, 5, 7)], Some(1)), [(0, 0)]);
    }
}
