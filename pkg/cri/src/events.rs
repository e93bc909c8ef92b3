//! What happened to containers, from whichever source the runtime has.

use futures::StreamExt as _;
use prost::Message as _;
use tonic::transport::Channel;

use crate::containerd_proto::events as wire;
use crate::service::{EventStream, Result};
use crate::v1;

/// What happened. Only exits and out-of-memory kills come unasked; the rest follows our own calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Started,
    Exited,
    OutOfMemory,
    Deleted,
}

/// One event of one container or sandbox (the runtime does not tell which).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub container_id: String,
    pub kind: EventKind,
}

/// CRI's own events. `Unimplemented` comes with the first item or with the call, by runtime.
pub(crate) async fn from_cri(
    mut client: v1::runtime_service_client::RuntimeServiceClient<Channel>,
) -> Result<EventStream> {
    let mut stream = client.get_container_events(v1::GetEventsRequest {}).await?.into_inner();
    // A server that lacks the call may answer headers first: look whether it fails at once.
    let early = futures::future::poll_immediate(stream.next()).await;
    let head = match early {
        Some(Some(Err(status))) => return Err(status.into()),
        Some(first) => first,
        None => None,
    };
    let all = futures::stream::iter(head).chain(stream);
    Ok(all.map(|item| item.map(from_cri_event).map_err(Into::into)).boxed())
}

fn from_cri_event(event: v1::ContainerEventResponse) -> Event {
    let kind = match event.container_event_type() {
        v1::ContainerEventType::ContainerCreatedEvent => EventKind::Created,
        v1::ContainerEventType::ContainerStartedEvent => EventKind::Started,
        v1::ContainerEventType::ContainerStoppedEvent => EventKind::Exited,
        v1::ContainerEventType::ContainerDeletedEvent => EventKind::Deleted,
    };
    Event { container_id: event.container_id, kind }
}

/// containerd's event service, for containerd before 1.7.
pub(crate) async fn from_containerd(channel: Channel) -> Result<EventStream> {
    let mut client = wire::events_client::EventsClient::new(channel);
    let filters = ["/tasks/exit", "/tasks/oom", "/tasks/start", "/tasks/delete"]
        .map(|topic| format!("namespace==k8s.io,topic==\"{topic}\""))
        .to_vec();
    let stream = client.subscribe(wire::SubscribeRequest { filters }).await?.into_inner();
    let events = stream.filter_map(|item| async move {
        match item {
            Ok(envelope) => from_envelope(&envelope).map(Ok),
            Err(status) => Some(Err(status.into())),
        }
    });
    Ok(events.boxed())
}

fn from_envelope(envelope: &wire::Envelope) -> Option<Event> {
    let payload = &envelope.event.as_ref()?.value;
    let kind = match envelope.topic.as_str() {
        "/tasks/exit" => {
            let exit = wire::TaskExit::decode(payload.as_slice()).ok()?;
            // An exec's exit carries its own id: the container itself goes on.
            return (exit.id == exit.container_id)
                .then_some(Event { container_id: exit.container_id, kind: EventKind::Exited });
        }
        "/tasks/oom" => EventKind::OutOfMemory,
        "/tasks/start" => EventKind::Started,
        "/tasks/delete" => EventKind::Deleted,
        _ => return None,
    };
    let event = wire::TaskEvent::decode(payload.as_slice()).ok()?;
    Some(Event { container_id: event.container_id, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, payload: Vec<u8>) -> wire::Envelope {
        let event = Some(wire::Any { type_url: String::new(), value: payload });
        wire::Envelope { timestamp: None, namespace: "k8s.io".into(), topic: topic.into(), event }
    }

    #[test]
    fn an_execs_exit_is_not_the_containers() {
        let mut exit = wire::TaskExit { container_id: "c".into(), id: "c".into(), ..Default::default() };
        let own = from_envelope(&envelope("/tasks/exit", exit.encode_to_vec()));
        assert_eq!(own, Some(Event { container_id: "c".into(), kind: EventKind::Exited }));
        exit.id = "exec-1".into();
        assert_eq!(from_envelope(&envelope("/tasks/exit", exit.encode_to_vec())), None);
    }

    #[test]
    fn unknown_topics_and_broken_payloads_are_skipped() {
        assert_eq!(from_envelope(&envelope("/images/create", vec![])), None);
        assert_eq!(from_envelope(&envelope("/tasks/oom", vec![0xff, 0xff])), None);
    }
}
