//! Keeping logs small: a file over the limit is renamed and the runtime opens a new one; old parts are compressed, and
//! the oldest removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cri::v1;

use crate::kubelet::Kubelet;

/// Upstream's defaults of `containerLogMaxSize` and `containerLogMaxFiles`.
const SIZE_MAX: u64 = 10 << 20;
const FILES_MAX: usize = 5;
const INTERVAL: Duration = Duration::from_secs(10);
/// While no log grows fast, looking once in a while is enough.
const INTERVAL_IDLE: Duration = Duration::from_secs(60);

/// Rotates until it is dropped.
pub async fn run(kubelet: Arc<Kubelet>) {
    let mut wait = INTERVAL;
    loop {
        tokio::time::sleep(wait).await;
        wait = match rotate_all(&kubelet).await {
            Ok(largest) if largest < SIZE_MAX / 2 => INTERVAL_IDLE,
            Ok(_) => INTERVAL,
            Err(error) => {
                tracing::debug!(error, "logs were not rotated");
                INTERVAL_IDLE
            }
        };
    }
}

/// Answers the size of the largest log. Only folders of living pods are looked at, not the runtime.
async fn rotate_all(kubelet: &Arc<Kubelet>) -> Result<u64, String> {
    let mut largest = 0;
    let mut due: Vec<PathBuf> = Vec::new();
    for pod in kubelet.pods() {
        let folder = crate::runtime::sandbox::log_directory(&pod);
        for container in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Some(attempt) = super::last_attempt(&container.path()) else { continue };
            let path = container.path().join(format!("{attempt}.log"));
            let size = fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
            largest = largest.max(size);
            if size > SIZE_MAX {
                due.push(path);
            }
        }
    }
    if due.is_empty() {
        return Ok(largest);
    }
    let running = v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning as i32 };
    let filter = v1::ContainerFilter { state: Some(running), ..Default::default() };
    let containers = kubelet.runtime.list_containers(Some(filter)).await.map_err(|e| e.to_string())?;
    for container in containers {
        let status = kubelet.runtime.container_status(&container.id).await.map_err(|e| e.to_string())?;
        let path = PathBuf::from(&status.log_path);
        if due.contains(&path) {
            let moved = move_away(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            if let Err(error) = kubelet.runtime.reopen_container_log(&container.id).await {
                // The runtime still writes to the moved file: undo.
                fs::rename(&moved, &path).map_err(|e| e.to_string())?;
                return Err(error.to_string());
            }
            prune(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(largest)
}

fn move_away(path: &Path) -> io::Result<PathBuf> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let moved = PathBuf::from(format!("{}.{stamp}", path.display()));
    fs::rename(path, &moved)?;
    Ok(moved)
}

/// The rotated parts of a log, oldest first.
pub fn parts(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = format!("{name}.");
    let siblings = path.parent().and_then(|p| fs::read_dir(p).ok()).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = siblings
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix)))
        .filter(|p| p.extension().is_none_or(|e| e != "tmp"))
        .collect();
    parts.sort();
    parts
}

/// Compresses all parts but the newest (it may still be read), and removes the oldest beyond the limit.
fn prune(path: &Path) -> io::Result<()> {
    let mut all = parts(path);
    while all.len() > FILES_MAX - 1 {
        fs::remove_file(all.remove(0))?;
    }
    for part in all.iter().rev().skip(1).filter(|p| p.extension().is_none_or(|e| e != "gz")) {
        let packed = PathBuf::from(format!("{}.gz", part.display()));
        let temporary = packed.with_extension("gz.tmp");
        let mut encoder = flate2::write::GzEncoder::new(fs::File::create(&temporary)?, flate2::Compression::fast());
        io::copy(&mut fs::File::open(part)?, &mut encoder)?;
        encoder.finish()?;
        fs::rename(&temporary, &packed)?;
        fs::remove_file(part)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_parts_are_packed_and_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("0.log");
        for at in 0..6 {
            fs::write(folder.path().join(format!("0.log.2026010{at}-000000")), "x").expect("written");
        }
        fs::write(&log, "").expect("written");
        prune(&log).expect("pruned");
        let names: Vec<String> =
            parts(&log).iter().map(|p| p.file_name().expect("a name").to_string_lossy().into_owned()).collect();
        assert_eq!(
            names,
            [
                "0.log.20260102-000000.gz",
                "0.log.20260103-000000.gz",
                "0.log.20260104-000000.gz",
                "0.log.20260105-000000"
            ]
        );
    }
}
