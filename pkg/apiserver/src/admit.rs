//! The admission chain, as the registry sees it.

use std::sync::Arc;

use admission::{Attributes, Kind};
use apimachinery::ApiResult;
use async_trait::async_trait;
use registry::{AdmissionHook, Charge, Operation, Review};
use serde_json::Value;

/// Asks the admission chain about every write.
pub struct ChainHook(Arc<admission::Chain>);

impl ChainHook {
    pub fn new(chain: Arc<admission::Chain>) -> Self {
        Self(chain)
    }
}

#[async_trait]
impl AdmissionHook for ChainHook {
    async fn mutate(&self, review: &Review<'_>, object: Option<&mut Value>, old: Option<&Value>) -> ApiResult<()> {
        let warn = |text: String| review.call.warn(text);
        self.0.mutate(&attributes(review, &warn), object, old).await
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>, old: Option<&Value>) -> ApiResult<()> {
        let warn = |text: String| review.call.warn(text);
        self.0.validate(&attributes(review, &warn), object, old).await
    }

    async fn charge(&self, review: &Review<'_>, object: &Value, old: Option<&Value>) -> ApiResult<Charge> {
        let warn = |text: String| review.call.warn(text);
        let admission::quota::Charge { quotas, turn } = self.0.charge(&attributes(review, &warn), object, old).await?;
        Ok(Charge { quotas, turn: turn.map(|turn| Box::new(turn) as Box<dyn Send + Sync>) })
    }
}

fn attributes<'a>(review: &'a Review<'_>, warn: &'a (dyn Fn(String) + Send + Sync)) -> Attributes<'a> {
    let call = review.call;
    let kind = match &review.kind {
        Some(kind) => Kind { group: &kind.group, version: &kind.version, kind: &kind.kind },
        None => Kind { group: call.resource.group, version: call.version, kind: call.resource.kind },
    };
    let is_namespace = call.resource.plural == "namespaces" && call.resource.group.is_empty();
    Attributes {
        operation: match review.operation {
            Operation::Create => admission::Operation::Create,
            Operation::Update => admission::Operation::Update,
            Operation::Delete => admission::Operation::Delete,
            Operation::Connect => admission::Operation::Connect,
        },
        kind,
        group: call.resource.group,
        version: call.version,
        resource: call.resource.plural,
        subresource: call.subresource,
        // A Namespace is judged as if it were in itself.
        namespace: if is_namespace { review.name } else { call.namespace },
        name: review.name,
        user: call.user,
        dry_run: call.dry_run,
        warn,
    }
}
