//! Hosts that forward nothing by default, as Docker sets them up: an `accept` in a table of ours would not help against a
//! `DROP` in another, so pods are let through where that is decided.

use std::process::{Command, Stdio};

use ipnet::Ipv4Net;

/// Lets pods' traffic through if iptables' policy is to drop what is forwarded. Without iptables there is no such policy;
/// where it cannot be changed pods may still work, so that is said and no error.
pub fn accept_pods(cluster: Ipv4Net) {
    let Some(rules) = iptables(&["-S", "FORWARD"]) else { return };
    if !rules.lines().any(|line| line == "-P FORWARD DROP") {
        return;
    }
    for direction in ["-s", "-d"] {
        if is_accepted(&rules, direction, cluster) {
            continue;
        }
        let cluster = cluster.to_string();
        let comment = ["-m", "comment", "--comment", "coracle pods", "-j", "ACCEPT"];
        let insert = [&["-I", "FORWARD", direction, cluster.as_str()], &comment[..]].concat();
        match iptables(&insert) {
            Some(_) => {
                tracing::info!(cluster, direction, "the host's firewall drops by default: accepting pods' traffic")
            }
            None => tracing::warn!(cluster, "the host's firewall drops pods' traffic, and accepting it failed"),
        }
    }
}

fn is_accepted(rules: &str, direction: &str, cluster: Ipv4Net) -> bool {
    let ours = format!("-A FORWARD {direction} {cluster} ");
    rules.lines().any(|line| line.starts_with(&ours) && line.ends_with("-j ACCEPT"))
}

/// What iptables prints; `None` if it is not there or fails.
fn iptables(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("iptables");
    command.args(["-w", "5"]).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_rules_are_known_again() {
        let rules = "-P FORWARD DROP\n-A FORWARD -s 10.42.0.0/16 -m comment --comment \"coracle pods\" -j ACCEPT\n\
                     -A FORWARD -d 10.42.0.0/16 -j DROP\n";
        let cluster = "10.42.0.0/16".parse().unwrap();
        assert!(is_accepted(rules, "-s", cluster));
        assert!(!is_accepted(rules, "-d", cluster));
    }
}
