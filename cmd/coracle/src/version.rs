//! Which versions go together: servers differ by at most one minor from each other, and an agent is not newer than its
//! servers, nor more than three minors older, as upstream's version skew policy has it.

/// Major and minor of `v1.37.0+coracle0.1.0`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split(['.', '+', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

const SERVER_SKEW: u32 = 1;
const AGENT_SKEW: u32 = 3;

/// May a server of version `own` join those of version `cluster`?
pub fn check_server(own: &str, cluster: &str) -> Result<(), String> {
    match (minor(own), minor(cluster)) {
        (Some((major, a)), Some((other, b))) if major == other && a.abs_diff(b) <= SERVER_SKEW => Ok(()),
        _ => Err(format!(
            "this server is of Kubernetes {own}, the cluster's are of {cluster}: servers may differ by one minor \
             version; install one that fits here, or upgrade the cluster first"
        )),
    }
}

/// May an agent of version `own` join servers of version `servers`?
pub fn check_agent(own: &str, servers: &str) -> Result<(), String> {
    match (minor(own), minor(servers)) {
        (Some((major, a)), Some((other, b))) if major == other && a <= b && b - a <= AGENT_SKEW => Ok(()),
        _ => Err(format!(
            "this agent is of Kubernetes {own}, the servers are of {servers}: an agent must not be newer than its \
             servers, nor more than three minor versions older; install one that fits here, or upgrade the servers first"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_go_together() {
        let cases = [
            ("v1.37.0+coracle0.1.0", "v1.37.2", true, true),
            ("v1.38.0", "v1.37.0", true, false),
            ("v1.36.0", "v1.37.0", true, true),
            ("v1.39.0", "v1.37.0", false, false),
            ("v1.34.0", "v1.37.0", false, true),
            ("v1.33.0", "v1.37.0", false, false),
            ("v2.37.0", "v1.37.0", false, false),
            ("junk", "v1.37.0", false, false),
        ];
        for (own, cluster, server, agent) in cases {
            assert_eq!(check_server(own, cluster).is_ok(), server, "server {own} to {cluster}");
            assert_eq!(check_agent(own, cluster).is_ok(), agent, "agent {own} to {cluster}");
        }
    }
}
