//! `healthCheckNodePort`: tells a load balancer whether this node has endpoints of a Service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::ObjectKey;
use component_base::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Requests answered at once on one port, and how long one may take.
const CONCURRENT: usize = 64;
const LIMIT: Duration = Duration::from_secs(5);

struct Served {
    service: ObjectKey,
    local_endpoints: Arc<AtomicUsize>,
    stop: Shutdown,
}

/// The ports that are served now.
#[derive(Default)]
pub struct HealthPorts {
    served: BTreeMap<u16, Served>,
}

impl HealthPorts {
    /// Serves exactly these: port → Service and how many endpoints it has on this node.
    pub fn update(&mut self, wanted: &BTreeMap<u16, (ObjectKey, usize)>, shutdown: &Shutdown) {
        self.served.retain(|port, served| {
            let keep = wanted.get(port).is_some_and(|(service, _)| *service == served.service);
            if !keep {
                served.stop.trigger();
            }
            keep
        });
        for (port, (service, count)) in wanted {
            let served = self.served.entry(*port).or_insert_with(|| {
                let served =
                    Served { service: service.clone(), local_endpoints: Arc::default(), stop: shutdown.child() };
                let (port, key, count, stop) =
                    (*port, service.clone(), served.local_endpoints.clone(), served.stop.clone());
                shutdown.spawn(async move { serve(port, key, count, stop).await });
                served
            });
            served.local_endpoints.store(*count, Ordering::Relaxed);
        }
    }
}

async fn serve(port: u16, service: ObjectKey, local_endpoints: Arc<AtomicUsize>, stop: Shutdown) {
    let listener = match TcpListener::bind(("0.0.0.0", port)).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%service, port, %error, "the health check port cannot be served");
            return;
        }
    };
    let slots = Arc::new(Semaphore::new(CONCURRENT));
    while let Some(accepted) = stop.race(listener.accept()).await {
        let (Ok((connection, _)), Ok(slot)) = (accepted, slots.clone().acquire_owned().await) else { continue };
        let answer = answer(&service, local_endpoints.load(Ordering::Relaxed));
        tokio::spawn(async move {
            // A client that goes away is its own business.
            let _ = tokio::time::timeout(LIMIT, converse(connection, &answer)).await;
            drop(slot);
        });
    }
}

async fn converse(mut connection: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let mut read = 0;
    while read < head.len() && !head[..read].windows(4).any(|w| w == b"\r\n\r\n") {
        match connection.read(&mut head[read..]).await? {
            0 => break,
            more => read += more,
        }
    }
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}

fn answer(service: &ObjectKey, local_endpoints: usize) -> String {
    let status = if local_endpoints > 0 { "200 OK" } else { "503 Service Unavailable" };
    let body = serde_json::json!({
        "service": { "namespace": service.namespace.as_str(), "name": service.name.as_str() },
        "localEndpoints": local_endpoints,
        "serviceProxyHealthy": true,
    });
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Load-Balancing-Endpoint-Weight: \
         {local_endpoints}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
