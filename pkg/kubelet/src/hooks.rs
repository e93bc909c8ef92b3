//! postStart and preStop.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::http as http_probe;

/// How long an HTTP hook may take at most; the grace period bounds preStop further.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// An exec hook without a bound of its own.
const EXEC_TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs a hook to its end.
pub async fn run(
    runtime: &dyn cri::RuntimeService,
    container_id: &str,
    container: Option<&Container>,
    pod_ip: &str,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let output = runtime.exec_sync(container_id, command.clone(), EXEC_TIMEOUT).await.map_err(|e| e.to_string())?;
        if output.exit_code == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("command '{}' exited with {}: {text}", command.join(" "), output.exit_code));
    }
    if let Some(get) = &hook.http_get {
        let ports = container.and_then(|c| c.ports.as_deref()).unwrap_or_default();
        let request = http_probe::Request::from_action(get, pod_ip, ports)?;
        let answer = http_probe::get(&request, HTTP_TIMEOUT).await?;
        // Upstream's hooks care only for an answer; a failing status is a failed hook all the same.
        return if answer.status < 400 { Ok(()) } else { Err(format!("HTTP status {}", answer.status)) };
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
