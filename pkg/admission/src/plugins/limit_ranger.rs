//! LimitRanger: a namespace's LimitRanges give containers their defaults, and bound what containers, pods and claims ask for.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::Quantity;
use apimachinery::{ApiResult, GroupResource};
use serde_json::Value;

use super::map_mut;
use crate::resources::{Amounts, amounts, of_pod};
use crate::{Attributes, Operation, Plugin, Reader};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub struct LimitRanger {
    reader: Arc<dyn Reader>,
    ranges: GroupResource,
}

impl LimitRanger {
    pub fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader, ranges: GroupResource::new("", "limitranges") }
    }
}

fn is_pod(a: &Attributes<'_>) -> bool {
    a.is("", "pods") && a.operation == Operation::Create
        || a.is_sub("", "pods", "resize") && a.operation == Operation::Update
}

fn is_claim(a: &Attributes<'_>) -> bool {
    a.is("", "persistentvolumeclaims") && matches!(a.operation, Operation::Create | Operation::Update)
}

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn mutate(&self, a: &Attributes<'_>, pod: &mut Value, _: Option<&Value>) -> ApiResult<()> {
        if a.is("", "pods") && a.operation == Operation::Create {
            for range in self.reader.list(&self.ranges, a.namespace) {
                set_defaults(&range, pod);
            }
        }
        Ok(())
    }

    fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let Some(object) = object.filter(|_| is_pod(a) || is_claim(a)) else { return Ok(()) };
        // An object on its way out may be updated (finalizers) whatever the limits are now.
        if old.is_some_and(ObjectExt::is_deleting) {
            return Ok(());
        }
        for range in self.reader.list(&self.ranges, a.namespace) {
            let errors = if is_claim(a) { check_claim(&range, object) } else { check_pod(&range, object) };
            let why = match errors.as_slice() {
                [] => continue,
                [one] => one.clone(),
                many => format!("[{}]", many.join(", ")),
            };
            return Err(a.forbidden(Some(object), why));
        }
        Ok(())
    }
}

fn items<'a>(range: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    range.array_at("spec/limits").iter().filter(move |item| item.str_at("type") == kind)
}

/// Fills in what containers leave open, and notes on the pod what was filled in.
fn set_defaults(range: &Value, pod: &mut Value) {
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for item in items(range, "Container") {
        requests.extend(amounts(item.get("defaultRequest")));
        limits.extend(amounts(item.get("default")));
    }
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
        let Some(containers) = pod["spec"].get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let set_requests = fill(container, "requests", &requests);
            let set_limits = fill(container, "limits", &limits);
            for (set, field) in [(set_requests, "request"), (set_limits, "limit")] {
                if !set.is_empty() {
                    notes.push(format!("{} {field} for {what} {}", set.join(", "), container.str_at("name")));
                }
            }
        }
    }
    if !notes.is_empty() {
        pod.metadata_mut();
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        map_mut(&mut pod["metadata"], "annotations").insert(ANNOTATION.to_owned(), text.into());
    }
}

/// The names that were filled in.
fn fill(container: &mut Value, field: &str, defaults: &Amounts) -> Vec<String> {
    let has = amounts(container.at(&format!("resources/{field}")));
    let missing: Vec<(&String, &Quantity)> = defaults.iter().filter(|(name, _)| !has.contains_key(*name)).collect();
    if !missing.is_empty() {
        map_mut(container, "resources");
        let list = map_mut(&mut container["resources"], field);
        for (name, amount) in &missing {
            list.insert((*name).clone(), amount.to_string().into());
        }
    }
    missing.into_iter().map(|(name, _)| name.clone()).collect()
}

fn check_pod(range: &Value, pod: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let containers = || pod.array_at("spec/containers").iter().chain(pod.array_at("spec/initContainers"));
    for item in items(range, "Container") {
        for container in containers() {
            let requests = amounts(container.at("resources/requests"));
            let limits = amounts(container.at("resources/limits"));
            check_item(item, "Container", &requests, &limits, &mut errors);
        }
    }
    for item in items(range, "Pod") {
        check_item(item, "Pod", &of_pod(pod, "requests"), &of_pod(pod, "limits"), &mut errors);
    }
    errors
}

fn check_claim(range: &Value, claim: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let requests = amounts(claim.at("spec/resources/requests"));
    let kind = "PersistentVolumeClaim";
    for item in items(range, kind) {
        for (name, least) in amounts(item.get("min")) {
            errors.extend(below(&name, kind, &least, requests.get(&name), None));
        }
        for (name, most) in amounts(item.get("max")) {
            match requests.get(&name) {
                None => errors.push(format!("maximum {name} usage per {kind} is {most}.  No request is specified")),
                Some(asked) if *asked > most => {
                    errors.push(format!("maximum {name} usage per {kind} is {most}, but request is {asked}"));
                }
                Some(_) => {}
            }
        }
    }
    errors
}

