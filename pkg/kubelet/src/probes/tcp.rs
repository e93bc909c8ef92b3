//! A TCP connection that can be opened.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Attempt;

pub async fn probe(host: &str, port: u16, timeout: Duration) -> Attempt {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Attempt::Success,
        Ok(Err(error)) => Attempt::Failure(format!("dial tcp {host}:{port}: {error}")),
        Err(_) => Attempt::Failure(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}
