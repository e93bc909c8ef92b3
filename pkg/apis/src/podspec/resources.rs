//! Requests, limits and the names of resources.

use std::collections::{BTreeMap, BTreeSet};

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::quantity::Quantity;
use apimachinery::validation::{is_dns1123_label, is_qualified_name};
use serde_json::{Map, Value};

use super::fields::PodSpec;
use crate::check;
use crate::quantity;
use crate::tree::{Tree, items};

/// Resources that a container may ask for by a name without a domain, besides `hugepages-*`.
const CONTAINER: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// Names without a domain of what is measured, besides `hugepages-*` and `requests.hugepages-*`.
const MEASURED: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];

/// Names without a domain of what is counted in whole units.
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

/// A name without a domain that means something somewhere.
fn is_standard(name: &str) -> bool {
    name.strip_prefix("requests.").unwrap_or(name).starts_with(HUGE_PAGES)
        || MEASURED.contains(&name)
        || COUNTED.contains(&name)
}

/// The same for quotas, which limit what is requested of storage and not the storage that there is.
pub fn is_standard_of_quota(name: &str) -> bool {
    is_standard(name) && name != "storage"
}

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
    if !value.contains('/') && !is_standard(value) {
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

/// `resources` of a container; `claims` are the resource claims of the pod.
pub fn validate(errors: &mut ErrorList, owner: &Path, resources: &Value, claims: &[Value]) {
    if resources.as_object().is_none_or(Map::is_empty) {
        return;
    }
    let at = owner.child("resources");
    requirements(errors, &at, resources, container_name);
    claim_names(errors, &at, resources, claims);
}

/// `spec.overhead` of a pod, which upstream checks as if it were limits.
pub fn validate_overhead(errors: &mut ErrorList, spec_at: &Path, overhead: &Value) {
    for (name, value) in overhead.as_object().into_iter().flatten() {
        let path = || spec_at.child("overhead").child("limits").key(name);
        one(errors, path, name, value, container_name);
    }
}

/// Limits, requests, and what they have to do with each other. `check_name` says which resources there may be.
fn requirements(errors: &mut ErrorList, at: &Path, resources: &Value, check_name: fn(&mut ErrorList, &Path, &str)) {
    let (limits, requests) = (resources.field("limits"), resources.field("requests"));
    for (name, value) in limits.as_object().into_iter().flatten() {
        let path = || at.child("limits").key(name);
        if let Some(limit) = one(errors, path, name, value, check_name) {
            huge_pages_divisible(errors, path, name, limit);
        }
    }
    for (name, value) in requests.as_object().into_iter().flatten() {
        let path = || at.child("requests").key(name);
        let Some(request) = one(errors, path, name, value, check_name) else { continue };
        request_against_limit(errors, at, name, request, quantity::parse(limits.field(name)));
        huge_pages_divisible(errors, path, name, request);
    }
    let names = || [limits, requests].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    if names().any(|n| n.starts_with(HUGE_PAGES)) && !names().any(|n| matches!(n.as_str(), "cpu" | "memory")) {
        errors.push(Error::forbidden(at, "HugePages require cpu or memory"));
    }
}

/// The path is built where it is needed: cpu and memory are legal everywhere.
fn one(
    errors: &mut ErrorList,
    path: impl Fn() -> Path,
    name: &str,
    value: &Value,
    check_name: fn(&mut ErrorList, &Path, &str),
) -> Option<Quantity> {
    if !matches!(name, "cpu" | "memory") {
        check_name(errors, &path(), name);
    }
    amount(errors, path, name, value)
}

pub const HUGE_PAGES: &str = "hugepages-";

/// `hugepages-2Mi` come in multiples of 2Mi.
fn huge_pages_divisible(errors: &mut ErrorList, path: impl Fn() -> Path, name: &str, amount: Quantity) {
    let Some(size) = name.strip_prefix(HUGE_PAGES) else { return };
    let size = Quantity::parse(size).ok().filter(Quantity::is_whole).map_or(0, |size| size.value());
    if size <= 0 || amount.value() % size != 0 {
        let why = format!("{amount} is not positive integer multiple of {name}");
        errors.push(Error::invalid(&path(), amount.to_string(), why));
    }
}

/// A request is not above its limit; where overcommit makes no sense they are equal.
fn request_against_limit(errors: &mut ErrorList, at: &Path, name: &str, request: Quantity, limit: Option<Quantity>) {
    let fixed = !is_overcommit_allowed(name);
    let mut refuse = |why: String| errors.push(Error::invalid(&at.child("requests"), request.to_string(), why));
    match limit {
        Some(limit) if fixed && request != limit => refuse(format!("must be equal to {name} limit of {limit}")),
        Some(limit) if request > limit => refuse(format!("must be less than or equal to {name} limit of {limit}")),
        None if fixed => {
            let why = "Limit must be set for non overcommitable resources";
            errors.push(Error::required(&at.child("limits"), why));
        }
        _ => {}
    }
}

/// More of it may be promised than there is.
pub fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

/// Names of the pod's claims, each at most once, as a whole or by its requests.
fn claim_names(errors: &mut ErrorList, owner: &Path, resources: &Value, claims: &[Value]) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, claim) in resources.list("claims").iter().enumerate() {
        let at = owner.child("claims").index(i);
        let (name, request) = (claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.push(Error::duplicate(&at, name));
        } else {
            check::optional_text(errors, &at, claim, "request", is_dns1123_label);
            if seen.contains(&(name, request)) {
                errors.push(Error::duplicate(&at, format!("{name}/{request}")));
            } else if request.is_empty() {
                let parts = seen.iter().filter(|(other, _)| *other == name);
                errors.extend(parts.map(|_| Error::duplicate(&at, name)));
            }
            seen.push((name, request));
        }
        unknown_claim(errors, &at, name, claims);
    }
}

