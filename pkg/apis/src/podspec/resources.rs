//! Requests, limits and the names of resources.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::is_qualified_name;
use serde_json::Value;

use crate::quantity;
use crate::tree::Tree;

/// Resources that a container may ask for by a name without a domain, besides `hugepages-*`.
const CONTAINER: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// All names without a domain that mean something somewhere, besides `hugepages-*` and `requests.hugepages-*`.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// A name of the cluster's own resources: without a domain or of `kubernetes.io`.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.split_once('/').is_some_and(|(domain, _)| domain.ends_with("kubernetes.io"))
}

/// A device or the like: has a foreign domain and may be prefixed with `requests.` in quotas.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && is_qualified_name(&format!("requests.{name}")).is_empty()
}

/// A qualified name that is a standard one if it has no domain.
pub fn name(errors: &mut ErrorList, path: &Path, value: &str) -> bool {
    let reasons = is_qualified_name(value);
    if !reasons.is_empty() {
        errors.extend(reasons.into_iter().map(|e| Error::invalid(path, value, e)));
        return false;
    }
    let huge = value.starts_with("hugepages-") || value.starts_with("requests.hugepages-");
    if !value.contains('/') && !huge && !STANDARD.contains(&value) {
        errors.push(Error::invalid(path, value, "must be a standard resource type or fully qualified"));
        return false;
    }
    true
}

/// A name that may stand in `limits` and `requests` of a container.
pub fn container_name(errors: &mut ErrorList, path: &Path, value: &str) {
    if CONTAINER.contains(&value) {
        return;
    }
    name(errors, path, value);
    if !value.contains('/') {
        if !value.starts_with("hugepages-") {
            errors.push(Error::invalid(path, value, "must be a standard resource for containers"));
        }
    } else if !is_native(value) && !is_extended(value) {
        errors.push(Error::invalid(path, value, "doesn't follow extended resource name standard"));
    }
}

/// Resources counted in whole units.
fn is_integer(name: &str) -> bool {
    const COUNTED: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    COUNTED.contains(&name) || is_extended(name)
}

/// A quantity of `resource`: not negative, and whole where the resource is counted.
pub fn amount(errors: &mut ErrorList, path: impl Fn() -> Path, resource: &str, value: &Value) -> Option<Quantity> {
    let Some(amount) = quantity::parse(value) else {
        errors.push(Error::invalid(&path(), value.clone(), "must be a quantity"));
        return None;
    };
    if amount.is_negative() {
        errors.push(Error::invalid(&path(), amount.to_string(), "must be greater than or equal to 0"));
    }
    if is_integer(resource) && !amount.is_whole() {
        errors.push(Error::invalid(&path(), value.clone(), "must be an integer"));
    }
    Some(amount)
}

/// `resources` of a container; `claims` are the names of the pod's resource claims.
pub fn validate(errors: &mut ErrorList, owner: &Path, container: &Value, claims: &[Value]) {
    let resources = container.field("resources");
    if resources.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    let at = owner.child("resources");
    let (limits, requests) = (resources.field("limits"), resources.field("requests"));
    let mut has_base = false;
    let mut has_huge = false;
    for (name, value) in resources.entries("limits") {
        let path = || at.child("limits").key(name);
        container_name(errors, &at.child("limits"), name);
        amount(errors, path, name, value);
        has_huge |= name.starts_with("hugepages-");
        has_base |= matches!(name, "cpu" | "memory");
    }
    for (name, value) in resources.entries("requests") {
        let path = || at.child("requests");
        container_name(errors, &path(), name);
        let Some(request) = amount(errors, || path().key(name), name, value) else { continue };
        has_huge |= name.starts_with("hugepages-");
        has_base |= matches!(name, "cpu" | "memory");
        request_against_limit(errors, &path(), name, request, quantity::parse(limits.field(name)));
    }
    let _ = requests;
    if has_huge && !has_base {
        errors.push(Error::forbidden(&at, "HugePages require cpu or memory"));
    }
    claim_names(errors, &at, resources, claims);
}

