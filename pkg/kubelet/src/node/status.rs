//! The node's status: computed often, sent when it changed, and now and then regardless.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::EventType::Normal;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::machine::Resources;
use crate::eviction;
use crate::kubelet::Kubelet;
use crate::names::NODE_IMAGES_MAX;
use crate::shutdown;

/// Until the node is ready the state is looked at this often: everything waits for it.
const STARTING: Duration = Duration::from_millis(100);
const STARTING_MAX: Duration = Duration::from_secs(5);
/// What was last said, for transition times.
#[derive(Clone, Debug, Default)]
pub struct Known {
    conditions: Vec<api::NodeCondition>,
}

/// Computes and sends until it is dropped.
pub async fn run(client: client::Client, kubelet: Arc<Kubelet>) {
    let nodes: Api<api::Node> = Api::all(client);
    let name = kubelet.config.node_name.clone();
    let mut known = Known::default();
    if let Ok(node) = nodes.get(&name).await {
        known.conditions = node.status.and_then(|s| s.conditions).unwrap_or_default();
    }
    kubelet.events.node(Normal, "Starting", "Starting kubelet.");
    let mut sent: Option<(Value, Instant)> = None;
    let mut wait = STARTING;
    loop {
        let status = compute(&kubelet, &known).await;
        let ready = is_ready(&status);
        announce(&kubelet, &known, &status);
        known.conditions = status.conditions.clone().unwrap_or_default();
        let essence = without_times(&status);
        let due = sent
            .as_ref()
            .is_none_or(|(before, at)| *before != essence || at.elapsed() >= kubelet.config.timings.node_status_report);
        if due {
            let patch = json!({"status": status});
            match nodes.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
                Ok(_) => sent = Some((essence, Instant::now())),
                Err(kube::Error::Api(answer)) if answer.code == 404 => {
                    // Somebody deleted our Node: it is ours to make.
                    super::register::run(&nodes.clone().into_client(), &kubelet).await;
                    sent = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "node status was not sent; trying again");
                    sent = None;
                }
            }
        }
        let delay = if ready && sent.is_some() { kubelet.config.timings.node_status } else { wait };
        wait = if ready { STARTING } else { (wait * 2).min(STARTING_MAX) };
        // Whether the machine goes down is news for whoever schedules pods.
        let turned = async {
            match &kubelet.config.node_shutdown {
                Some(settings) => settings.switch.turned().await,
                None => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(delay, turned).await;
    }
}

fn is_ready(status: &api::NodeStatus) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Events for transitions, as `kubectl describe node` shows them.
fn announce(kubelet: &Kubelet, known: &Known, status: &api::NodeStatus) {
    let before = known.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.status == "True");
    let now = is_ready(status);
    if before != Some(now) {
        let what = if now { "NodeReady" } else { "NodeNotReady" };
        if before.is_some() || now {
            let message = format!("Node {} status is now: {what}", kubelet.config.node_name);
            kubelet.events.node(Normal, what, &message);
        }
    }
}

/// Heartbeats and moving amounts do not make a status worth sending.
fn without_times(status: &api::NodeStatus) -> Value {
    let mut tree = serde_json::to_value(status).unwrap_or_default();
    for condition in tree.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) = condition.as_object_mut() {
            map.remove("lastHeartbeatTime");
        }
    }
    tree
}