fn unknown_claim(errors: &mut ErrorList, at: &Path, name: &str, claims: &[Value]) {
    let known: BTreeSet<&str> = claims.iter().map(|c| c.text("name")).filter(|n| !n.is_empty()).collect();
    if known.contains(name) {
        return;
    }
    let list = known.into_iter().collect::<Vec<_>>().join(", ");
    let which = if list.is_empty() { " which is empty".to_owned() } else { format!(": {list}") };
    let mut error = Error::not_found(at, name);
    error.detail = format!("must be one of the names in pod.spec.resourceClaims{which}");
    errors.push(error);
}

type Sums = BTreeMap<String, Quantity>;

fn add(sums: &mut Sums, container: &Value, list: &str) {
    for (name, value) in container.field("resources").entries(list) {
        let Some(amount) = quantity::parse(value) else { continue };
        let sum = sums.get(name).copied().unwrap_or(Quantity::ZERO);
        sums.insert(name.to_owned(), sum + amount);
    }
}

/// The sum of what the containers need at once in `list` (`requests` or `limits`): regular ones with sidecars, or the
/// greatest init container's need.
pub fn aggregate(spec: &impl Tree, list: &str) -> Sums {
    let (mut sums, mut sidecars, mut peak) = (Sums::new(), Sums::new(), Sums::new());
    spec.list("containers").iter().for_each(|c| add(&mut sums, c, list));
    for init in spec.list("initContainers") {
        let mut here = sidecars.clone();
        add(&mut here, init, list);
        if init.text("restartPolicy") == "Always" {
            add(&mut sums, init, list);
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

/// A pod as a whole may ask for cpu, memory and huge pages.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with(HUGE_PAGES)
}

fn pod_level_name(errors: &mut ErrorList, path: &Path, value: &str) {
    if name(errors, path, value) && !is_pod_level(value) {
        errors.push(Error::not_supported(path, value, &["cpu", HUGE_PAGES, "memory"]));
    }
}

/// `spec.resources` of a pod.
pub fn validate_pod_level(errors: &mut ErrorList, owner: &Path, spec: &Value, fields: &PodSpec<'_>) {
    let resources = fields.resources;
    if resources.is_null() {
        return;
    }
    let at = owner.child("resources");
    if fields.os.text("name") == "windows" {
        errors.push(Error::forbidden(&at, "may not be set for a windows pod"));
        return;
    }
    if resources.has("claims") {
        errors.push(Error::forbidden(&at.child("claims"), "claims may not be set for Resources at pod-level"));
    }
    requirements(errors, &at, resources, pod_level_name);
    claim_names(errors, &at, resources, items(fields.resource_claims));
    pod_level_consistency(errors, &at, spec, resources);
}

/// What the pod asks for covers what its containers ask for.
fn pod_level_consistency(errors: &mut ErrorList, at: &Path, spec: &Value, resources: &Value) {
    let given = |list: &str, name: &str| quantity::parse(resources.field(list).field(name));
    for (list, only) in [("requests", ""), ("limits", HUGE_PAGES)] {
        for (name, sum) in aggregate(spec, list).iter().filter(|(name, _)| name.starts_with(only)) {
            if let Some(own) = given(list, name).filter(|own| sum > own) {
                let why = format!("must be greater than or equal to aggregate container {list} of {sum}");
                errors.push(Error::invalid(&at.child(list).key(name), own.to_string(), why));
            }
        }
    }
    for (i, container) in spec.list("containers").iter().enumerate() {
        for (name, value) in container.field("resources").entries("limits") {
            let (Some(own), Some(pod)) = (quantity::parse(value), given("limits", name)) else { continue };
            if own > pod {
                let path = at.child("containers").index(i).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {pod}");
                errors.push(Error::invalid(&path, own.to_string(), why));
            }
        }
    }
}
