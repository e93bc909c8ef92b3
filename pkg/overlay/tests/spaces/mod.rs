//! Network namespaces of a test's own.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Says loudly why nothing is tested when the machine cannot.
pub fn privileged() -> bool {
    let able = rustix::process::geteuid().is_root() && Command::new("ip").args(["netns", "list"]).output().is_ok();
    if !able {
        eprintln!("SKIPPED: needs root and iproute2");
    }
    able
}

/// `ip` with these words, which must succeed; answers what it prints.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network namespace, gone with this.
pub struct Space(pub String);

impl Space {
    pub fn new(name: &str) -> Self {
        let space = Self(format!("ovl{}{name}", std::process::id()));
        ip(&format!("netns add {}", space.0));
        ip(&format!("-n {} link set lo up", space.0));
        space
    }

    /// Runs `work` on a thread inside the namespace, in a runtime of its own.
    pub fn within<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/var/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(work())
            });
            thread.join().unwrap()
        })
    }

    pub fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.0))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}
