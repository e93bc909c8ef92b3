use serde_json::{Value, json};

use super::*;

fn job(spec: Value, status: Value) -> Job {
    let mut full = json!({ "template": { "spec": { "restartPolicy": "Never", "containers": [] } }, "parallelism": 2, "completions": 3 });
    for (key, value) in spec.as_object().unwrap() {
        full[key] = value.clone();
    }
    serde_json::from_value(json!({ "metadata": { "name": "j", "uid": "j" }, "spec": full, "status": status })).unwrap()
}

fn pod(uid: &str, phase: &str, tracked: bool, index: Option<i32>) -> Arc<SlimPod> {
    let mut pod = json!({ "metadata": { "name": uid, "uid": uid, "finalizers": if tracked { vec![FINALIZER] } else { vec![] } },
        "status": { "phase": phase } });
    if let Some(index) = index {
        pod["metadata"]["annotations"] = json!({ INDEX: index.to_string() });
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn run(job: &Job, pods: &[Arc<SlimPod>]) -> Plan {
    plan(job, pods, Backoff::default(), at(0))
}

/// The job with the status of the plan, and the pods that it releases without their finalizer.
fn apply(job: &Job, pods: &[Arc<SlimPod>], plan: &Plan) -> (Job, Vec<Arc<SlimPod>>) {
    let released = |pod: &Arc<SlimPod>| plan.release.iter().any(|other| other.uid == pod.uid);
    let pods = pods.iter().map(|pod| {
        if released(pod) { Arc::new(SlimPod { finalizers: Box::new([]), ..(**pod).clone() }) } else { pod.clone() }
    });
    (Job { status: Some(plan.status.clone()), ..job.clone() }, pods.collect())
}

#[test]
fn creates_up_to_parallelism_and_what_is_left() {
    assert_eq!(run(&job(json!({}), Value::Null), &[]).create, [New::Plain; 2]);
    let status = json!({ "startTime": "2026-01-01T00:00:00Z", "succeeded": 2 });
    assert_eq!(run(&job(json!({}), status), &[]).create, [New::Plain]);
    let running = [pod("a", "Running", true, None), pod("b", "Pending", true, None)];
    let full = run(&job(json!({}), Value::Null), &running);
    assert!(full.create.is_empty() && full.retire.is_empty());
    assert_eq!(full.status.active, Some(2));
    let shrunk = run(&job(json!({ "parallelism": 1 }), Value::Null), &running);
    assert_eq!(shrunk.retire.len(), 1);
}

#[test]
fn each_finished_pod_is_counted_once() {
    let job = job(json!({ "completions": 1 }), Value::Null);
    let pods = [pod("a", "Succeeded", true, None)];
    let first = run(&job, &pods);
    let uncounted = first.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((uncounted.succeeded, first.status.succeeded), (Some(vec!["a".to_owned()]), None));
    assert_eq!(first.release.len(), 1);
    assert!(first.create.is_empty());
    assert!(condition(&first.status, "Complete").is_none(), "not before it is counted");
    assert!(is_true(&first.status, "SuccessCriteriaMet"));
    // The cache is late: the same again, nothing doubled.
    let (counting, released) = apply(&job, &pods, &first);
    let late = run(&counting, &pods);
    assert_eq!(late.status, first.status);
    let done = run(&counting, &released);
    assert_eq!(done.status.succeeded, Some(1));
    assert!(is_true(&done.status, "Complete"));
    assert_eq!(done.events, [(false, "Completed".to_owned(), "Job completed".to_owned())]);
    assert!(done.status.completion_time.is_some());
}

#[test]
fn failures_wait_and_then_end_the_job() {
    let limited = job(json!({ "backoffLimit": 1 }), Value::Null);
    let one = run(&limited, &[pod("a", "Failed", true, None)]);
    assert!(one.create.is_empty(), "the replacement waits");
    assert_eq!(one.backoff.failures, 1);
    assert_eq!(one.again, Some(Duration::from_secs(10)));
    let pods = [pod("a", "Failed", true, None), pod("b", "Failed", true, None), pod("c", "Running", true, None)];
    let two = run(&limited, &pods);
    assert_eq!(condition(&two.status, "FailureTarget").unwrap().reason.as_deref(), Some("BackoffLimitExceeded"));
    assert_eq!(two.stop.len(), 1);
    assert!(condition(&two.status, "Failed").is_none(), "c has to end first");
    let (counting, released) = apply(&limited, &pods[..2], &two);
    let done = run(&counting, &released);
    let failed = condition(&done.status, "Failed").unwrap();
    assert_eq!(failed.message.as_deref(), Some("Job has reached the specified backoff limit"));
    assert_eq!(done.status.failed, Some(2));
    assert!(done.events[0].0);
}

#[test]
fn backoff_doubles_and_is_bounded() {
    let left = |failures| Backoff { failures, last: Some(at(0)) }.left(at(4)).as_secs();
    assert_eq!([left(0), left(1), left(2), left(3), left(30)], [0, 6, 16, 36, 596]);
}

#[test]
fn deadline_and_suspension() {
    let started = json!({ "startTime": "2027-01-15T08:00:00Z" });
    assert_eq!(at(0), "2027-01-15T08:00:00Z".parse::<Timestamp>().unwrap());
    let job = |suspend: bool| job(json!({ "activeDeadlineSeconds": 30, "suspend": suspend }), started.clone());
    let running = [pod("a", "Running", true, None)];
    assert_eq!(run(&job(false), &running).again, Some(Duration::from_secs(30)));
    let late = plan(&job(false), &running, Backoff::default(), at(30));
    assert_eq!(condition(&late.status, "FailureTarget").unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    let suspended = plan(&job(true), &running, Backoff::default(), at(99));
    assert!(is_true(&suspended.status, "Suspended"));
    assert_eq!((suspended.retire.len(), suspended.stop.len()), (1, 0));
    let mut resumed = job(false);
    resumed.status = Some(suspended.status);
    let resumed = plan(&resumed, &[], Backoff::default(), at(200));
    assert_eq!(resumed.status.start_time.unwrap().0, at(200), "the clock starts anew");
    assert_eq!(resumed.create.len(), 2);
}

#[test]
fn indexed_jobs_run_each_index_once() {
    let indexed = job(json!({ "completionMode": "Indexed", "completions": 4, "parallelism": 3 }), Value::Null);
    let first = run(&indexed, &[]);
    assert_eq!(first.create, [New::Index(0, 0), New::Index(1, 0), New::Index(2, 0)]);
    let pods = [
        pod("a", "Succeeded", true, Some(1)),
        pod("b", "Running", true, Some(0)),
        pod("c", "Succeeded", true, Some(1)),
    ];
    let next = run(&indexed, &pods);
    assert_eq!(next.create, [New::Index(2, 0), New::Index(3, 0)]);
    assert_eq!(next.status.completed_indexes.as_deref(), Some("1"));
    assert_eq!(next.status.succeeded, Some(1), "the same index counts once");
}

#[test]
fn limits_for_each_index() {
    let spec =
        json!({ "completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 0, "backoffLimit": i32::MAX });
    let indexed = job(spec, Value::Null);
    let pods = [pod("a", "Failed", true, Some(0)), pod("b", "Running", true, Some(1))];
    let failed = run(&indexed, &pods);
    assert_eq!(failed.status.failed_indexes.as_deref(), Some("0"));
    assert!(failed.create.is_empty() && condition(&failed.status, "FailureTarget").is_none());
    let (counting, mut released) = apply(&indexed, &pods, &failed);
    released[1] = pod("b", "Succeeded", true, Some(1));
    let done = run(&counting, &released);
    assert_eq!(condition(&done.status, "FailureTarget").unwrap().reason.as_deref(), Some("FailedIndexes"));
}

#[test]
fn a_success_policy_ends_early() {
    let spec = json!({ "completionMode": "Indexed", "completions": 5, "successPolicy": { "rules": [{ "succeededIndexes": "0,2", "succeededCount": 1 }] } });
    let plan =
        run(&job(spec, Value::Null), &[pod("a", "Succeeded", true, Some(2)), pod("b", "Running", true, Some(3))]);
    let met = condition(&plan.status, "SuccessCriteriaMet").unwrap();
    assert_eq!(
        (met.reason.as_deref(), met.message.as_deref()),
        (Some("SuccessPolicy"), Some("Matched rules at index 0"))
    );
    assert_eq!(plan.stop.len(), 1);
}

#[test]
fn without_completions_one_success_is_enough_when_all_are_done() {
    let mut queue = job(json!({}), Value::Null);
    queue.spec.as_mut().unwrap().completions = None;
    let pods = [pod("a", "Succeeded", true, None), pod("b", "Running", true, None)];
    let waiting = run(&queue, &pods);
    assert!(waiting.create.is_empty() && condition(&waiting.status, "SuccessCriteriaMet").is_none());
    assert!(is_true(&run(&queue, &pods[..1]).status, "SuccessCriteriaMet"));
}
