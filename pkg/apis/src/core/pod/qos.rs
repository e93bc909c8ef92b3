//! The quality-of-service class of a pod, from its requests and limits of cpu and memory.

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

/// Amounts of what is counted; zero is the same as none.
type Amounts = [Quantity; COUNTED.len()];

#[derive(Default)]
struct Sums {
    requests: Amounts,
    limits: Amounts,
    /// Every container limits both cpu and memory.
    every_limit: bool,
}

impl Sums {
    fn add(&mut self, resources: &Value) {
        let (requests, limits) = (positive(resources, "requests"), positive(resources, "limits"));
        self.requests.iter_mut().zip(requests).for_each(|(sum, amount)| *sum += amount);
        self.limits.iter_mut().zip(limits).for_each(|(sum, amount)| *sum += amount);
        self.every_limit &= !limits.contains(&Quantity::ZERO);
    }

    fn class(&self) -> &'static str {
        if self.requests.iter().chain(&self.limits).all(Quantity::is_zero) {
            "BestEffort"
        } else if self.every_limit && self.requests == self.limits {
            "Guaranteed"
        } else {
            "Burstable"
        }
    }
}

fn positive(resources: &Value, list: &str) -> Amounts {
    let amounts = resources.field(list);
    let one = |name| quantity::parse(amounts.field(name)).filter(|amount| !amount.is_negative());
    COUNTED.map(|name| one(name).unwrap_or_default())
}