/// A request is not above its limit; where overcommit makes no sense they are equal.
fn request_against_limit(errors: &mut ErrorList, at: &Path, name: &str, request: Quantity, limit: Option<Quantity>) {
    let fixed = name.starts_with("hugepages-") || is_extended(name);
    match limit {
        Some(limit) if fixed && request != limit => {
            let why = format!("must be equal to {name} limit of {limit}");
            errors.push(Error::invalid(at, request.to_string(), why));
        }
        Some(limit) if request > limit => {
            let why = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(Error::invalid(at, request.to_string(), why));
        }
        None if fixed => {
            errors.push(Error::required(at, "Limit must be set for non overcommitable resources"));
        }
        _ => {}
    }
}

fn claim_names(errors: &mut ErrorList, at: &Path, resources: &Value, claims: &[Value]) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, claim) in resources.list("claims").iter().enumerate() {
        let at = at.child("claims").index(i);
        let name = claim.text("name");
        let key = (name, claim.text("request"));
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        if seen.contains(&key) {
            let shown = if key.1.is_empty() { name.to_owned() } else { format!("{name}/{}", key.1) };
            errors.push(Error::duplicate(&at, shown));
        }
        seen.push(key);
        if !claims.iter().any(|c| c.text("name") == name) {
            errors.push(Error::not_found(&at.child("name"), name));
        }
    }
}

/// The sum of what the containers request at once: regular ones with sidecars, or the greatest init container's need.
pub fn aggregate_requests(spec: &Value) -> std::collections::BTreeMap<String, Quantity> {
    type Sums = std::collections::BTreeMap<String, Quantity>;
    fn add(sums: &mut Sums, container: &Value) {
        for (name, value) in container.field("resources").entries("requests") {
            let Some(amount) = quantity::parse(value) else { continue };
            let sum = sums.get(name).copied().unwrap_or(Quantity::ZERO);
            sums.insert(name.to_owned(), sum + amount);
        }
    }
    let (mut sums, mut sidecars, mut peak) = (Sums::new(), Sums::new(), Sums::new());
    spec.list("containers").iter().for_each(|c| add(&mut sums, c));
    for init in spec.list("initContainers") {
        let mut here = sidecars.clone();
        add(&mut here, init);
        if init.text("restartPolicy") == "Always" {
            add(&mut sums, init);
            sidecars.clone_from(&here);
        }
        for (name, amount) in here {
            let known = peak.get(&name).copied().unwrap_or(Quantity::ZERO);
            peak.insert(name, known.max(amount));
        }
    }
    for (name, amount) in peak {
        let known = sums.get(&name).copied().unwrap_or(Quantity::ZERO);
        sums.insert(name, known.max(amount));
    }
    sums
}

/// `spec.resources` of a pod.
pub fn validate_pod_level(errors: &mut ErrorList, owner: &Path, spec: &Value) {
    let resources = spec.field("resources");
    if resources.is_null() {
        return;
    }
    let at = owner.child("resources");
    if resources.has("claims") {
        errors.push(Error::forbidden(&at.child("claims"), "claims cannot be set for Resources at pod-level"));
    }
    for list in ["limits", "requests"] {
        for (name, value) in resources.entries(list) {
            let supported = matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
            if !supported {
                errors.push(Error::not_supported(&at.child(list).key(name), name, &["cpu", "memory"]));
            }
            amount(errors, || at.child(list).key(name), name, value);
        }
    }
    for (name, value) in resources.entries("requests") {
        let limit = quantity::parse(resources.field("limits").field(name));
        if let Some(request) = quantity::parse(value) {
            request_against_limit(errors, &at.child("requests"), name, request, limit);
        }
    }
    pod_level_consistency(errors, &at, spec, resources);
}

fn pod_level_consistency(errors: &mut ErrorList, at: &Path, spec: &Value, resources: &Value) {
    for (name, sum) in aggregate_requests(spec) {
        let request = quantity::parse(resources.field("requests").field(&name)).unwrap_or(Quantity::ZERO);
        let pod_level = matches!(&*name, "cpu" | "memory") || name.starts_with("hugepages-");
        if pod_level && sum > request {
            let why = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(Error::invalid(&at.child("requests").key(&name), request.to_string(), why));
        }
    }
    for (i, container) in spec.list("containers").iter().enumerate() {
        for (name, value) in container.field("resources").entries("limits") {
            let (Some(own), Some(pod)) =
                (quantity::parse(value), quantity::parse(resources.field("limits").field(name)))
            else {
                continue;
            };
            if own > pod {
                let path = at.child("containers").index(i).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {pod}");
                errors.push(Error::invalid(&path, own.to_string(), why));
            }
        }
    }
}
