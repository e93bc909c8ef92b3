//! CONNECT: a connection to a port of one of this node's pods, for API servers that are not on the pod network.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, Context, full, text};
use crate::pod::PodExt as _;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Passes the connection on if the address is a pod's here; no other may be reached through this node.
pub async fn serve(context: &Context, mut request: Request<Incoming>) -> Answer {
    let target = request.uri().authority().and_then(|authority| authority.as_str().parse::<SocketAddr>().ok());
    let Some(target) = target else {
        return text(StatusCode::BAD_REQUEST, "CONNECT wants ADDRESS:PORT");
    };
    if !is_of_a_pod(context, target.ip()) {
        return text(StatusCode::NOT_FOUND, &format!("no pod on this node has the address {}", target.ip()));
    }
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await;
    let mut pod = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return text(StatusCode::BAD_GATEWAY, &format!("dial tcp {target}: {error}")),
        Err(_) => return text(StatusCode::GATEWAY_TIMEOUT, &format!("dial tcp {target}: i/o timeout")),
    };
    let client = hyper::upgrade::on(&mut request);
    let stop = context.kubelet.shutdown.clone();
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let mut client = TokioIo::new(client);
        let copied = tokio::io::copy_bidirectional(&mut client, &mut pod);
        if let Some(Err(error)) = stop.race(copied).await {
            tracing::debug!(%error, "a connection to a pod ended");
        }
    });
    Response::new(full(""))
}

/// By what was last told of the pods. Those on the host's network have the node's address.
fn is_of_a_pod(context: &Context, address: IpAddr) -> bool {
    let kubelet = &context.kubelet;
    let has = |uid: &str| {
        let status = kubelet.statuses.get(uid);
        status.is_some_and(|s| s.pod_ips.iter().flatten().any(|ip| ip.ip.parse() == Ok(address)))
    };
    kubelet.pods().iter().any(|pod| has(pod.uid()))
}
