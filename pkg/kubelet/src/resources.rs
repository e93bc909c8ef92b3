//! Requests and limits as numbers, and what becomes of them in the kernel.

use std::collections::BTreeMap;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::pod::{PodExt as _, QosClass, is_sidecar};

/// One CPU in `cpu.shares`, and the least that the kernel takes.
const SHARES_PER_CPU: i64 = 1024;
const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
/// The CFS period, and the shortest quota that the kernel takes.
const CFS_PERIOD_MICROS: i64 = 100_000;
const CFS_QUOTA_MICROS_MIN: i64 = 1_000;

/// Thousandths; 0 for what does not parse (validation refused it long before).
pub fn milli(quantity: &Quantity) -> i64 {
    parse(quantity).map_or(0, |q| q.milli_value())
}

/// Whole units, rounded up.
pub fn whole(quantity: &Quantity) -> i64 {
    parse(quantity).map_or(0, |q| q.value())
}

fn parse(quantity: &Quantity) -> Option<apimachinery::quantity::Quantity> {
    apimachinery::quantity::Quantity::parse(&quantity.0).ok()
}

pub type List = BTreeMap<String, Quantity>;

pub fn requests(container: &Container) -> List {
    container.resources.as_ref().and_then(|r| r.requests.clone()).unwrap_or_default()
}

pub fn limits(container: &Container) -> List {
    container.resources.as_ref().and_then(|r| r.limits.clone()).unwrap_or_default()
}

/// What a pod needs of `resource` in thousandths: the larger of what runs together and what runs while initialising.
pub fn pod_request_milli(spec: &PodSpec, resource: &str) -> i64 {
    pod_total_milli(spec, resource, |c| requests(c).get(resource).or(limits(c).get(resource)).map(milli)).0
}

/// The sum, and whether every container that counts has a value (a pod limit exists only then).
fn pod_total_milli(spec: &PodSpec, resource: &str, of: impl Fn(&Container) -> Option<i64>) -> (i64, bool) {
    let mut complete = true;
    let mut take = |c: &Container| {
        let value = of(c);
        complete &= value.is_some_and(|v| v > 0);
        value.unwrap_or(0)
    };
    let main: i64 = spec.containers.iter().map(&mut take).sum();
    let (mut sidecars, mut peak) = (0, 0);
    for init in spec.init_containers.iter().flatten() {
        let value = take(init);
        if is_sidecar(init) {
            sidecars += value;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + value);
        }
    }
    let overhead = spec.overhead.as_ref().and_then(|o| o.get(resource)).map_or(0, milli);
    ((main + sidecars).max(peak) + overhead, complete)
}

/// The pod's own limit in thousandths, if every container has one.
pub fn pod_limit_milli(spec: &PodSpec, resource: &str) -> Option<i64> {
    if let Some(limit) = spec.resources.as_ref().and_then(|r| r.limits.as_ref()).and_then(|l| l.get(resource)) {
        return Some(milli(limit));
    }
    let (sum, complete) = pod_total_milli(spec, resource, |c| limits(c).get(resource).map(milli));
    complete.then_some(sum)
}

pub fn cpu_shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(SHARES_PER_CPU) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

/// (quota, period) in microseconds for a limit.
pub fn cpu_quota(milli_cpu: i64) -> (i64, i64) {
    let quota = milli_cpu.saturating_mul(CFS_PERIOD_MICROS) / 1000;
    (quota.max(CFS_QUOTA_MICROS_MIN), CFS_PERIOD_MICROS)
}

/// How readily the kernel kills a container when memory runs out: less for what asked for more.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    let critical = pod.pod_spec().priority.is_some_and(|p| p >= 2_000_000_000);
    if critical {
        return GUARANTEED;
    }
    match pod.qos_class() {
        QosClass::Guaranteed => GUARANTEED,
        QosClass::BestEffort => BEST_EFFORT,
        QosClass::Burstable => {
            let request = requests(container).get("memory").map_or(0, whole);
            let adjusted = 1000 - (1000 * request) / node_memory.max(1);
            // Between the guaranteed and the best-effort.
            adjusted.clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
        }
    }
}

/// What the runtime is told about a container.
pub fn linux_resources(pod: &Pod, container: &Container, node_memory: i64) -> v1::LinuxContainerResources {
    let (requests, limits) = (requests(container), limits(container));
    let cpu_limit = limits.get("cpu").map(milli).filter(|v| *v > 0);
    let cpu_request = requests.get("cpu").map(milli).or(cpu_limit).unwrap_or(0);
    let (cpu_quota, cpu_period) = cpu_limit.map_or((0, CFS_PERIOD_MICROS), cpu_quota);
    let hugepage_limits = limits.iter().filter_map(|(name, limit)| hugepage_limit(name, limit)).collect();
    v1::LinuxContainerResources {
        cpu_period,
        cpu_quota,
        cpu_shares: cpu_shares(cpu_request),
        memory_limit_in_bytes: limits.get("memory").map_or(0, whole),
        oom_score_adj: oom_score_adj(pod, container, node_memory),
        hugepage_limits,
        ..Default::default()
    }
}

/// `hugepages-2Mi` → `2MB`, as the cgroup names it.
fn hugepage_limit(name: &str, limit: &Quantity) -> Option<v1::HugepageLimit> {
    let size = name.strip_prefix("hugepages-")?;
    let page_size = format!("{}B", size.trim_end_matches('i'));
    Some(v1::HugepageLimit { page_size, limit: u64::try_from(whole(limit)).ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).expect("a pod")
    }

    fn cpu(name: &str, value: &str) -> serde_json::Value {
        json!({"name": name, "resources": {"requests": {"cpu": value}, "limits": {"cpu": value}}})
    }

    #[test]
    fn init_containers_raise_the_request_and_sidecars_add_to_it() {
        let mut sidecar = cpu("s", "100m");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "containers": [cpu("a", "200m"), cpu("b", "300m")],
            "initContainers": [cpu("i", "1"), sidecar, cpu("j", "800m")],
        });
        let pod = pod(spec);
        assert_eq!(pod_request_milli(pod.pod_spec(), "cpu"), 1000);
        assert_eq!(pod_limit_milli(pod.pod_spec(), "cpu"), Some(1000));
        assert_eq!(pod_limit_milli(pod.pod_spec(), "memory"), None);
    }

    #[test]
    fn shares_and_quota_have_the_kernels_bounds() {
        assert_eq!(cpu_shares(0), 2);
        assert_eq!(cpu_shares(1500), 1536);
        assert_eq!(cpu_quota(250), (25_000, 100_000));
        assert_eq!(cpu_quota(1), (1_000, 100_000));
    }

    #[test]
    fn oom_scores_by_class() {
        let burstable = json!({"containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}]});
        let burstable = pod(burstable);
        assert_eq!(oom_score_adj(&burstable, &burstable.containers()[0], 4 << 30), 750);
        let plain = pod(json!({"containers": [{"name": "a"}]}));
        assert_eq!(oom_score_adj(&plain, &plain.containers()[0], 4 << 30), 1000);
    }
}
