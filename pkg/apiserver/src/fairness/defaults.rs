//! The levels and schemas that every cluster has: upstream's mandatory and suggested ones.

use serde_json::{Value, json};

pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Says whether the server keeps the spec of a default as its own release has it.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// Without these nothing can be classified: their specs are not the users' to change.
pub const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": kind,
        "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec,
    })
}

/// All default levels, the mandatory ones first.
pub fn levels() -> Vec<Value> {
    let level = |name: &str, shares: u32, lendable: u32, response: Value| {
        let limited = json!({
            "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response,
        });
        object("PriorityLevelConfiguration", name, json!({ "type": "Limited", "limited": limited }))
    };
    let queued = |name: &str, shares: u32, lendable: u32, queues: u32, hand: u32| {
        let queuing = json!({ "queues": queues, "handSize": hand, "queueLengthLimit": 50 });
        level(name, shares, lendable, json!({ "type": "Queue", "queuing": queuing }))
    };
    let exempt = json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } });
    vec![
        object("PriorityLevelConfiguration", "exempt", exempt),
        level("catch-all", 5, 0, json!({ "type": "Reject" })),
        queued("system", 30, 33, 64, 6),
        queued("node-high", 40, 25, 64, 6),
        queued("leader-election", 10, 0, 16, 4),
        queued("workload-high", 40, 50, 128, 6),
        queued("workload-low", 100, 90, 128, 6),
        queued("global-default", 20, 50, 128, 6),
    ]
}

/// All default schemas, the mandatory ones first.
pub fn schemas() -> Vec<Value> {
    let kube_system = || {
        json!({
            "kind": "ServiceAccount", "serviceAccount": { "namespace": "kube-system", "name": "*" },
        })
    };
    let controllers = || user("system:kube-controller-manager");
    let scheduler = || user("system:kube-scheduler");
    vec![
        schema("exempt", "exempt", 1, "", vec![all(groups(&["system:masters"]))]),
        schema("catch-all", "catch-all", 10_000, "ByUser", vec![all(groups(&EVERYBODY))]),
        schema("probes", "exempt", 2, "", vec![probes()]),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            vec![json!({
                "subjects": [controllers(), scheduler(), kube_system()],
                "resourceRules": [rule(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false)],
            })],
        ),
        schema(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            vec![json!({
                "subjects": groups(&["system:nodes"]),
                "resourceRules": [
                    rule(&["*"], "", &["nodes", "nodes/status"], true),
                    rule(&["*"], "coordination.k8s.io", &["leases"], false),
                ],
            })],
        ),
        schema("system-nodes", "system", 500, "ByUser", vec![all(groups(&["system:nodes"]))]),
        schema("kube-controller-manager", "workload-high", 800, "ByNamespace", vec![all(json!([controllers()]))]),
        schema("kube-scheduler", "workload-high", 800, "ByNamespace", vec![all(json!([scheduler()]))]),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", vec![all(json!([kube_system()]))]),
        schema("service-accounts", "workload-low", 9000, "ByUser", vec![all(groups(&["system:serviceaccounts"]))]),
        schema("global-default", "global-default", 9900, "ByUser", vec![all(groups(&EVERYBODY))]),
    ]
}

fn schema(name: &str, level: &str, precedence: u32, distinguisher: &str, rules: Vec<Value>) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence, "rules": rules,
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({ "type": distinguisher });
    }
    object("FlowSchema", name, spec)
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "user": { "name": name } })
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "kind": "Group", "group": { "name": name } })).collect()
}

/// Everything that these subjects do.
fn all(subjects: Value) -> Value {
    json!({
        "subjects": subjects, "resourceRules": [rule(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
    })
}

fn probes() -> Value {
    json!({
        "subjects": groups(&EVERYBODY),
        "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }],
    })
}

/// In all namespaces; `cluster`: also of what is in none.
fn rule(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"] });
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}
