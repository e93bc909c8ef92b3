//! Life as a service: what systemd is told, and what is done for pods when the whole machine is stopped.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;
use std::time::Duration;

use component_base::Shutdown;

/// How long a part may take to end in good order.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How long systemd may take to say what it is doing.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// How much longer than their grace periods pods may take, for the last statuses to be sent.
const SLACK: Duration = Duration::from_secs(5);

/// Tells systemd how the service is doing (`READY=1`, `STOPPING=1`), if it has asked for it (`Type=notify`).
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(socket.as_encoded_bytes(), state) {
        tracing::warn!(%error, state, "systemd cannot be told (NOTIFY_SOCKET)");
    }
}

/// A leading `@` stands for a name that is in no file system.
fn send(socket: &[u8], state: &str) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// Stops the pods if the service is stopped because the machine goes down; else containers go on.
pub async fn stop_pods_with_the_machine(node: Option<kubelet::shutdown::Settings>) {
    let Some(node) = node else { return };
    if !node.switch.is_going_down() && !machine_is_stopping().await {
        return;
    }
    node.switch.announce(true);
    if tokio::time::timeout(node.grace.total + SLACK, node.switch.drained()).await.is_err() {
        tracing::warn!("pods did not end in time");
    }
}

/// Whether systemd brings the whole machine down.
async fn machine_is_stopping() -> bool {
    let asked = tokio::process::Command::new("systemctl")
        .arg("is-system-running")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(ASK_LIMIT, asked).await {
        Ok(Ok(output)) => output.stdout.trim_ascii() == b"stopping",
        // Without systemd nobody says so.
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Ends parts in their order, each within the limit.
pub async fn stop(parts: impl IntoIterator<Item = Shutdown>) {
    for part in parts {
        part.trigger();
        if !part.drained(DRAIN_LIMIT).await {
            tracing::warn!("some tasks did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_by_either_kind_of_socket() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("notify");
        let name = format!("coracle-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        for (socket, receiver) in [
            (path.display().to_string(), UnixDatagram::bind(&path)),
            (format!("@{name}"), UnixDatagram::bind_addr(&address)),
        ] {
            let receiver = receiver.expect("bound");
            send(socket.as_bytes(), "READY=1").expect("sent");
            let mut said = [0; 32];
            let length = receiver.recv(&mut said).expect("received");
            assert_eq!(&said[..length], b"READY=1", "{socket}");
        }
        assert!(send(dir.path().join("nobody").as_os_str().as_encoded_bytes(), "READY=1").is_err());
    }
}
