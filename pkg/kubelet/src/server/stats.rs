//! What pods use: `/stats/summary`, `/metrics/resource` and the basic part of `/metrics/cadvisor`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use cri::v1;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::kubelet::Kubelet;
use crate::names;
use crate::pod::PodExt as _;

/// Remembers CPU counters, from which the present use follows.
#[derive(Default)]
pub struct Stats {
    /// Container id → (time in ns, CPU ns).
    before: Mutex<HashMap<String, (i64, u64)>>,
}

struct Sample {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    at: i64,
    cpu_total: u64,
    cpu_now: Option<u64>,
    working_set: u64,
    usage: u64,
    rss: u64,
    page_faults: u64,
    rootfs: u64,
    started: Option<Timestamp>,
}

struct Node {
    cpu_total: u64,
    memory_total: u64,
    memory_available: u64,
}

fn value(number: &Option<v1::UInt64Value>) -> u64 {
    number.as_ref().map_or(0, |v| v.value)
}

impl Stats {
    async fn samples(&self, kubelet: &Arc<Kubelet>) -> Vec<Sample> {
        let stats = kubelet.runtime.list_container_stats().await.unwrap_or_default();
        let mut before = self.before.lock();
        let mut now_known = HashMap::new();
        let samples = stats
            .into_iter()
            .filter_map(|stats| {
                let attributes = stats.attributes?;
                let label = |key: &str| attributes.labels.get(key).cloned().unwrap_or_default();
                let cpu = stats.cpu.unwrap_or_default();
                let memory = stats.memory.unwrap_or_default();
                if cpu.timestamp == 0 {
                    // It has ended: the runtime still lists it.
                    return None;
                }
                let total = value(&cpu.usage_core_nano_seconds);
                let cpu_now = cpu.usage_nano_cores.as_ref().map(|v| v.value).or_else(|| {
                    let (at, earlier) = before.get(&attributes.id).copied()?;
                    rate(earlier, total, cpu.timestamp - at)
                });
                now_known.insert(attributes.id.clone(), (cpu.timestamp, total));
                Some(Sample {
                    namespace: label(names::POD_NAMESPACE),
                    pod: label(names::POD_NAME),
                    uid: label(names::POD_UID),
                    container: label(names::CONTAINER_NAME),
                    at: cpu.timestamp,
                    cpu_total: total,
                    cpu_now,
                    working_set: value(&memory.working_set_bytes),
                    usage: value(&memory.usage_bytes),
                    rss: value(&memory.rss_bytes),
                    page_faults: value(&memory.page_faults),
                    rootfs: stats.writable_layer.as_ref().map_or(0, |l| value(&l.used_bytes)),
                    started: None,
                })
            })
            .collect();
        *before = now_known;
        samples
    }

    /// The Summary API.
    pub async fn summary(&self, kubelet: &Arc<Kubelet>) -> Value {
        let mut samples = self.samples(kubelet).await;
        let node = node();
        let now = Timestamp::now();
        let time = apimachinery::time::format(now);
        let mut pods = Vec::new();
        for pod in kubelet.pods() {
            let status = kubelet.statuses.get(pod.uid());
            let mine: Vec<&mut Sample> = samples.iter_mut().filter(|s| s.uid == pod.uid()).collect();
            let cpu: u64 = mine.iter().filter_map(|s| s.cpu_now).sum();
            let total: u64 = mine.iter().map(|s| s.cpu_total).sum();
            let working_set: u64 = mine.iter().map(|s| s.working_set).sum();
            let containers: Vec<Value> = mine.into_iter().map(|s| container_summary(s, &time)).collect();
            pods.push(json!({
                "podRef": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
                "startTime": status.and_then(|s| s.start_time),
                "containers": containers,
                "cpu": {"time": time, "usageNanoCores": cpu, "usageCoreNanoSeconds": total},
                "memory": {"time": time, "workingSetBytes": working_set},
            }));
        }
        let disk = crate::node::file_system(&kubelet.config.root_dir);
        let fs = disk.map(|d| {
            json!({"time": time, "availableBytes": d.available, "capacityBytes": d.capacity,
                "usedBytes": d.capacity.saturating_sub(d.available), "inodes": d.inodes, "inodesFree": d.inodes_free,
                "inodesUsed": d.inodes.saturating_sub(d.inodes_free)})
        });
        let cpu_now = {
            let at = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
            let mut before = self.before.lock();
            let earlier = before.insert("node".to_owned(), (at, node.cpu_total));
            earlier.and_then(|(then, total)| rate(total, node.cpu_total, at - then))
        };
        json!({
            "node": {
                "nodeName": kubelet.config.node_name,
                "cpu": {"time": time, "usageNanoCores": cpu_now, "usageCoreNanoSeconds": node.cpu_total},
                "memory": {"time": time, "availableBytes": node.memory_available,
                    "usageBytes": node.memory_total - node.memory_available,
                    "workingSetBytes": node.memory_total - node.memory_available},
                "fs": fs,
                "runtime": {"imageFs": fs},
            },
            "pods": pods,
        })
    }

