//! Probes and lifecycle hooks.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::validation::is_http_header_name;
use serde_json::Value;

use crate::check;
use crate::tree::Tree;

/// The probes and hooks of a regular container or a sidecar. `os` is the pod's `spec.os.name`.
pub fn validate_container(errors: &mut ErrorList, at: &Path, container: &Value, grace: Option<i64>, os: &str) {
    if container.has("lifecycle") {
        let lifecycle = container.field("lifecycle");
        for hook in ["postStart", "preStop"] {
            if lifecycle.has(hook) {
                let handlers = &["exec", "httpGet", "tcpSocket", "sleep"];
                handler(errors, &at.child("lifecycle").child(hook), lifecycle.field(hook), handlers, grace);
            }
        }
        stop_signal(errors, &at.child("lifecycle").child("stopSignal"), lifecycle, os);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container.has(name) {
            probe(errors, &at.child(name), name, container.field(name), grace);
        }
    }
}

/// Signals that a container may be stopped with, sorted.
const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

fn stop_signal(errors: &mut ErrorList, at: &Path, lifecycle: &Value, os: &str) {
    let signal = lifecycle.text("stopSignal");
    if signal.is_empty() {
        return;
    }
    let known = match os {
        "" => {
            errors.push(Error::forbidden(at, "may not be set for containers with empty `spec.os.name`"));
            return;
        }
        "windows" => &["SIGKILL", "SIGTERM"],
        "linux" => SIGNALS,
        _ => return,
    };
    if !known.contains(&signal) {
        errors.push(Error::not_supported(at, signal, known));
    }
}

fn probe(errors: &mut ErrorList, at: &Path, name: &str, probe: &Value, grace: Option<i64>) {
    handler(errors, at, probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace);
    let numbers = ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for field in numbers {
        check::nonnegative(errors, at, probe, field);
    }
    let own_grace = probe.int("terminationGracePeriodSeconds");
    if let Some(seconds) = own_grace.filter(|s| *s <= 0) {
        errors.push(Error::invalid(&at.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0"));
    }
    if name == "readinessProbe" {
        if let Some(seconds) = own_grace {
            let why = "must not be set for readinessProbes";
            errors.push(Error::invalid(&at.child("terminationGracePeriodSeconds"), seconds, why));
        }
    } else if let Some(count) = probe.int("successThreshold").filter(|n| *n != 1) {
        errors.push(Error::invalid(&at.child("successThreshold"), count, "must be 1"));
    }
}

/// Exactly one of the `known` handlers, each legal in itself.
fn handler(errors: &mut ErrorList, at: &Path, handler: &Value, known: &[&str], grace: Option<i64>) {
    let mut given = known.iter().filter(|name| handler.has(name));
    match given.next() {
        None => errors.push(Error::required(at, "must specify a handler type")),
        Some(first) => action(errors, &at.child(first), first, handler.field(first), grace),
    }
    for extra in given {
        errors.push(Error::forbidden(&at.child(extra), "may not specify more than 1 handler type"));
    }
}

fn action(errors: &mut ErrorList, at: &Path, name: &str, action: &Value, grace: Option<i64>) {
    match name {
        "exec" if action.list("command").is_empty() => errors.push(Error::required(&at.child("command"), "")),
        "httpGet" => {
            check::required(errors, at, action, "path");
            check::port_or_name(errors, at, "port", action.field("port"));
            let scheme = action.text("scheme");
            if !matches!(scheme, "HTTP" | "HTTPS") {
                errors.push(Error::not_supported(&at.child("scheme"), scheme, &["HTTP", "HTTPS"]));
            }
            for header in action.list("httpHeaders") {
                check::text(errors, at, "httpHeaders", header.text("name"), is_http_header_name);
            }
        }
        "tcpSocket" | "grpc" => check::port_or_name(errors, at, "port", action.field("port")),
        "sleep" => {
            let seconds = action.int("seconds").unwrap_or(0);
            if let Some(grace) = grace
                && !(0..=grace).contains(&seconds)
            {
                let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(Error::invalid(at, seconds, why));
            }
        }
        _ => {}
    }
}