fn check_item(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    for (name, least) in amounts(item.get("min")) {
        errors.extend(below(&name, kind, &least, requests.get(&name), limits.get(&name)));
    }
    for (name, most) in amounts(item.get("max")) {
        errors.extend(above(&name, kind, &most, requests.get(&name), limits.get(&name)));
    }
    for (name, ratio) in amounts(item.get("maxLimitRequestRatio")) {
        errors.extend(beyond_ratio(&name, kind, &ratio, requests.get(&name), limits.get(&name)));
    }
}

fn below(
    name: &str,
    kind: &str,
    least: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let text = |rest: String| Some(format!("minimum {name} usage per {kind} is {least}{rest}"));
    match (request, limit) {
        (None, _) => text(".  No request is specified".to_owned()),
        (Some(request), _) if request < least => text(format!(", but request is {request}")),
        (_, Some(limit)) if limit < least => text(format!(", but limit is {limit}")),
        _ => None,
    }
}

fn above(
    name: &str,
    kind: &str,
    most: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let text = |rest: String| Some(format!("maximum {name} usage per {kind} is {most}{rest}"));
    match (request, limit) {
        (_, None) => text(".  No limit is specified".to_owned()),
        (_, Some(limit)) if limit > most => text(format!(", but limit is {limit}")),
        (Some(request), _) if request > most => text(format!(", but request is {request}")),
        _ => None,
    }
}

fn beyond_ratio(
    name: &str,
    kind: &str,
    ratio: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let text = |rest: String| Some(format!("{name} max limit to request ratio per {kind} is {ratio}, but {rest}"));
    let Some(request) = request.filter(|q| !q.is_zero()) else {
        return text("no request is specified or request is 0".to_owned());
    };
    let Some(limit) = limit.filter(|q| !q.is_zero()) else {
        return text("no limit is specified or limit is 0".to_owned());
    };
    let actual = limit.as_f64() / request.as_f64();
    if actual > ratio.as_f64() { text(format!("provided ratio is {actual:.6}")) } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{World, ask, fails, passes};

    fn range(limits: Value) -> Value {
        json!({"kind": "LimitRange", "metadata": {"name": "r", "namespace": "ns"}, "spec": {"limits": limits}})
    }

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    #[test]
    fn defaults_are_filled_in_and_noted() {
        let limits =
            json!([{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]);
        let plugin = LimitRanger::new(World::new([range(limits)]));
        let create = ask(Operation::Create, "", "pods").named("p");
        let mut object = pod(json!({"limits": {"cpu": "2"}}));
        object["spec"]["initContainers"] = json!([{"name": "i"}]);
        object["spec"]["ephemeralContainers"] = json!([{"name": "e"}]);
        let out = passes(&plugin, &create, &object, None);
        assert_eq!(
            out["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(out["spec"]["initContainers"][0]["resources"]["limits"]["cpu"], "1");
        assert_eq!(out["spec"]["ephemeralContainers"][0], json!({"name": "e"}));
        assert_eq!(
            out["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container c; memory limit for container c; cpu request for init \
             container i; cpu, memory limit for init container i"
        );
    }

    #[test]
    fn bounds_are_kept_with_upstreams_texts() {
        let limits = json!([
            {"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}},
            {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}},
            {"type": "Pod", "max": {"example.com/gpu": "1"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}},
        ]);
        let plugin = |i: usize| LimitRanger::new(World::new([range(json!([limits[i]]))]));
        let create = ask(Operation::Create, "", "pods").named("p");
        let both =
            |name: &str, request: &str, limit: &str| json!({"requests": {name: request}, "limits": {name: limit}});
        let cases = [
            (0, both("cpu", "100m", "1"), None),
            (0, both("cpu", "50m", "1"), Some("minimum cpu usage per Container is 100m, but request is 50m")),
            (0, both("cpu", "500m", "2"), Some("maximum cpu usage per Container is 1, but limit is 2")),
            (
                0,
                json!({}),
                Some(
                    "[minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage per Container is 1.  No limit is specified]",
                ),
            ),
            (1, both("memory", "1Gi", "2Gi"), None),
            (
                1,
                both("memory", "1Gi", "3Gi"),
                Some("memory max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
            ),
            (
                1,
                json!({}),
                Some(
                    "memory max limit to request ratio per Container is 2, but no request is specified or request is 0",
                ),
            ),
            (2, both("example.com/gpu", "2", "2"), Some("maximum example.com/gpu usage per Pod is 1, but limit is 2")),
        ];
        for (item, resources, want) in cases {
            match want {
                None => drop(passes(&plugin(item), &create, &pod(resources), None)),
                Some(why) => {
                    let error = fails(&plugin(item), &create, &pod(resources), None);
                    assert_eq!(error.message(), format!("pods \"p\" is forbidden: {why}"));
                }
            }
        }
        let claims = ask(Operation::Create, "", "persistentvolumeclaims").named("c");
        let claim =
            |size: &str| json!({"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": size}}}});
        passes(&plugin(3), &claims, &claim("1Gi"), None);
        for (size, why) in [
            ("512Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi"),
            ("3Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"),
        ] {
            assert!(fails(&plugin(3), &claims, &claim(size), None).message().ends_with(why));
        }
        let update = ask(Operation::Update, "", "pods").named("p");
        passes(&plugin(0), &update, &pod(json!({})), Some(&pod(json!({}))));
    }
}