    /// What metrics-server reads.
    pub async fn resource_metrics(&self, kubelet: &Arc<Kubelet>) -> String {
        let samples = self.samples(kubelet).await;
        let node = node();
        let mut out = String::new();
        let millis = |ns: i64| ns / 1_000_000;
        let now = Timestamp::now().as_millisecond();
        family(
            &mut out,
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
        );
        for s in &samples {
            let labels = labels(&[("container", &s.container), ("namespace", &s.namespace), ("pod", &s.pod)]);
            let _ =
                writeln!(out, "container_cpu_usage_seconds_total{labels} {} {}", seconds(s.cpu_total), millis(s.at));
        }
        family(
            &mut out,
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
        );
        for s in &samples {
            let labels = labels(&[("container", &s.container), ("namespace", &s.namespace), ("pod", &s.pod)]);
            let _ = writeln!(out, "container_memory_working_set_bytes{labels} {} {}", s.working_set, millis(s.at));
        }
        let mut pods: HashMap<(&str, &str), (u64, u64, i64)> = HashMap::new();
        for s in &samples {
            let sum = pods.entry((&s.namespace, &s.pod)).or_default();
            *sum = (sum.0 + s.cpu_total, sum.1 + s.working_set, s.at);
        }
        family(
            &mut out,
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
        );
        for ((namespace, pod), (cpu, _, at)) in &pods {
            let labels = labels(&[("namespace", namespace), ("pod", pod)]);
            let _ = writeln!(out, "pod_cpu_usage_seconds_total{labels} {} {}", seconds(*cpu), millis(*at));
        }
        family(&mut out, "pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
        for ((namespace, pod), (_, memory, at)) in &pods {
            let labels = labels(&[("namespace", namespace), ("pod", pod)]);
            let _ = writeln!(out, "pod_memory_working_set_bytes{labels} {memory} {}", millis(*at));
        }
        family(
            &mut out,
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
        );
        let _ = writeln!(out, "node_cpu_usage_seconds_total {} {now}", seconds(node.cpu_total));
        family(&mut out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
        let _ = writeln!(out, "node_memory_working_set_bytes {} {now}", node.memory_total - node.memory_available);
        family(
            &mut out,
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
        );
        out.push_str("resource_scrape_error 0\n");
        out
    }

    pub async fn cadvisor_metrics(&self, kubelet: &Arc<Kubelet>) -> String {
        let samples = self.samples(kubelet).await;
        let mut out = String::new();
        let families: [Family; 5] = [
            ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.", |s| {
                seconds(s.cpu_total)
            }),
            ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |s| {
                s.working_set.to_string()
            }),
            ("container_memory_usage_bytes", "gauge", "Current memory usage in bytes.", |s| s.usage.to_string()),
            ("container_memory_rss", "gauge", "Size of RSS in bytes.", |s| s.rss.to_string()),
            (
                "container_fs_usage_bytes",
                "gauge",
                "Number of bytes that are consumed by the container on this filesystem.",
                |s| s.rootfs.to_string(),
            ),
        ];
        for (name, kind, help, read) in families {
            family(&mut out, name, kind, help);
            for s in &samples {
                let labels = labels(&[("container", &s.container), ("namespace", &s.namespace), ("pod", &s.pod)]);
                let _ = writeln!(out, "{name}{labels} {} {}", read(s), s.at / 1_000_000);
            }
        }
        out
    }
}

/// Name, kind, help, and how to read it.
type Family = (&'static str, &'static str, &'static str, fn(&Sample) -> String);

fn container_summary(s: &mut Sample, time: &str) -> Value {
    json!({
        "name": s.container,
        "startTime": s.started.map(apimachinery::time::format),
        "cpu": {"time": time, "usageNanoCores": s.cpu_now, "usageCoreNanoSeconds": s.cpu_total},
        "memory": {"time": time, "workingSetBytes": s.working_set, "usageBytes": s.usage, "rssBytes": s.rss, "pageFaults": s.page_faults},
        "rootfs": {"time": time, "usedBytes": s.rootfs},
    })
}

/// Nanoseconds of CPU per second.
fn rate(before: u64, now: u64, nanoseconds: i64) -> Option<u64> {
    let passed = u128::try_from(nanoseconds).ok().filter(|n| *n > 0)?;
    u64::try_from(u128::from(now.saturating_sub(before)) * 1_000_000_000 / passed).ok()
}

fn node() -> Node {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name| u64::try_from(crate::node::meminfo(&memory, name)).unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|v| v.parse().ok()).collect();
    // All but idle and waiting for disks; a tick is 10 ms on every Linux that we run on.
    let busy: u64 = ticks.iter().enumerate().filter(|(at, _)| *at != 3 && *at != 4 && *at < 8).map(|(_, v)| v).sum();
    Node { cpu_total: busy * 10_000_000, memory_total: field("MemTotal"), memory_available: field("MemAvailable") }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(nanoseconds: u64) -> String {
    format!("{:.6}", nanoseconds as f64 / 1e9)
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}");
}

fn labels(pairs: &[(&str, &str)]) -> String {
    let all: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", all.join(","))
}
