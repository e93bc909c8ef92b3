//! What differs between ReplicaSet and ReplicationController: where things are, not what they mean.

use apimachinery::labels::LabelSelector;
use client::{Cached, Client};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::skeleton::Error;
use crate::template;

/// The status of either kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    /// `None` where the kind or the server does not have it.
    pub terminating: Option<i32>,
    pub observed_generation: Option<i64>,
    pub conditions: Vec<ReplicaCondition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaCondition {
    pub kind: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub changed: Option<Timestamp>,
}

/// A kind that keeps a number of pods.
pub trait ReplicaKind:
    Cached
    + k8s_openapi::Metadata<Ty = ObjectMeta>
    + Clone
    + Serialize
    + std::fmt::Debug
    + kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
{
    const QUEUE: &'static str;
    /// The kind's status has `terminatingReplicas`.
    const COUNTS_TERMINATING: bool;

    fn api(client: &Client, namespace: &str) -> Api<Self>;
    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn pod_selector(&self) -> Result<LabelSelector, Error>;
    /// An empty selector selects nothing for these kinds.
    fn pod_selector_is_empty(&self) -> bool;
    fn status(&self) -> ReplicaStatus;
    fn set_status(&mut self, status: &ReplicaStatus);
}

impl ReplicaKind for ReplicaSet {
    const QUEUE: &'static str = "replicaset";
    const COUNTS_TERMINATING: bool = true;

    fn api(client: &Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }
    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }
    fn pod_selector(&self) -> Result<LabelSelector, Error> {
        template::selector(Some(&self.spec.selector))
    }
    fn pod_selector_is_empty(&self) -> bool {
        let selector = &self.spec.selector;
        selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    }
    fn status(&self) -> ReplicaStatus {
        let Some(status) = &self.status else { return ReplicaStatus { replicas: -1, ..ReplicaStatus::default() } };
        let condition = |c: &ReplicaSetCondition| ReplicaCondition {
            kind: c.type_.clone().unwrap_or_default(),
            status: c.status.clone().unwrap_or_default(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            changed: c.last_transition_time.as_ref().map(|t| t.0),
        };
        ReplicaStatus {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            observed_generation: status.observed_generation,
            conditions: status.conditions.iter().flatten().map(condition).collect(),
        }
    }
    fn set_status(&mut self, status: &ReplicaStatus) {
        let condition = |c: &ReplicaCondition| ReplicaSetCondition {
            type_: Some(c.kind.clone()),
            status: Some(c.status.clone()),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_transition_time: c.changed.map(Time),
        };
        self.status = Some(ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: nonzero(status.fully_labeled),
            ready_replicas: nonzero(status.ready),
            available_replicas: nonzero(status.available),
            terminating_replicas: status.terminating,
            observed_generation: status.observed_generation,
            conditions: nonempty(status.conditions.iter().map(condition).collect()),
        });
    }
}

impl ReplicaKind for ReplicationController {
    const QUEUE: &'static str = "replicationmanager";
    const COUNTS_TERMINATING: bool = false;

    fn api(client: &Client, namespace: &str) -> Api<Self> {
        Api::namespaced(client.clone(), namespace)
    }
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn pod_selector(&self) -> Result<LabelSelector, Error> {
        let labels = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let map: Option<Map<String, Value>> =
            labels.map(|labels| labels.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect());
        Ok(LabelSelector::from_map(map.as_ref()))
    }
    fn pod_selector_is_empty(&self) -> bool {
        self.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_none_or(|selector| selector.is_empty())
    }
    fn status(&self) -> ReplicaStatus {
        let Some(status) = &self.status else { return ReplicaStatus { replicas: -1, ..ReplicaStatus::default() } };
        let condition = |c: &ReplicationControllerCondition| ReplicaCondition {
            kind: c.type_.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            changed: c.last_transition_time.as_ref().map(|t| t.0),
        };
        ReplicaStatus {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: None,
            observed_generation: status.observed_generation,
            conditions: status.conditions.iter().flatten().map(condition).collect(),
        }
    }
    fn set_status(&mut self, status: &ReplicaStatus) {
        let condition = |c: &ReplicaCondition| ReplicationControllerCondition {
            type_: c.kind.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_transition_time: c.changed.map(Time),
        };
        self.status = Some(ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: nonzero(status.fully_labeled),
            ready_replicas: nonzero(status.ready),
            available_replicas: nonzero(status.available),
            observed_generation: status.observed_generation,
            conditions: nonempty(status.conditions.iter().map(condition).collect()),
        });
    }
}

fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

fn nonempty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
