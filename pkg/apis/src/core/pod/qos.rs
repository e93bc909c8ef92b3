//! The quality-of-service class of a pod, from its requests and limits of cpu and memory.

use std::collections::BTreeMap;

use apimachinery::Object;
use apimachinery::quantity::Quantity;
use serde_json::Value;

use crate::quantity;
use crate::tree::Tree;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn class(pod: &Object) -> &'static str {
    let spec = pod.field("spec");
    let mut sums = Sums { every_limit: true, ..Sums::default() };
    if spec.field("resources").as_object().is_some_and(|r| !r.is_empty()) {
        sums.add(spec.field("resources"));
    } else {
        let lists = [spec.list("containers"), spec.list("initContainers")];
        lists.into_iter().flatten().for_each(|c| sums.add(c.field("resources")));
    }
    sums.class()
}

#[derive(Default)]
struct Sums<'a> {
    requests: BTreeMap<&'a str, Quantity>,
    limits: BTreeMap<&'a str, Quantity>,
    /// Every container limits both cpu and memory.
    every_limit: bool,
}

impl<'a> Sums<'a> {
    fn add(&mut self, resources: &'a Value) {
        for (name, value) in positive(resources, "requests") {
            let sum = self.requests.entry(name).or_default();
            *sum += value;
        }
        let mut limited = 0;
        for (name, value) in positive(resources, "limits") {
            limited += 1;
            let sum = self.limits.entry(name).or_default();
            *sum += value;
        }
        self.every_limit &= limited == COUNTED.len();
    }

    fn class(&self) -> &'static str {
        if self.requests.is_empty() && self.limits.is_empty() {
            "BestEffort"
        } else if self.every_limit && self.requests == self.limits {
            "Guaranteed"
        } else {
            "Burstable"
        }
    }
}

fn positive<'a>(resources: &'a Value, list: &str) -> impl Iterator<Item = (&'a str, Quantity)> {
    let counted = resources.entries(list).filter(|(name, _)| COUNTED.contains(name));
    let amounts = counted.filter_map(|(name, value)| Some((name, quantity::parse(value)?)));
    amounts.filter(|(_, amount)| *amount > Quantity::ZERO)
}
