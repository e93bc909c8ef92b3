//! `componentstatuses`, which upstream keeps for old clients: nothing is stored, each read looks.
//!
//! The scheduler and the controllers may run in any server of the cluster, so they are known by their leases, which their
//! leaders renew; the store is asked itself.

use apimachinery::meta::ObjectExt as _;
use apimachinery::{ApiError, ApiResult};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use registry::Found;
use serde_json::{Value, json};

use super::{list, render};
use crate::context::Context;
use crate::http::respond::Response;

const STORE: &str = "etcd-0";
/// Components that lead by a lease of their name.
const LEADERS: [&str; 2] = ["controller-manager", "scheduler"];

pub async fn serve(context: &Context<'_>, found: Found) -> ApiResult<Response> {
    let media = render::negotiate(context, found, false)?;
    let name = &*context.info.name;
    if context.info.verb == "get" {
        let known = LEADERS.iter().find(|leader| **leader == name);
        let status = match known {
            Some(leader) => status_of_leader(context, leader),
            None if name == STORE => status_of_store(context).await,
            None => return Err(ApiError::not_found(&found.resource.group_resource(), name)),
        };
        return render::tree(context, found, status, StatusCode::OK, media);
    }
    let mut items: Vec<Value> = LEADERS.iter().map(|leader| status_of_leader(context, leader)).collect();
    items.push(status_of_store(context).await);
    let head = json!({
        "kind": "ComponentStatusList", "apiVersion": "v1",
        "metadata": { "resourceVersion": context.registry().revision().to_string() },
    });
    list::shaped(context, found, head, items, media)
}

fn status(name: &str, health: Result<(), String>) -> Value {
    let mut condition = json!({ "type": "Healthy", "status": "True", "message": "ok" });
    if let Err(why) = health {
        condition = json!({ "type": "Healthy", "status": "False", "message": why });
    }
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1",
        "metadata": { "name": name, "creationTimestamp": null }, "conditions": [condition],
    })
}

fn status_of_leader(context: &Context<'_>, component: &str) -> Value {
    let name = format!("kube-{component}");
    let lease = context.registry().read("coordination.k8s.io", "leases", "kube-system", &name);
    status(component, health_of(&name, lease.as_ref(), Timestamp::now()))
}

fn health_of(name: &str, lease: Option<&Value>, now: Timestamp) -> Result<(), String> {
    let lease = lease.ok_or_else(|| format!("nobody has taken the lease kube-system/{name}"))?;
    if lease.str_at("spec/holderIdentity").is_empty() {
        return Err(format!("nobody holds the lease kube-system/{name}"));
    }
    let renewed: Option<Timestamp> = lease.str_at("spec/renewTime").parse().ok();
    let seconds = lease.i64_at("spec/leaseDurationSeconds").unwrap_or(0);
    let since = renewed.map(|renewed| now.duration_since(renewed));
    if since.is_some_and(|since| since <= SignedDuration::from_secs(seconds)) {
        Ok(())
    } else {
        Err(format!("the lease kube-system/{name} has run out"))
    }
}

async fn status_of_store(context: &Context<'_>) -> Value {
    status(STORE, context.registry().ready().await.map_err(|error| error.message().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_as_healthy_as_its_lease() {
        let lease = |holder: &str| {
            json!({ "spec": {
                "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z",
            } })
        };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (early, late) = (at("2026-01-01T00:00:15Z"), at("2026-01-01T00:00:16Z"));
        for (lease, now, healthy) in [
            (Some(lease("a")), early, true),
            (Some(lease("a")), late, false),
            (Some(lease("")), early, false),
            (None, early, false),
        ] {
            assert_eq!(health_of("kube-scheduler", lease.as_ref(), now).is_ok(), healthy, "{lease:?} {now}");
        }
    }
}
