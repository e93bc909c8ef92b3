//! Reading a pod's state from the runtime.

use std::collections::BTreeMap;

use cri::{RuntimeService, v1};
use jiff::Timestamp;

use super::{ContainerStatus, PodRuntimeStatus, SandboxStatus, State};
use crate::names;

/// Everything that the runtime has of the pod with this uid. `known` saves asking again about containers whose end
/// was read before: an exited container never changes.
pub async fn observe(
    runtime: &dyn RuntimeService,
    uid: &str,
    known: &PodRuntimeStatus,
) -> Result<PodRuntimeStatus, cri::Error> {
    let label_selector = BTreeMap::from([(names::POD_UID.to_owned(), uid.to_owned())]);
    let sandbox_filter = v1::PodSandboxFilter { label_selector: label_selector.clone(), ..Default::default() };
    let container_filter = v1::ContainerFilter { label_selector, ..Default::default() };
    let (sandboxes, containers) = tokio::try_join!(
        runtime.list_pod_sandboxes(Some(sandbox_filter)),
        runtime.list_containers(Some(container_filter)),
    )?;
    let mut status = PodRuntimeStatus::default();
    for sandbox in sandboxes {
        if let Some(read) = gone_is_none(runtime.pod_sandbox_status(&sandbox.id).await)? {
            status.sandboxes.push(sandbox_status(&read));
        }
    }
    for container in containers {
        let before = known.by_id(&container.id).filter(|c| c.state == State::Exited);
        let read = match before {
            Some(before) => Some(before.clone()),
            None => gone_is_none(runtime.container_status(&container.id).await)?
                .map(|read| container_status(&read, &container.pod_sandbox_id)),
        };
        status.containers.extend(read);
    }
    status.sandboxes.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.attempt.cmp(&a.attempt)));
    status.containers.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.restart_count.cmp(&a.restart_count)));
    Ok(status)
}

/// Between list and status a container may be removed.
fn gone_is_none<T>(outcome: Result<T, cri::Error>) -> Result<Option<T>, cri::Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn sandbox_status(read: &v1::PodSandboxStatus) -> SandboxStatus {
    let network = read.network.clone().unwrap_or_default();
    let mut ips = vec![network.ip];
    ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
    ips.retain(|ip| !ip.is_empty());
    let options = read.linux.as_ref().and_then(|l| l.namespaces.as_ref()).and_then(|n| n.options.as_ref());
    SandboxStatus {
        id: read.id.clone(),
        ready: read.state() == v1::PodSandboxState::SandboxReady,
        attempt: read.metadata.as_ref().map_or(0, |m| m.attempt),
        created_at: read.created_at,
        ips,
        host_network: options.is_some_and(|o| o.network() == v1::NamespaceMode::Node),
    }
}

pub(crate) fn container_status(read: &v1::ContainerStatus, sandbox_id: &str) -> ContainerStatus {
    let metadata = read.metadata.clone().unwrap_or_default();
    let annotation = |key: &str| read.annotations.get(key).cloned().unwrap_or_default();
    let state = match read.state() {
        v1::ContainerState::ContainerCreated => State::Created,
        v1::ContainerState::ContainerRunning => State::Running,
        v1::ContainerState::ContainerExited => State::Exited,
        v1::ContainerState::ContainerUnknown => State::Unknown,
    };
    let message = if state == State::Exited { termination_message(read) } else { String::new() };
    ContainerStatus {
        id: read.id.clone(),
        name: metadata.name,
        sandbox_id: sandbox_id.to_owned(),
        state,
        restart_count: annotation(names::RESTART_COUNT).parse().unwrap_or(metadata.attempt),
        hash: annotation(names::CONTAINER_HASH),
        created_at: nanoseconds(read.created_at),
        started_at: nanoseconds(read.started_at),
        finished_at: nanoseconds(read.finished_at),
        exit_code: read.exit_code,
        reason: read.reason.clone(),
        message,
        image: read.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
        image_id: read.image_ref.clone(),
        log_path: read.log_path.clone(),
    }
}

fn nanoseconds(value: i64) -> Option<Timestamp> {
    if value == 0 { None } else { Timestamp::from_nanosecond(i128::from(value)).ok() }
}

/// What the container wrote to its termination message path, or the end of its log where its policy says so.
fn termination_message(read: &v1::ContainerStatus) -> String {
    let host_path = read.annotations.get(names::TERMINATION_MESSAGE_HOST_PATH);
    let written = host_path.and_then(|path| read_head(path, names::TERMINATION_MESSAGE_BYTES_MAX)).unwrap_or_default();
    let policy = read.annotations.get(names::TERMINATION_MESSAGE_POLICY).map(String::as_str);
    if !written.is_empty() {
        return written;
    }
    if policy == Some("FallbackToLogsOnError") && read.exit_code != 0 {
        let tail = crate::logs::read_tail(
            std::path::Path::new(&read.log_path),
            names::TERMINATION_LOG_LINES_MAX,
            names::TERMINATION_LOG_BYTES_MAX,
        );
        return tail.unwrap_or_default();
    }
    // The runtime's own words, e.g. why a start failed.
    read.message.clone()
}

fn read_head(path: &str, limit: usize) -> Option<String> {
    use std::io::Read as _;
    let mut head = Vec::with_capacity(limit);
    std::fs::File::open(path).ok()?.take(limit as u64).read_to_end(&mut head).ok()?;
    Some(String::from_utf8_lossy(&head).into_owned())
}
