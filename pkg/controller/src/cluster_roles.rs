//! Aggregated ClusterRoles: their rules are the union of those of the roles that they select.

use std::sync::Arc;

use apimachinery::labels::LabelSelector;
use client::{Cached as _, ObjectKey, Scope, Store, WorkQueue};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::skeleton::{Context, Error, SyncResult, Tasks, ignore_not_found};
use crate::template;

const NAME: &str = "cluster_role_aggregator";

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let roles = context.informers.get::<ClusterRole>(Scope::all());
    roles.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&roles, {
        let (queue, roles) = (queue.clone(), roles.store());
        move |_| {
            // Which roles select this one, or did, is found by looking at all that select: there are few.
            for role in roles.list().iter().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(ObjectKey::of(&**role));
            }
        }
    });
    let shared = Arc::new((context.clone(), roles.store()));
    tasks.work(NAME, &queue, 1, move |key| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, key).await }
    });
    tasks.run(&context.shutdown).await
}

async fn sync(context: &Context, roles: &Store<ClusterRole>, key: ObjectKey) -> SyncResult {
    let Some(role) = roles.get_key(&key) else { return Ok(None) };
    if role.aggregation_rule.is_none() || role.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let rules = rules(&role, roles.list())?;
    if template::equal(&role.rules.clone().unwrap_or_default(), &rules) {
        return Ok(None);
    }
    let api: Api<ClusterRole> = Api::all(context.client.clone());
    let patch = json!({ "metadata": { "uid": role.metadata.uid }, "rules": rules });
    ignore_not_found(api.patch(role.name(), &PatchParams::default(), &Patch::Merge(&patch)).await)?;
    Ok(None)
}

/// The rules of all roles that `role` selects, by their names, each rule once.
fn rules(role: &ClusterRole, mut all: Vec<Arc<ClusterRole>>) -> Result<Vec<PolicyRule>, Error> {
    let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    let selectors = selectors.into_iter().flatten().map(|selector| template::selector(Some(selector)));
    let selectors: Vec<LabelSelector> = selectors.collect::<Result<_, _>>()?;
    all.sort_by(|a, b| a.name().cmp(b.name()));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for other in all.iter().filter(|other| other.metadata.name != role.metadata.name) {
        let label = |key: &str| other.metadata.labels.as_ref()?.get(key).map(String::as_str);
        if selectors.iter().any(|selector| selector.matches(&label)) {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_union_of_what_is_selected() {
        let role = |name: &str, label: &str, rules: Value| -> Arc<ClusterRole> {
            Arc::new(
                serde_json::from_value(
                    json!({ "metadata": { "name": name, "labels": { "to": label } }, "rules": rules }),
                )
                .unwrap(),
            )
        };
        let rule = |verb: &str| json!({ "verbs": [verb], "resources": ["pods"], "apiGroups": [""] });
        let all = vec![
            role("z", "edit", json!([rule("get"), rule("list")])),
            role("a", "edit", json!([rule("list"), rule("watch")])),
            role("other", "view", json!([rule("delete")])),
        ];
        let aggregated: ClusterRole = serde_json::from_value(json!({ "metadata": { "name": "edit" },
            "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "to": "edit" } }] } }))
        .unwrap();
        let verbs: Vec<_> = rules(&aggregated, all).unwrap().into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["list", "watch", "get"]);
    }
}
