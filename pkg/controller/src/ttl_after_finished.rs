//! Jobs that say how long they stay after their end are deleted when that time is up.

use std::sync::Arc;
use std::time::Duration;

use client::{Cached as _, ObjectKey, Scope, Store, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::PropagationPolicy;

use crate::skeleton::{Context, Error, SyncResult, Tasks, delete_uid, enqueue, ignore_not_found};

const NAME: &str = "ttl_jobs_to_delete";
const WORKERS: usize = 5;

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let jobs = context.informers.get::<Job>(Scope::all());
    jobs.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let mut tasks = Tasks::new();
    tasks.feed(&jobs, enqueue(&queue));
    let shared = Arc::new((context.clone(), jobs.store()));
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let shared = shared.clone();
        async move { sync(&shared.0, &shared.1, key).await }
    });
    tasks.run(&context.shutdown).await
}

/// When the job's time is up, if it has ended and says so.
fn expiry(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let ended = job.status.as_ref()?.conditions.iter().flatten().find(|condition| {
        (condition.type_ == "Complete" || condition.type_ == "Failed") && condition.status == "True"
    })?;
    ended.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds.into())).ok()
}

async fn sync(context: &Context, jobs: &Store<Job>, key: ObjectKey) -> SyncResult {
    let Some(job) = jobs.get_key(&key).filter(|job| job.metadata.deletion_timestamp.is_none()) else { return Ok(None) };
    let Some(expiry) = expiry(&job) else { return Ok(None) };
    let left = expiry.duration_since(Timestamp::now());
    if left > SignedDuration::ZERO {
        return Ok(Some(Duration::try_from(left).unwrap_or_default()));
    }
    let api: Api<Job> = Api::namespaced(context.client.clone(), &key.namespace);
    // The cache may be behind a change of the time to live.
    let Some(live) = api.get_opt(job.name()).await? else { return Ok(None) };
    if expiry_passed(&live, &job) {
        let mut params = delete_uid(job.metadata.uid.as_deref().unwrap_or(""));
        params.propagation_policy = Some(PropagationPolicy::Foreground);
        ignore_not_found(api.delete(job.name(), &params).await)?;
    }
    Ok(None)
}

fn expiry_passed(live: &Job, cached: &Job) -> bool {
    live.metadata.uid == cached.metadata.uid && expiry(live).is_some_and(|expiry| expiry <= Timestamp::now())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_has_ended_expires() {
        let job = |status: &str, ttl: Option<i32>| -> Job {
            serde_json::from_value(json!({ "metadata": {}, "spec": { "template": {}, "ttlSecondsAfterFinished": ttl }, "status": { "conditions":
                [{ "type": "Failed", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z" }] } }))
            .unwrap()
        };
        assert_eq!(expiry(&job("True", Some(60))), "2026-01-01T00:01:00Z".parse().ok());
        assert_eq!(expiry(&job("False", Some(60))), None);
        assert_eq!(expiry(&job("True", None)), None);
    }
}
