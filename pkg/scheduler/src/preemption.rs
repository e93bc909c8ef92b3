//! DefaultPreemption: if no node does, find one where evicting pods of lower priority makes room, and the fewest and
//! least important of them. Pure; the loop deletes the victims.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::cycle::{Filters, FitError, Scheduler, tally};
use crate::selector;
use crate::types::Pod;

const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
/// How many nodes with victims are enough to choose from.
const CANDIDATES: usize = 100;

/// Where the pod is to go, and who has to leave first.
#[derive(Debug)]
pub struct Nomination {
    pub node: String,
    pub victims: Vec<Arc<Pod>>,
}

struct Candidate {
    node: NodeIndex,
    /// Most important first.
    victims: Vec<Arc<Pod>>,
    /// How many of them a disruption budget protects.
    violations: usize,
}

/// A node to make room on, or why that does not help (the end of the `FailedScheduling` text).
pub fn preempt(
    scheduler: &Scheduler,
    pod: &Arc<Pod>,
    error: &FitError,
    cluster: &mut Cluster,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Result<Nomination, String> {
    let nodes = error.nodes;
    let none = |text: String| Err(format!("0/{nodes} nodes are available: {text}."));
    if pod.spec.preemption_policy == "Never" {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if waits_for_victims(pod, cluster) {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let Ok(filters) = scheduler.compile(pod, cluster) else { return none(format!("{nodes} {NOT_HELPFUL}")) };
    let (mut candidates, mut texts) = (Vec::new(), Vec::new());
    for (index, reason) in &error.reasons {
        let Some(info) = cluster.node(*index).filter(|_| reason.preemption_helps) else {
            texts.push(NOT_HELPFUL);
            continue;
        };
        match victims(pod, *index, info, &filters, budgets) {
            Some(candidate) if candidates.len() < CANDIDATES => candidates.push(candidate),
            Some(_) => break,
            None => texts.push(NO_VICTIMS),
        }
    }
    match candidates.into_iter().min_by_key(cost) {
        Some(best) => {
            let node = cluster.node(best.node).map(|info| info.name.clone()).unwrap_or_default();
            Ok(Nomination { node, victims: best.victims })
        }
        None if error.rejection.is_some() => none(format!("{nodes} {NOT_HELPFUL}")),
        None => none(tally(texts.into_iter())),
    }
}

/// Victims of an earlier round on the nominated node are still ending: more would be one too many.
fn waits_for_victims(pod: &Pod, cluster: &Cluster) -> bool {
    let Some((_, info)) = cluster.node_named(&pod.status.nominated_node_name) else { return false };
    info.pods.iter().any(|p| p.is_deleting() && p.spec.priority < pod.spec.priority)
}

/// Fewest budget violations, then the lowest highest priority, the lowest sum of priorities, the fewest victims, and
/// the latest start of the most important of them.
fn cost(candidate: &Candidate) -> (usize, i32, i64, usize, Reverse<String>) {
    let highest = candidate.victims.first().map_or(i32::MIN, |v| v.spec.priority);
    // Shifted so that more victims never make a smaller sum.
    let sum = candidate.victims.iter().map(|v| i64::from(v.spec.priority) + i64::from(i32::MAX) + 1).sum();
    let important = candidate.victims.iter().filter(|v| v.spec.priority == highest);
    let started = important.map(|v| v.status.start_time.clone()).min().unwrap_or_default();
    (candidate.violations, highest, sum, candidate.victims.len(), Reverse(started))
}

/// A node without some of its pods, and the filters that count across nodes without them, too.
struct Supposition<'a> {
    index: NodeIndex,
    info: NodeInfo,
    filters: &'a Filters,
    supposed: Vec<(usize, Option<Box<dyn crate::framework::Filter>>)>,
}

impl Supposition<'_> {
    fn change(&mut self, pod: &Arc<Pod>, sign: i64) {
        if sign > 0 {
            self.info.add(pod.clone());
        } else {
            self.info.remove(&pod.metadata.uid);
        }
        for filter in self.supposed.iter_mut().filter_map(|(_, filter)| filter.as_mut()) {
            filter.suppose(pod, self.index, &self.info, sign);
        }
    }

    fn fits(&self) -> bool {
        self.supposed.iter().all(|(position, own)| {
            let filter = own.as_deref().unwrap_or_else(|| self.filters.at(*position));
            filter.filter(self.index, &self.info).is_ok()
        })
    }
}

/// Takes all lower pods away, and puts back as many as possible: first those that budgets protect, the most important
/// first.
fn victims(
    pod: &Arc<Pod>,
    index: NodeIndex,
    info: &NodeInfo,
    filters: &Filters,
    budgets: &[Arc<PodDisruptionBudget>],
) -> Option<Candidate> {
    let mut lower: Vec<Arc<Pod>> = info.pods.iter().filter(|p| p.spec.priority < pod.spec.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let mut node = Supposition { index, info: info.clone(), filters, supposed: filters.supposing() };
    lower.iter().for_each(|p| node.change(p, -1));
    if !node.fits() {
        return None;
    }
    lower.sort_by(|a, b| importance(b).cmp(&importance(a)));
    let (protected, free) = split_by_budgets(lower, budgets);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (candidate, counts) in protected.into_iter().map(|p| (p, 1)).chain(free.into_iter().map(|p| (p, 0))) {
        node.change(&candidate, 1);
        if !node.fits() {
            node.change(&candidate, -1);
            victims.push(candidate);
            violations += counts;
        }
    }
    victims.sort_by(|a, b| importance(b).cmp(&importance(a)));
    (!victims.is_empty()).then_some(Candidate { node: index, victims, violations })
}

/// Higher priority, then an earlier start.
fn importance(pod: &Pod) -> (i32, Reverse<&str>) {
    (pod.spec.priority, Reverse(&pod.status.start_time))
}

/// Pods whose eviction would break a disruption budget, and the others; order is kept.
fn split_by_budgets(pods: Vec<Arc<Pod>>, budgets: &[Arc<PodDisruptionBudget>]) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let mut left: HashMap<usize, i32> = HashMap::new();
    pods.into_iter().partition(|pod| {
        let mut protected = false;
        for (index, budget) in budgets.iter().enumerate() {
            let (spec, status) = (budget.spec.as_ref(), budget.status.as_ref());
            let covers = budget.metadata.namespace.as_deref() == Some(&pod.metadata.namespace)
                && spec.and_then(|s| s.selector.as_ref()).is_some_and(|s| {
                    let selector = selector::compile(Some(s));
                    !selector.is_everything() && selector::matches(&selector, &pod.metadata.labels)
                });
            let already =
                status.and_then(|s| s.disrupted_pods.as_ref()).is_some_and(|d| d.contains_key(&pod.metadata.name));
            if covers && !already {
                let allowed =
                    left.entry(index).or_insert_with(|| status.and_then(|s| s.disruptions_allowed).unwrap_or(0));
                *allowed -= 1;
                protected |= *allowed < 0;
            }
        }
        protected
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins;

    /// Name, priority and CPU of a node's pods.
    type Pods<'a> = &'a [(&'a str, i32, &'a str)];

    fn pod(name: &str, priority: i32, cpu: &str) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": name}},
            "spec": {"priority": priority, "containers": [{"resources": {"requests": {"cpu": cpu}}}]},
        });
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn cluster(nodes: &[(&str, Pods<'_>)]) -> Cluster {
        let mut cluster = Cluster::default();
        for (name, pods) in nodes {
            let node = json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": "4", "pods": "10"}}});
            cluster.set_node(Arc::new(serde_json::from_value(node).expect("a node")));
            for (pod_name, priority, cpu) in *pods {
                cluster.place(pod(pod_name, *priority, cpu), name);
            }
        }
        cluster
    }

    fn outcome(
        pod: &Arc<Pod>,
        cluster: &mut Cluster,
        budgets: &[Arc<PodDisruptionBudget>],
    ) -> Result<(String, Vec<String>), String> {
        let mut scheduler = Scheduler::new(plugins::defaults(plugins::Volumes::default()));
        let error = scheduler.schedule(pod, cluster).expect_err("nothing is free");
        let nomination = preempt(&scheduler, pod, &error, cluster, budgets)?;
        Ok((nomination.node, nomination.victims.iter().map(|v| v.metadata.name.clone()).collect()))
    }

    #[test]
    fn the_least_important_and_fewest_leave() {
        let nodes: [(&str, Pods<'_>); 3] = [
            ("a", &[("a-low", 1, "2"), ("a-high", 50, "2")]),
            ("b", &[("b-low", 1, "1"), ("b-low2", 1, "1"), ("b-high", 50, "2")]),
            ("c", &[("c-top", 1000, "4")]),
        ];
        let found = outcome(&pod("new", 100, "2"), &mut cluster(&nodes), &[]);
        assert_eq!(found, Ok(("a".into(), vec!["a-low".into()])), "one victim is better than two");
        let found = outcome(&pod("new", 100, "4"), &mut cluster(&nodes), &[]);
        assert_eq!(found, Ok(("a".into(), vec!["a-high".into(), "a-low".into()])));
    }

    #[test]
    fn budgets_are_spared_where_possible() {
        let nodes: [(&str, Pods<'_>); 2] = [("a", &[("guarded", 1, "4")]), ("b", &[("free", 2, "4")])];
        let budget = json!({
            "metadata": {"name": "b", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "guarded"}}}, "status": {"disruptionsAllowed": 0,
            "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
        });
        let budgets = [Arc::new(serde_json::from_value(budget).expect("a budget"))];
        assert_eq!(
            outcome(&pod("new", 100, "4"), &mut cluster(&nodes), &budgets),
            Ok(("b".into(), vec!["free".into()]))
        );
    }

    #[test]
    fn where_it_does_not_help_it_says_so() {
        let nodes: [(&str, Pods<'_>); 1] = [("a", &[("top", 1000, "4")])];
        let cases = [
            ("2", "0/1 nodes are available: 1 No preemption victims found for incoming pod."),
            ("9", "0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
        ];
        for (cpu, expected) in cases {
            assert_eq!(outcome(&pod("new", 100, cpu), &mut cluster(&nodes), &[]), Err(expected.into()));
        }
    }
}
