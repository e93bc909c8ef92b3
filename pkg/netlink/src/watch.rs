//! What the kernel says when somebody changes links, addresses or routes.

use futures::StreamExt as _;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::{Error, link, route};

/// How many events wait for a reader; more are one [`Event::Missed`].
const QUEUE: usize = 64;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A link was made, changed or removed.
    Link { index: u32, name: String },
    /// A link got or lost an address.
    Address { index: u32 },
    /// A route with this protocol number was removed.
    RouteGone { protocol: u8 },
    /// More happened than could be kept.
    Missed,
}

/// Events of the network namespace of the thread that opened it, from then on.
pub struct Watch {
    events: mpsc::Receiver<Event>,
    tasks: [AbortHandle; 2],
    /// The connection ends with its last handle.
    _handle: Handle,
}

impl Watch {
    /// Keeps those events that `matters` says yes to; the kernel has many that are about pods.
    pub fn open(matters: impl Fn(&Event) -> bool + Send + 'static) -> Result<Self, Error> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv4Route];
        let (connection, handle, mut messages) = rtnetlink::new_multicast_connection(&groups).map_err(Error::Open)?;
        let (sender, events) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                let event = match message.payload {
                    NetlinkPayload::InnerMessage(message) => event_of(&message),
                    NetlinkPayload::Overrun(_) => Some(Event::Missed),
                    _ => None,
                };
                let Some(event) = event.filter(|event| *event == Event::Missed || matters(event)) else { continue };
                // A full queue already tells its reader to look again.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(event) {
                    return;
                }
            }
        });
        let tasks = [tokio::spawn(connection).abort_handle(), reading.abort_handle()];
        Ok(Self { events, tasks, _handle: handle })
    }

    /// The next event; `None` if the kernel's socket is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn event_of(message: &RouteNetlinkMessage) -> Option<Event> {
    match message {
        RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message) => {
            let link = link::describe(message);
            Some(Event::Link { index: link.index, name: link.name })
        }
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            Some(Event::Address { index: message.header.index })
        }
        RouteNetlinkMessage::DelRoute(message) => Some(Event::RouteGone { protocol: route::protocol_of(message) }),
        _ => None,
    }
}
