//! `/containerLogs/{namespace}/{pod}/{container}`

use std::path::PathBuf;
use std::sync::Arc;

use http::{Response, StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};

use super::query::Query;
use super::{Answer, Context, streamed, text};
use crate::logs::follow::{Options, QUEUE, stream};
use crate::pod::PodExt as _;
use crate::runtime::{ContainerStatus, PodRuntimeStatus, State, observe};

pub async fn serve(context: &Arc<Context>, namespace: &str, pod: &str, container: &str, query: &Query) -> Answer {
    let options = match options(query) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::BAD_REQUEST, &message),
    };
    let kubelet = &context.kubelet;
    let Some(found) = kubelet.find_pod(namespace, pod) else {
        return text(StatusCode::NOT_FOUND, &format!("pod \"{pod}\" not found"));
    };
    if found.find_container(container).is_none() {
        return text(StatusCode::NOT_FOUND, &format!("container \"{container}\" not found in pod \"{pod}\""));
    }
    let runtime = observe::observe(&*kubelet.runtime, found.uid(), &PodRuntimeStatus::default()).await;
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let previous = query.flag(&["previous"]);
    let status = kubelet.statuses.get(found.uid()).or_else(|| found.status.clone()).unwrap_or_default();
    let chosen = match choose(&found, container, &runtime, &status, previous) {
        Ok(chosen) => chosen,
        Err(message) => return text(StatusCode::BAD_REQUEST, &message),
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let ended = watch_end(context, chosen);
    tokio::spawn(stream(PathBuf::from(&chosen.log_path), options, ended, sender));
    let mut answer = Response::new(streamed(receiver));
    let kind = header::HeaderValue::from_static("text/plain");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn options(query: &Query) -> Result<Options, String> {
    let number = |name: &str| -> Result<Option<u64>, String> {
        match query.get(name).filter(|v| !v.is_empty()) {
            None => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| format!("invalid value of {name}: {value:?}")),
        }
    };
    let since_seconds = number("sinceSeconds")?;
    let since = match query.get("sinceTime").filter(|v| !v.is_empty()) {
        Some(value) => Some(value.parse::<Timestamp>().map_err(|e| format!("invalid value of sinceTime: {e}"))?),
        None => since_seconds.map(|seconds| Timestamp::now() - std::time::Duration::from_secs(seconds)),
    };
    Ok(Options {
        follow: query.flag(&["follow"]),
        tail_lines: number("tailLines")?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
        since,
        timestamps: query.flag(&["timestamps"]),
        limit_bytes: number("limitBytes")?,
        only_stderr: match query.get("stream") {
            Some("Stdout") => Some(false),
            Some("Stderr") => Some(true),
            _ => None,
        },
    })
}

/// The instance whose log is meant, or upstream's text on why there is none.
fn choose<'a>(
    pod: &Pod,
    name: &str,
    runtime: &'a PodRuntimeStatus,
    status: &PodStatus,
    previous: bool,
) -> Result<&'a ContainerStatus, String> {
    let pod_name = pod.name();
    if previous {
        let ended = runtime.containers.iter().filter(|c| c.name == name && c.state == State::Exited);
        // The newest that ended, unless it is the newest of all and nothing follows it yet.
        let mut ended = ended.skip(usize::from(runtime.find(name).is_some_and(|c| c.state == State::Exited)));
        let waiting_to_restart = runtime.find(name).filter(|c| c.state == State::Exited && is_waiting(status, name));
        return ended
            .next()
            .or(waiting_to_restart)
            .ok_or_else(|| format!("previous terminated container \"{name}\" in pod \"{pod_name}\" not found"));
    }
    runtime.find(name).filter(|c| c.state != State::Created).ok_or_else(|| {
        let reason = waiting_reason(status, name).unwrap_or_else(|| "ContainerCreating".to_owned());
        match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" => {
                format!(
                    "container \"{name}\" in pod \"{pod_name}\" is waiting to start: trying and failing to pull image"
                )
            }
            _ => format!("container \"{name}\" in pod \"{pod_name}\" is waiting to start: {reason}"),
        }
    })
}

fn waiting_reason(status: &PodStatus, name: &str) -> Option<String> {
    let all = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    let found = all.into_iter().flatten().flatten().find(|s| s.name == name)?;
    found.state.as_ref()?.waiting.as_ref()?.reason.clone()
}

fn is_waiting(status: &PodStatus, name: &str) -> bool {
    waiting_reason(status, name).is_some()
}

/// Becomes true when the container ends.
fn watch_end(context: &Arc<Context>, container: &ContainerStatus) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(container.state != State::Running);
    if container.state == State::Running {
        let (kubelet, id) = (context.kubelet.clone(), container.id.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = kubelet.pleg.wait_for_exit(&*kubelet.runtime, &id) => drop(sender.send(true)),
                () = sender.closed() => {}
            }
        });
    }
    receiver
}
