//! Work inside another network namespace, on a thread of its own: a namespace belongs to a thread, so no other is moved.

use std::fs::File;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;

use crate::Error;

/// Runs `work` in the network namespace at `path`.
pub fn enter<T: Send>(path: &Path, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let namespace = File::open(path).map_err(Error::io(format!("opening network namespace {}", path.display())))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| Error::io(format!("entering network namespace {}", path.display()))(e.into()))?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
