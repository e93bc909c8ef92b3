//! CronJobs: a Job at each time of a schedule.

mod plan;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use client::{Cached as _, Change, EventType, Index, ObjectKey, Scope, Store, WorkQueue};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Api;
use kube::api::{PostParams, PropagationPolicy};

pub use self::schedule::Schedule;
use crate::owner;
use crate::skeleton::{
    self, Context, Error, SyncResult, Tasks, delete_uid, enqueue, ignore_not_found, is_already_exists,
};
use crate::status::write_status;
use crate::template;

const NAME: &str = "cronjob";
const WORKERS: usize = 5;
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct Controller {
    cron_jobs: Store<CronJob>,
    jobs: Index<Job>,
    context: Context,
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) -> Result<(), Error> {
    let cron_jobs = context.informers.get::<CronJob>(Scope::all());
    let jobs = context.informers.get::<Job>(Scope::all());
    cron_jobs.synced().await;
    jobs.synced().await;
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(NAME);
    let by_uid = owner::by_uid(&cron_jobs.store());
    let mut tasks = Tasks::new();
    tasks.feed(&cron_jobs, enqueue(&queue));
    tasks.feed(&jobs, {
        let queue = queue.clone();
        move |change: &Change<Job>| {
            let owner = change.latest().and_then(|job| owner::controller_of(&job.metadata).cloned());
            for cron_job in owner.map(|owner| by_uid.get(&owner.uid)).unwrap_or_default() {
                queue.add(ObjectKey::of(&*cron_job));
            }
        }
    });
    let controller = Arc::new(Controller {
        cron_jobs: cron_jobs.store(),
        jobs: owner::by_owner(&jobs.store()),
        context: context.clone(),
    });
    tasks.work(NAME, &queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(key).await }
    });
    tasks.run(&context.shutdown).await
}

