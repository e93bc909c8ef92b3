//! The order, and that a refusal anywhere ends it.

use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::ApiError;
use apimachinery::meta::ObjectExt;
use serde_json::json;

use super::*;
use crate::Operation;
use crate::testing::{Allow, World, ask};

fn chain(disabled: &[&str]) -> Chain {
    let world = World::new([
        json!({"kind": "Namespace", "metadata": {"name": "ns"}}),
        json!({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "ns"}}),
        json!({"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "ns"}, "spec": {"hard": {"pods": "0"}}}),
        json!({"kind": "LimitRange", "metadata": {"name": "l", "namespace": "ns"},
               "spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]}}),
    ]);
    let disabled = disabled.iter().map(|d| (*d).to_owned()).collect();
    Chain::new(Config { reader: world, authorizer: Arc::new(Allow(&[])), disabled })
}

#[test]
fn the_order_is_upstreams() {
    let golden = [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "ResourceQuota",
    ];
    assert_eq!(chain(&[]).names(), golden);
    assert_eq!(chain(&["ResourceQuota", "Priority"]).names().len(), golden.len() - 2);
}

/// Adds a container once, and refuses objects named `bad`.
#[derive(Default)]
struct Webhook(AtomicUsize);

#[async_trait]
impl Extension for Webhook {
    async fn mutate(&self, _: &Attributes<'_>, object: Option<&mut Value>, _: Option<&Value>) -> ApiResult<bool> {
        let Some(object) = object else { return Ok(false) };
        self.0.fetch_add(1, Ordering::Relaxed);
        let containers =
            object["spec"]["containers"].as_array_mut().ok_or_else(|| ApiError::internal("no containers"))?;
        containers.push(json!({"name": "injected"}));
        Ok(true)
    }

    async fn validate(&self, a: &Attributes<'_>, object: Option<&Value>, _: Option<&Value>) -> ApiResult<()> {
        match object.map(ObjectExt::name) {
            Some("bad") => Err(a.forbidden(object, "bad name")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_a_webhook_adds_is_completed_and_charged_at_last() {
    let webhook = Arc::new(Webhook::default());
    let chain = chain(&[]).with_extension(webhook.clone());
    let create = ask(Operation::Create, "", "pods");
    let a = create.attributes();
    let mut pod = json!({"metadata": {"name": "bad"}, "spec": {"containers": [{"name": "own"}]}});
    chain.mutate(&a, Some(&mut pod), None).await.unwrap();
    assert_eq!(webhook.0.load(Ordering::Relaxed), 1);
    for container in pod.array_at("spec/containers") {
        assert_eq!(container.str_at("resources/limits/cpu"), "1", "{container}");
        assert_eq!(container.array_at("volumeMounts").len(), 1);
    }
    let error = chain.validate(&a, Some(&pod), None).await.unwrap_err();
    assert_eq!(error.message(), "pods \"bad\" is forbidden: bad name");
    pod["metadata"]["name"] = "good".into();
    chain.validate(&a, Some(&pod), None).await.unwrap();
    let error = chain.charge(&a, &pod, None).await.unwrap_err();
    assert_eq!(
        error.message(),
        "pods \"good\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
    );
    // Deletions and connections have no object and pass.
    let delete = ask(Operation::Delete, "", "pods").named("p");
    chain.mutate(&delete.attributes(), None, Some(&pod)).await.unwrap();
    chain.validate(&delete.attributes(), None, Some(&pod)).await.unwrap();
}

/// A server that hears of everything later than others.
struct Behind(World, Option<Value>);

#[async_trait]
impl Reader for Behind {
    fn get(&self, resource: &apimachinery::GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.get(resource, namespace, name)
    }

    fn list(&self, resource: &apimachinery::GroupResource, namespace: &str) -> Vec<Arc<Value>> {
        self.0.list(resource, namespace)
    }

    async fn catch_up(&self) -> ApiResult<bool> {
        let news = self.1.clone().ok_or_else(|| ApiError::service_unavailable("no majority"))?;
        self.0.put(news);
        Ok(true)
    }
}

#[tokio::test]
async fn a_refusal_never_rests_on_an_old_state() {
    let namespace = |name: &str| json!({"kind": "Namespace", "metadata": {"name": name}});
    let cases = [(Some(namespace("ns")), Ok(())), (Some(namespace("other")), Err(404)), (None, Err(503))];
    for (news, expected) in cases {
        let reader = Arc::new(Behind(World::default(), news));
        let chain = Chain::new(Config { reader, authorizer: Arc::new(Allow(&[])), disabled: Vec::new() });
        let mut secret = json!({"metadata": {"name": "s"}});
        let create = ask(Operation::Create, "", "secrets").in_namespace("ns");
        let outcome = chain.mutate(&create.attributes(), Some(&mut secret), None).await;
        assert_eq!(outcome.map_err(|error| error.code()), expected);
    }
}
