//! Writing the status of an object.

use std::fmt::Debug;

use client::{Cached, Client};
use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetStatus, Deployment, DeploymentStatus, StatefulSet, StatefulSetStatus,
};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job, JobStatus};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::{Metadata, NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;

use crate::skeleton::{Error, is_not_found};
use crate::template;

/// A namespaced kind whose status a controller writes.
pub trait Reported:
    Metadata<Ty = ObjectMeta> + k8s_openapi::Resource<Scope = NamespaceResourceScope> + Cached + Clone + Debug + Serialize
{
    type Status: Default + PartialEq + Serialize;

    fn status_mut(&mut self) -> &mut Option<Self::Status>;
    fn status(&self) -> Option<&Self::Status>;
}

macro_rules! reported {
    ($($kind:ty: $status:ty),* $(,)?) => {$(
        impl Reported for $kind {
            type Status = $status;

            fn status_mut(&mut self) -> &mut Option<$status> {
                &mut self.status
            }
            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }
        }
    )*};
}

reported! {
    CronJob: CronJobStatus,
    DaemonSet: DaemonSetStatus,
    Deployment: DeploymentStatus,
    Job: JobStatus,
    PodDisruptionBudget: PodDisruptionBudgetStatus,
    ResourceQuota: ResourceQuotaStatus,
    StatefulSet: StatefulSetStatus,
}

/// Gives `object` this status. False where nothing was written: it has it already, or the object is gone.
pub async fn write_status<K: Reported>(client: &Client, object: &K, status: K::Status) -> Result<bool, Error> {
    if template::equal(object.status().unwrap_or(&K::Status::default()), &status) {
        return Ok(false);
    }
    let mut wanted = object.clone();
    *wanted.status_mut() = Some(status);
    let api: Api<K> = Api::namespaced(client.clone(), object.namespace());
    match api.replace_status(object.name(), &PostParams::default(), &wanted).await {
        Err(error) if is_not_found(&error) => Ok(false),
        outcome => Ok(outcome.map(|_| true)?),
    }
}