/// The whole status as it is now.
pub async fn compute(kubelet: &Arc<Kubelet>, known: &Known) -> api::NodeStatus {
    let config = &kubelet.config;
    let machine = &kubelet.machine;
    let version = kubelet.runtime.version().await.map(|v| format!("{}://{}", v.runtime_name, v.runtime_version));
    let mut addresses: Vec<api::NodeAddress> = config
        .node_ips
        .iter()
        .map(|ip| api::NodeAddress { type_: "InternalIP".to_owned(), address: ip.to_string() })
        .collect();
    addresses.push(api::NodeAddress { type_: "Hostname".to_owned(), address: config.node_name.clone() });
    let git_version = component_base::version::git_version();
    api::NodeStatus {
        addresses: Some(addresses),
        capacity: Some(quantities(machine.capacity(), kubelet)),
        allocatable: Some(quantities(machine.allocatable(config.reserved), kubelet)),
        conditions: Some(conditions(kubelet, known).await),
        daemon_endpoints: config.server.as_ref().map(|server| api::NodeDaemonEndpoints {
            kubelet_endpoint: Some(api::DaemonEndpoint { port: i32::from(server.port) }),
        }),
        images: Some(images(kubelet).await),
        node_info: Some(api::NodeSystemInfo {
            architecture: component_base::version::architecture().to_owned(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: version.unwrap_or_else(|_| "containerd://Unknown".to_owned()),
            kernel_version: machine.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: git_version,
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..api::NodeSystemInfo::default()
        }),
        ..api::NodeStatus::default()
    }
}

fn quantities(amount: Resources, kubelet: &Kubelet) -> std::collections::BTreeMap<String, Quantity> {
    let cpu = if amount.cpu_milli % 1000 == 0 {
        (amount.cpu_milli / 1000).to_string()
    } else {
        format!("{}m", amount.cpu_milli)
    };
    let kib = |bytes: i64| format!("{}Ki", bytes / 1024);
    let mut all = vec![
        ("cpu".to_owned(), cpu),
        ("memory".to_owned(), kib(amount.memory)),
        ("ephemeral-storage".to_owned(), kib(amount.ephemeral_storage)),
        ("pods".to_owned(), kubelet.config.max_pods.to_string()),
    ];
    for (size, bytes) in &kubelet.machine.hugepages {
        let name = if size % (1 << 30) == 0 { format!("{}Gi", size >> 30) } else { format!("{}Mi", size >> 20) };
        all.push((format!("hugepages-{name}"), if *bytes == 0 { "0".to_owned() } else { kib(*bytes) }));
    }
    all.into_iter().map(|(name, value)| (name, Quantity(value))).collect()
}

async fn images(kubelet: &Kubelet) -> Vec<api::ContainerImage> {
    let mut images = kubelet.images.service().list_images().await.unwrap_or_default();
    images.sort_by(|a, b| b.size.cmp(&a.size).then(a.id.cmp(&b.id)));
    images.truncate(NODE_IMAGES_MAX);
    images
        .into_iter()
        .map(|image| {
            let names = image.repo_digests.into_iter().chain(image.repo_tags).take(5).collect();
            api::ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() }
        })
        .collect()
}

/// (type, status, reason, message)
type Verdict = (&'static str, bool, &'static str, String);

async fn conditions(kubelet: &Arc<Kubelet>, known: &Known) -> Vec<api::NodeCondition> {
    let shortages = eviction::shortages(kubelet).await;
    let short_of = |condition: &str| shortages.iter().any(|shortage| shortage.signal.condition() == condition);
    let pressure = |kind, on, name: &'static str, bad: &'static str, good: &str, text: &str| -> Verdict {
        if on { (kind, true, bad, format!("kubelet has {text}")) } else { (kind, false, name, good.to_owned()) }
    };
    let verdicts = [
        pressure(
            "MemoryPressure",
            short_of("MemoryPressure"),
            "KubeletHasSufficientMemory",
            "KubeletHasInsufficientMemory",
            "kubelet has sufficient memory available",
            "insufficient memory available",
        ),
        pressure(
            "DiskPressure",
            short_of("DiskPressure"),
            "KubeletHasNoDiskPressure",
            "KubeletHasDiskPressure",
            "kubelet has no disk pressure",
            "disk pressure",
        ),
        pressure(
            "PIDPressure",
            short_of("PIDPressure"),
            "KubeletHasSufficientPID",
            "KubeletHasInsufficientPID",
            "kubelet has sufficient PID available",
            "insufficient PID available",
        ),
        ready(kubelet).await,
    ];
    let now = Timestamp::now();
    verdicts.into_iter().map(|verdict| condition(verdict, known, now)).collect()
}

fn condition((kind, on, reason, message): Verdict, known: &Known, now: Timestamp) -> api::NodeCondition {
    let status = if on { "True" } else { "False" };
    let before = known.conditions.iter().find(|c| c.type_ == kind && c.status == status);
    api::NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
    }
}

/// The runtime and its network must be ready, and the machine stay up.
async fn ready(kubelet: &Arc<Kubelet>) -> Verdict {
    let mut problems: Vec<String> = match kubelet.runtime.status().await {
        Err(error) => vec![format!("container runtime is down: {error}")],
        Ok(status) => status
            .conditions
            .iter()
            .filter(|c| !c.status)
            .map(|c| {
                let what = if c.r#type == "NetworkReady" {
                    "container runtime network not ready"
                } else {
                    "container runtime not ready"
                };
                format!("{what}: {}=false reason:{} message:{}", c.r#type, c.reason, c.message)
            })
            .collect(),
    };
    if kubelet.is_going_down() {
        problems.push(shutdown::NODE_MESSAGE.to_owned());
    }
    if problems.is_empty() {
        ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned())
    } else {
        ("Ready", false, "KubeletNotReady", problems.join(", "))
    }
}
