//! Strict field validation of built-in kinds.

use anyhow::ensure;

use crate::Cluster;
use crate::kinds::DEPLOYMENT;
use crate::must::must_refuse;

tests!(field_validation: unknown_and_duplicate_fields, unknown_metadata_fields);

/// Creates a Deployment from this text with `fieldValidation=Strict` and expects the refusal to say so.
async fn must_find(cluster: &Cluster, metadata: &str, spec: &str, finding: &str) -> anyhow::Result<()> {
    let body = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "strict", {metadata} "labels": {{"app": "web"}}}},
           "spec": {{{spec} "selector": {{"matchLabels": {{"app": "web"}}}}, "template": {{"metadata": {{"labels": {{"app": "web"}}}},
           "spec": {{"containers": [{{"name": "web", "image": "docker.io/coracle/web:v1"}}]}}}}}}}}"#
    );
    let path = format!("{}?fieldManager=conformance&fieldValidation=Strict", cluster.of(DEPLOYMENT).path());
    let outcome = cluster.request("POST", &path, &[("content-type", "application/json")], body.into()).await;
    let refusal = must_refuse(outcome, 400, "an object with such fields")?;
    let expected = format!("strict decoding error: {finding}");
    ensure!(refusal.message.contains(&expected), "the error MUST name {expected:?}: {:?}", refusal.message);
    Ok(())
}

async fn unknown_and_duplicate_fields(cluster: &Cluster) -> anyhow::Result<()> {
    let finding = r#"unknown field "spec.unknownField", duplicate field "spec.replicas""#;
    must_find(cluster, "", r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#, finding).await
}

async fn unknown_metadata_fields(cluster: &Cluster) -> anyhow::Result<()> {
    must_find(cluster, r#""unknownMeta": "foo","#, "", r#"unknown field "metadata.unknownMeta""#).await
}
