//! A command in the container: exit code 0 is success.

use std::time::Duration;

use cri::RuntimeService;

use super::Attempt;

/// The most of a command's output that goes into an Event.
const OUTPUT_MAX: usize = 10 * 1024;

pub async fn probe(runtime: &dyn RuntimeService, id: &str, command: Vec<String>, timeout: Duration) -> Attempt {
    let text = command.join(" ");
    match runtime.exec_sync(id, command, timeout).await {
        Ok(output) if output.exit_code == 0 => Attempt::Success,
        Ok(output) => {
            let all = [output.stdout, output.stderr].concat();
            let shown = all.get(..OUTPUT_MAX.min(all.len())).unwrap_or_default();
            Attempt::Failure(String::from_utf8_lossy(shown).into_owned())
        }
        Err(error) => {
            let message = error.to_string();
            if message.contains("timed out") || message.contains("timeout") || message.contains("DeadlineExceeded") {
                return Attempt::Failure(format!(
                    "command timed out: \"{text}\" timed out after {}s",
                    timeout.as_secs()
                ));
            }
            Attempt::Unknown(message)
        }
    }
}
