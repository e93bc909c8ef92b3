//! What `kubectl get pods` shows.

use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use crate::cells::{age, or_none, since};
use crate::resource::Column;
use crate::tree::Tree;

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::text("Ready", "Containers that are ready, of all that should be."),
    Column::text("Status", "What the pod is doing, in a word."),
    Column::text("Restarts", "Restarts of its containers, and how long ago the last one was."),
    Column::AGE,
    Column::text("IP", "Address of the pod.").wide(),
    Column::text("Node", "Node that the pod is bound to.").wide(),
    Column::text("Nominated Node", "Node that preemption makes room on for this pod.").wide(),
    Column::text("Readiness Gates", "Extra conditions that hold, of all that readiness asks for.").wide(),
];

pub fn cells(pod: &Object, now: i64) -> Vec<Value> {
    let view = View::of(pod);
    let (spec, status) = (pod.field("spec"), pod.field("status"));
    let restarts = match view.last_restart {
        "" => view.restarts.to_string(),
        _ if view.restarts == 0 => "0".to_owned(),
        last => format!("{} ({} ago)", view.restarts, since(last, now)),
    };
    let ip = status.list("podIPs").first().map_or_else(|| status.text("podIP"), |ip| ip.text("ip"));
    vec![
        pod.name().into(),
        format!("{}/{}", view.ready, view.total).into(),
        view.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(ip),
        or_none(spec.text("nodeName")),
        or_none(status.text("nominatedNodeName")),
        readiness_gates(spec, status),
    ]
}

fn readiness_gates(spec: &Value, status: &Value) -> Value {
    let gates = spec.list("readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let holds = |gate: &&Value| condition_is_true(status, gate.text("conditionType"));
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len()).into()
}

fn condition_is_true(status: &Value, kind: &str) -> bool {
    status.list("conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
}

/// What is counted over the containers.
struct View<'a> {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: &'a str,
}

impl<'a> View<'a> {
    fn of(pod: &'a Object) -> Self {
        let (spec, status) = (pod.field("spec"), pod.field("status"));
        let sidecars = spec.list("initContainers").iter().filter(|c| is_sidecar(c)).count();
        let mut view = Self {
            reason: base_reason(status),
            ready: 0,
            total: spec.list("containers").len() + sidecars,
            restarts: 0,
            last_restart: "",
        };
        let initializing = view.visit_init(spec, status);
        if !initializing || condition_is_true(status, "Initialized") {
            view.visit_regular(spec, status);
        }
        if pod.is_deleting() {
            if status.text("reason") == "NodeLost" {
                view.reason = "Unknown".to_owned();
            } else if !matches!(status.text("phase"), "Succeeded" | "Failed") {
                view.reason = "Terminating".to_owned();
            }
        }
        view
    }

    /// True while init containers are not through.
    fn visit_init(&mut self, spec: &Value, status: &'a Value) -> bool {
        for (i, container) in status.list("initContainerStatuses").iter().enumerate() {
            self.count_restarts(container);
            let (ended, waiting) = states(container);
            if ended.int("exitCode") == Some(0) {
                continue;
            }
            if find_sidecar(spec, container) && container.flag("started") {
                self.ready += usize::from(container.flag("ready"));
                continue;
            }
            self.reason = if !ended.is_null() {
                format!("Init:{}", exit_reason(ended))
            } else if !matches!(waiting.text("reason"), "" | "PodInitializing") {
                format!("Init:{}", waiting.text("reason"))
            } else {
                format!("Init:{i}/{}", spec.list("initContainers").len())
            };
            return true;
        }
        false
    }

    fn visit_regular(&mut self, spec: &Value, status: &'a Value) {
        (self.restarts, self.last_restart) = (0, "");
        for container in status.list("initContainerStatuses").iter().filter(|c| find_sidecar(spec, c)) {
            self.count_restarts(container);
        }
        let mut running = false;
        for container in status.list("containerStatuses").iter().rev() {
            self.count_restarts(container);
            let (ended, waiting) = states(container);
            if !waiting.text("reason").is_empty() {
                waiting.text("reason").clone_into(&mut self.reason);
            } else if !ended.is_null() {
                self.reason = exit_reason(ended);
            } else if container.flag("ready") && container.field("state").has("running") {
                running = true;
                self.ready += 1;
            }
        }
        // One container is done and another still runs: the pod as a whole runs.
        if self.reason == "Completed" && running {
            self.reason = if condition_is_true(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count_restarts(&mut self, container: &'a Value) {
        self.restarts += container.int("restartCount").unwrap_or(0);
        let last = container.field("lastState").field("terminated").text("finishedAt");
        // RFC 3339 in UTC sorts as text.
        if last > self.last_restart {
            self.last_restart = last;
        }
    }
}

fn base_reason(status: &Value) -> String {
    let gated = |c: &&Value| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated";
    if status.list("conditions").iter().any(|c| gated(&c)) {
        return "SchedulingGated".to_owned();
    }
    match status.text("reason") {
        "" => status.text("phase").to_owned(),
        reason => reason.to_owned(),
    }
}

fn states(container: &Value) -> (&Value, &Value) {
    let state = container.field("state");
    (state.field("terminated"), state.field("waiting"))
}

fn exit_reason(ended: &Value) -> String {
    match (ended.text("reason"), ended.int("signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", ended.int("exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container.text("restartPolicy") == "Always"
}

fn find_sidecar(spec: &Value, status: &Value) -> bool {
    spec.list("initContainers").iter().any(|c| c.text("name") == status.text("name") && is_sidecar(c))
}