/// `Complete` or `Failed`, once the job has ended.
fn ended(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = |kind: &str| kind == "Complete" || kind == "Failed";
    conditions.iter().find(|c| ended(&c.type_) && c.status == "True").map(|c| c.type_.as_str())
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> SyncResult {
        let Some(cron_job) = self.cron_jobs.get_key(&key) else { return Ok(None) };
        let jobs = self.jobs.get(cron_job.metadata.uid.as_deref().unwrap_or(""));
        let mut status = cron_job.status.clone().unwrap_or_default();
        self.follow(&cron_job, &jobs, &mut status).await?;
        let outcome = match cron_job.metadata.deletion_timestamp.is_some() || cron_job.spec.suspend == Some(true) {
            true => Ok(None),
            false => self.start(&cron_job, &jobs, &mut status).await,
        };
        write_status(&self.context.client, &*cron_job, status).await?;
        self.clean_up(&cron_job, &jobs).await?;
        outcome
    }

    /// Brings the list of running jobs in step with the jobs there are.
    async fn follow(&self, cron_job: &CronJob, jobs: &[Arc<Job>], status: &mut CronJobStatus) -> Result<(), Error> {
        let mut active = status.active.take().unwrap_or_default();
        for job in jobs {
            let listed = active.iter().any(|reference| reference.uid == job.metadata.uid);
            match ended(job) {
                Some(how) if listed => {
                    active.retain(|reference| reference.uid != job.metadata.uid);
                    let text = format!("Saw completed job: {}, condition: {how}", job.name());
                    self.event(cron_job, EventType::Normal, "SawCompletedJob", &text);
                    let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
                    if how == "Complete" && completed > status.last_successful_time {
                        status.last_successful_time = completed;
                    }
                }
                None if !listed => active.push(reference(job)),
                _ => {}
            }
        }
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), cron_job.namespace());
        let mut there = Vec::with_capacity(active.len());
        for reference in active {
            let cached = jobs.iter().any(|job| job.metadata.uid == reference.uid);
            let name = reference.name.as_deref().unwrap_or("");
            // One that was just made may not be in the cache yet.
            if cached || api.get_opt(name).await?.is_some_and(|job| job.metadata.uid == reference.uid) {
                there.push(reference);
            } else {
                let text = format!("Active job went missing: {name}");
                self.event(cron_job, EventType::Normal, "MissingJob", &text);
            }
        }
        status.active = (!there.is_empty()).then_some(there);
        Ok(())
    }

    /// Starts the job that is due, if the policy allows; answers when the next one is.
    async fn start(&self, cron_job: &CronJob, jobs: &[Arc<Job>], status: &mut CronJobStatus) -> SyncResult {
        let now = Timestamp::now();
        let Some(schedule) = self.schedule(cron_job) else { return Ok(None) };
        let created = cron_job.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let last = status.last_schedule_time.as_ref().map(|time| time.0).or(created).unwrap_or(now);
        let deadline = cron_job.spec.starting_deadline_seconds;
        let due = plan::due(&schedule, last, deadline, now);
        let again = due.next.map(|next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
        if due.too_many {
            let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.event(cron_job, EventType::Warning, "TooManyMissedTimes", text);
        }
        let Some(at) = due.missed else { return Ok(again) };
        if deadline.is_some_and(|seconds| at.checked_add(SignedDuration::from_secs(seconds)).is_ok_and(|end| end < now))
        {
            let text = format!("Missed scheduled time to start a job: {}", apimachinery::time::format(at));
            self.event(cron_job, EventType::Warning, "MissSchedule", &text);
            return Ok(again);
        }
        let name = format!("{}-{}", cron_job.name(), at.as_second() / 60);
        if jobs.iter().any(|job| job.name() == name) {
            // It was started, and only the status does not say so yet.
            status.last_schedule_time = Some(Time(at));
            return Ok(again);
        }
        match cron_job.spec.concurrency_policy.as_deref() {
            Some("Forbid") if status.active.is_some() => {
                let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.event(cron_job, EventType::Normal, "JobAlreadyActive", text);
                return Ok(again);
            }
            Some("Replace") => {
                for job in jobs.iter().filter(|job| ended(job).is_none()) {
                    self.delete(cron_job, job).await?;
                }
                status.active = None;
            }
            _ => {}
        }
        if let Some(job) = self.create(cron_job, &name, at).await? {
            status.active.get_or_insert_default().push(reference(&job));
        }
        status.last_schedule_time = Some(Time(at));
        Ok(again)
    }

    fn schedule(&self, cron_job: &CronJob) -> Option<Schedule> {
        let zone = match cron_job.spec.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(error) => {
                    let text = format!("invalid timeZone: {name}: {error}");
                    self.event(cron_job, EventType::Warning, "UnknownTimeZone", &text);
                    return None;
                }
            },
        };
        match Schedule::parse(&cron_job.spec.schedule, zone) {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                let text = format!("unparseable schedule: {} : {error}", cron_job.spec.schedule);
                self.event(cron_job, EventType::Warning, "UnparseableSchedule", &text);
                None
            }
        }
    }

    async fn create(&self, cron_job: &CronJob, name: &str, at: Timestamp) -> Result<Option<Job>, Error> {
        let job_template = &cron_job.spec.job_template;
        let meta = job_template.metadata.clone().unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.insert(SCHEDULED_AT.into(), apimachinery::time::format(at));
        let job = Job {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: cron_job.metadata.namespace.clone(),
                labels: meta.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![template::controller_ref(cron_job)]),
                ..ObjectMeta::default()
            },
            spec: job_template.spec.clone(),
            status: None,
        };
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), cron_job.namespace());
        match api.create(&PostParams::default(), &job).await {
            Ok(job) => {
                self.event(cron_job, EventType::Normal, "SuccessfulCreate", &format!("Created job {name}"));
                Ok(Some(job))
            }
            Err(error) if is_already_exists(&error) || skeleton::is_terminating(&error) => Ok(None),
            Err(error) => {
                let text = format!("Error creating job: {}", skeleton::message(&error));
                self.event(cron_job, EventType::Warning, "FailedCreate", &text);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, cron_job: &CronJob, job: &Job) -> Result<(), Error> {
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), job.namespace());
        let mut params = delete_uid(job.metadata.uid.as_deref().unwrap_or(""));
        params.propagation_policy = Some(PropagationPolicy::Background);
        ignore_not_found(api.delete(job.name(), &params).await)?;
        self.event(cron_job, EventType::Normal, "SuccessfulDelete", &format!("Deleted job {}", job.name()));
        Ok(())
    }

    /// Deletes the oldest ended jobs beyond what the history limits keep.
    async fn clean_up(&self, cron_job: &CronJob, jobs: &[Arc<Job>]) -> Result<(), Error> {
        let limits = [
            ("Complete", cron_job.spec.successful_jobs_history_limit),
            ("Failed", cron_job.spec.failed_jobs_history_limit),
        ];
        for (how, limit) in limits {
            let Some(limit) = limit else { continue };
            let mut done: Vec<_> = jobs
                .iter()
                .filter(|job| ended(job) == Some(how) && job.metadata.deletion_timestamp.is_none())
                .collect();
            done.sort_by_key(|job| (job.metadata.creation_timestamp.clone(), job.name().to_owned()));
            let surplus = done.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
            for job in &done[..surplus] {
                self.delete(cron_job, job).await?;
            }
        }
        Ok(())
    }

    fn event(&self, cron_job: &CronJob, kind: EventType, reason: &str, text: &str) {
        self.context.recorder.event(&client::recorder::reference(cron_job), kind, reason, text);
    }
}

fn reference(job: &Job) -> ObjectReference {
    client::recorder::reference(job)
}
