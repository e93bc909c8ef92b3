//! Amounts of resources: what a pod asks for and what a node has.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;

use crate::types::{Container, PodSpec, ResourceList};

/// What a container without requests counts as when nodes are scored, so that many of them are spread, too.
const DEFAULT_CPU_MILLI: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 << 20;

/// CPU in thousandths, everything else in its own unit (bytes or pieces).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    /// How many pods; only of nodes.
    pub pods: i64,
    /// Extended resources and huge pages by name.
    pub other: BTreeMap<String, i64>,
    /// CPU and memory with defaults for containers that ask for none; what scoring uses.
    pub scored_cpu_milli: i64,
    pub scored_memory: i64,
}

impl Resources {
    /// What a pod asks for: the larger of its running set and any step of its initialization, plus overhead
    /// (KEP-753: a sidecar counts from its place in the order of init containers on).
    pub fn of_pod(spec: &PodSpec) -> Self {
        let mut running = Self::default();
        for container in &spec.containers {
            running.add(&Self::of_container(container));
        }
        let (mut sidecars, mut initializing) = (Self::default(), Self::default());
        for container in &spec.init_containers {
            let mut step = Self::of_container(container);
            if container.restart_policy == "Always" {
                sidecars.add(&step);
                step = sidecars.clone();
            } else {
                step.add(&sidecars);
            }
            initializing.raise_to(&step);
        }
        running.add(&sidecars);
        running.raise_to(&initializing);
        if let Some(pod_level) = &spec.resources {
            running.replace(&Self::of_list(&pod_level.requests), &pod_level.requests);
        }
        running.add(&Self::of_list(&spec.overhead));
        running
    }

    fn of_container(container: &Container) -> Self {
        let requests = &container.resources.requests;
        let mut resources = Self::of_list(requests);
        if !requests.contains_key("cpu") {
            resources.scored_cpu_milli = DEFAULT_CPU_MILLI;
        }
        if !requests.contains_key("memory") {
            resources.scored_memory = DEFAULT_MEMORY_BYTES;
        }
        resources
    }

    /// Amounts that do not parse were refused by the API server; here they count as nothing.
    pub fn of_list(list: &ResourceList) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            let Ok(quantity) = Quantity::parse(&quantity.0) else { continue };
            match name.as_str() {
                "cpu" => resources.cpu_milli = quantity.milli_value(),
                "memory" => resources.memory = quantity.value(),
                "ephemeral-storage" => resources.ephemeral_storage = quantity.value(),
                "pods" => resources.pods = quantity.value(),
                other => {
                    resources.other.insert(other.to_owned(), quantity.value());
                }
            }
        }
        resources.scored_cpu_milli = resources.cpu_milli;
        resources.scored_memory = resources.memory;
        resources
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, |a, b| a + b);
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, |a, b| a - b);
    }

    fn raise_to(&mut self, floor: &Self) {
        self.combine(floor, std::cmp::max);
    }

    fn combine(&mut self, with: &Self, f: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = f(self.cpu_milli, with.cpu_milli);
        self.memory = f(self.memory, with.memory);
        self.ephemeral_storage = f(self.ephemeral_storage, with.ephemeral_storage);
        self.pods = f(self.pods, with.pods);
        self.scored_cpu_milli = f(self.scored_cpu_milli, with.scored_cpu_milli);
        self.scored_memory = f(self.scored_memory, with.scored_memory);
        for (name, amount) in &with.other {
            let own = self.other.entry(name.clone()).or_insert(0);
            *own = f(*own, *amount);
        }
    }

    /// Pod-level requests take the place of the containers' sums for the resources that they name.
    fn replace(&mut self, pod_level: &Self, named: &ResourceList) {
        if named.contains_key("cpu") {
            (self.cpu_milli, self.scored_cpu_milli) = (pod_level.cpu_milli, pod_level.cpu_milli);
        }
        if named.contains_key("memory") {
            (self.memory, self.scored_memory) = (pod_level.memory, pod_level.memory);
        }
        for (name, amount) in &pod_level.other {
            self.other.insert(name.clone(), *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(spec: serde_json::Value) -> (i64, i64) {
        let spec: PodSpec = serde_json::from_value(spec).expect("a pod spec");
        let resources = Resources::of_pod(&spec);
        (resources.cpu_milli, resources.memory)
    }

    fn container(cpu: &str) -> serde_json::Value {
        serde_json::json!({"resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}})
    }

    #[test]
    fn a_pod_asks_for_the_larger_of_running_and_initializing() {
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = "Always".into();
        let cases = [
            (serde_json::json!({"containers": [container("1"), container("500m")]}), 1500),
            (serde_json::json!({"containers": [container("1")], "initContainers": [container("3")]}), 3000),
            (serde_json::json!({"containers": [container("1")], "initContainers": [sidecar, container("500m")]}), 1100),
            (serde_json::json!({"containers": [container("1")], "initContainers": [sidecar, container("2")]}), 2100),
            (serde_json::json!({"containers": [container("1")], "overhead": {"cpu": "50m"}}), 1050),
            (serde_json::json!({"containers": [container("1")], "resources": {"requests": {"cpu": "2"}}}), 2000),
        ];
        for (spec, expected) in cases {
            assert_eq!(requests(spec.clone()).0, expected, "{spec}");
        }
    }

    #[test]
    fn a_container_without_requests_is_scored_with_defaults() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({"containers": [{}, {}]})).expect("a pod spec");
        let resources = Resources::of_pod(&spec);
        assert_eq!((resources.cpu_milli, resources.scored_cpu_milli, resources.scored_memory), (0, 200, 400 << 20));
    }
}
