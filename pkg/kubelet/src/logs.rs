//! Container logs as CRI runtimes write them: `<time> <stream> <tag> <text>` lines in `<attempt>.log`, with older
//! parts rotated beside it.

pub mod follow;
pub mod parse;
pub mod rotate;

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt as _;

/// Log collectors look in here for `<pod>_<namespace>_<container>-<id>.log`.
const LEGACY: &str = "/var/log/containers";

fn legacy_path(pod: &Pod, container: &str, id: &str) -> PathBuf {
    Path::new(LEGACY).join(format!("{}_{}_{container}-{id}.log", pod.name(), pod.namespace()))
}

pub fn link_legacy(pod: &Pod, container: &str, id: &str, attempt: u32) {
    let target = crate::runtime::sandbox::log_directory(pod).join(container).join(format!("{attempt}.log"));
    let link = legacy_path(pod, container, id);
    let made = fs::create_dir_all(LEGACY).and_then(|()| std::os::unix::fs::symlink(target, link));
    if let Err(error) = made {
        tracing::debug!(%error, "log link was not made");
    }
}

pub fn unlink_legacy(pod: &Pod, container: &str, id: &str) {
    let _ = fs::remove_file(legacy_path(pod, container, id));
}

/// The highest attempt that has a log in a container's folder.
pub fn last_attempt(folder: &Path) -> Option<u32> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|e| e.file_name());
    names.filter_map(|n| n.to_string_lossy().split('.').next()?.parse().ok()).max()
}

/// The last lines of a log, without times and streams.
pub fn read_tail(path: &Path, lines_max: usize, bytes_max: usize) -> Option<String> {
    // A line has its time and stream in front: read more than is kept.
    let window = (bytes_max + lines_max * 64) as u64;
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(window))).ok()?;
    let mut raw = Vec::new();
    file.take(window).read_to_end(&mut raw).ok()?;
    let raw = String::from_utf8_lossy(&raw);
    let mut text = String::new();
    let lines: Vec<&str> = raw.lines().collect();
    let mut kept: Vec<String> = Vec::new();
    for line in lines.iter().rev() {
        let Some(entry) = parse::line(line.as_bytes()) else { continue };
        kept.push(format!("{}{}", String::from_utf8_lossy(entry.text), if entry.partial { "" } else { "\n" }));
        if kept.len() >= lines_max {
            break;
        }
    }
    kept.iter().rev().for_each(|line| text.push_str(line));
    let cut = text.len().saturating_sub(bytes_max);
    let start = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    Some(text[start..].to_owned())
}
