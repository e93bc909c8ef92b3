//! The rules in a real kernel: one namespace is the node, the others are pods and a client outside.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proxy::model::{PortRules, Protocol, Target};
use proxy::rules::compute_ruleset;
use proxy::ruleset::{Ruleset, TABLE};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const CIDR: &str = "10.98.0.0/16";

fn privileged() -> bool {
    let able = rustix::process::geteuid().is_root() && Command::new("nft").arg("-v").output().is_ok();
    if !able {
        eprintln!("SKIPPED: needs root, iproute2 and nftables");
    }
    able
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

struct Space(String);

impl Space {
    fn new(name: &str) -> Self {
        let space = Self(format!("proxy{}{name}", std::process::id()));
        ip(&format!("netns add {}", space.0));
        ip(&format!("-n {} link set lo up", space.0));
        space
    }

    /// A link from the node to a new namespace, each with its address, routed through the node.
    fn beside(node: &Self, name: &str, address: &str, gateway: &str) -> Self {
        let space = Self::new(name);
        ip(&format!("-n {} link add to-{name} type veth peer name eth0 netns {}", node.0, space.0));
        ip(&format!("-n {} addr add {gateway}/32 dev to-{name}", node.0));
        ip(&format!("-n {} link set to-{name} up", node.0));
        ip(&format!("-n {} route add {address}/32 dev to-{name}", node.0));
        ip(&format!("-n {} addr add {address}/32 dev eth0", space.0));
        ip(&format!("-n {} link set eth0 up", space.0));
        ip(&format!("-n {} route add {gateway}/32 dev eth0", space.0));
        ip(&format!("-n {} route add default via {gateway}", space.0));
        space
    }

    fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/var/run/netns/{}", self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Answers every connection with the name and the client's address, for as long as the test lives.
    fn serve(&self, name: &'static str) {
        let listener = self.within(|| TcpListener::bind("0.0.0.0:8080").unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().unwrap().ip();
                let _ = stream.write_all(format!("{name} {peer}").as_bytes());
            }
        });
    }

    /// What a connection answers, or how it fails: `refused` or `timeout`.
    fn ask(&self, to: &str) -> String {
        let to: SocketAddr = to.parse().unwrap();
        self.within(|| match TcpStream::connect_timeout(&to, Duration::from_millis(700)) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).map(|_| text).unwrap_or_else(|e| e.to_string())
            }
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => "timeout".into(),
            Err(_) => "refused".into(),
        })
    }

    fn nft(&self, script: &str) -> String {
        self.within(|| {
            let mut child =
                Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
            let listed = Command::new("nft").args(["list", "table", "ip", TABLE]).output().unwrap();
            String::from_utf8_lossy(&listed.stdout).into_owned()
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn port(targets: &[&str]) -> PortRules {
    let cluster: Vec<_> = targets.iter().map(|t| Target { address: address(t), port: 8080 }).collect();
    PortRules {
        namespace: "ns".into(),
        service: "web".into(),
        port_name: "http".into(),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: Some(30080),
        cluster_ips: vec![address("10.43.0.9")],
        external_ips: vec![],
        load_balancer_ips: vec![],
        source_ranges: vec![],
        affinity: None,
        internal_local: false,
        external_local: false,
        local: cluster.clone(),
        cluster,
    }
}

#[test]
fn services_work_in_a_real_kernel() {
    if !privileged() {
        return;
    }
    let node = Space::new("node");
    let a = Space::beside(&node, "a", "10.98.0.2", "10.98.0.1");
    let b = Space::beside(&node, "b", "10.98.0.3", "10.98.0.1");
    let outside = Space::beside(&node, "outside", "172.21.0.2", "172.21.0.1");
    // The node's way to Service addresses, which a default route gives on real nodes.
    ip(&format!("-n {} route add default via 172.21.0.2 dev to-outside onlink src 172.21.0.1", node.0));
    node.within(|| {
        for name in ["ip_forward", "conf/all/route_localnet"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{name}"), "1").unwrap();
        }
    });
    a.serve("a");
    b.serve("b");

    let both = ["10.98.0.2", "10.98.0.3"];
    let mut current = compute_ruleset(&[port(&both)], CIDR);
    node.nft(&current.to_script(CIDR));
    let seen: BTreeSet<_> = (0..40).map(|_| outside.ask("172.21.0.1:30080")).collect();
    let both_masqueraded = BTreeSet::from(["a 10.98.0.1".to_owned(), "b 10.98.0.1".to_owned()]);
    assert_eq!(seen, both_masqueraded, "a node port reaches all endpoints, masqueraded");

    // Changes go through the difference, as the loop applies them.
    let mut change = |ports: &[PortRules]| {
        let wanted = compute_ruleset(ports, CIDR);
        if let Some(script) = current.script_to(&wanted) {
            let incremental = node.nft(&script);
            let anew = node.nft(&wanted.to_script(CIDR));
            assert_eq!(sorted(&incremental), sorted(&anew), "the difference leads where making anew leads");
        }
        current = wanted;
    };

    change(&[port(&["10.98.0.2"])]);
    assert_eq!(b.ask("10.43.0.9:80"), "a 10.98.0.3", "pod to pod keeps the source");
    assert_eq!(a.ask("10.43.0.9:80"), "a 10.98.0.1", "hairpin");
    assert_eq!(node.ask("10.43.0.9:80"), "a 10.98.0.1", "from the node");
    assert_eq!(node.ask("127.0.0.1:30080"), "a 10.98.0.1", "node port on loopback");
    assert_eq!(b.ask("10.43.0.9:81"), "refused", "another port of a cluster IP");
    assert_eq!(node.ask("10.43.0.9:81"), "refused", "another port of a cluster IP, from the node");

    change(&[PortRules { external_local: true, ..port(&["10.98.0.2"]) }]);
    assert_eq!(outside.ask("172.21.0.1:30080"), "a 172.21.0.2", "externalTrafficPolicy Local keeps the source");
    change(&[PortRules { external_local: true, local: vec![], ..port(&["10.98.0.2"]) }]);
    assert_eq!(outside.ask("172.21.0.1:30080"), "timeout", "Local without a local endpoint drops");
    assert_eq!(node.ask("172.21.0.1:30080"), "a 10.98.0.1", "but not for the node itself");

    change(&[PortRules { external_ips: vec![address("192.0.2.7")], ..port(&[]) }]);
    for (space, to) in [
        (&b, "10.43.0.9:80"),
        (&node, "10.43.0.9:80"),
        (&outside, "172.21.0.1:30080"),
        (&node, "127.0.0.1:30080"),
        (&outside, "192.0.2.7:80"),
    ] {
        assert_eq!(space.ask(to), "refused", "no endpoints: {to} from {}", space.0);
    }

    change(&[PortRules { affinity: Some(600), external_ips: vec![address("192.0.2.7")], ..port(&both) }]);
    let seen: BTreeSet<_> = (0..20).map(|_| outside.ask("192.0.2.7:80")).collect();
    assert_eq!(seen.len(), 1, "session affinity: {seen:?}");
    change(&[]);
    assert_eq!(outside.ask("172.21.0.1:30080"), "refused", "nothing listens there any more");
}

/// A Service whose only endpoint is at another node, to which its range is routed.
#[test]
fn endpoints_of_other_nodes_are_reached_and_answer_by_the_same_way() {
    if !privileged() {
        return;
    }
    let node = Space::new("here");
    let other = Space::beside(&node, "there", "192.0.2.2", "192.0.2.1");
    let (a, c) =
        (Space::beside(&node, "x", "10.98.0.2", "10.98.0.1"), Space::beside(&other, "z", "10.98.1.2", "10.98.1.1"));
    let outside = Space::beside(&node, "world", "172.21.0.2", "172.21.0.1");
    ip(&format!("-n {} route add 10.98.1.0/24 via 192.0.2.2 dev to-there onlink", node.0));
    ip(&format!("-n {} route add 10.98.0.0/24 via 192.0.2.1", other.0));
    // As the plugin has it: a node's own connections to Services start with an address that every pod can answer.
    ip(&format!("-n {} route add 10.43.0.0/16 dev to-x src 10.98.0.1", node.0));
    // The other node knows no way to the world outside: what keeps its source is not answered.
    ip(&format!("-n {} route del default", other.0));
    for space in [&node, &other] {
        space.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    }
    c.serve("c");
    node.nft(&compute_ruleset(&[port(&["10.98.1.2"])], CIDR).to_script(CIDR));
    assert_eq!(outside.ask("172.21.0.1:30080"), "c 192.0.2.1", "a node port of a node without the pod");
    assert_eq!(a.ask("10.43.0.9:80"), "c 10.98.0.2", "from a pod, which keeps its address");
    assert_eq!(a.ask("172.21.0.1:30080"), "c 192.0.2.1", "a node port, from a pod");
    assert_eq!(node.ask("10.43.0.9:80"), "c 10.98.0.1", "from the node itself");

    let local = PortRules { external_local: true, local: vec![], ..port(&["10.98.1.2"]) };
    node.nft(&compute_ruleset(&[local], CIDR).to_script(CIDR));
    assert_eq!(outside.ask("172.21.0.1:30080"), "timeout", "Local does not leave the node");
    assert_eq!(a.ask("172.21.0.1:30080"), "c 10.98.0.2", "but for pods it does");
}

/// Lines without order: elements and chains are listed in the order they were made.
fn sorted(listing: &str) -> Vec<String> {
    let mut words: Vec<_> =
        listing.split(['\n', ',']).map(|line| line.trim_matches([' ', '\t', '{', '}']).to_owned()).collect();
    words.iter_mut().for_each(|word| *word = word.replace("elements = {", "").trim().to_owned());
    words.sort();
    words
}

/// What many Services cost; prints, and checks only that it works.
#[test]
fn many_services() {
    if !privileged() {
        return;
    }
    let node = Space::new("many");
    let ports: Vec<PortRules> = (0..1000_u32)
        .map(|n| PortRules {
            service: format!("web-{n}"),
            node_port: Some(30_000 + u16::try_from(n).unwrap()),
            cluster_ips: vec![Ipv4Addr::from(u32::from(address("10.43.1.0")) + n)],
            ..port(&["10.98.0.2", "10.98.0.3", "10.98.0.4"])
        })
        .collect();
    let started = Instant::now();
    let full = compute_ruleset(&ports, CIDR);
    eprintln!("computed 1000 services in {:?}", started.elapsed());
    let apply = |script: &str| {
        let started = Instant::now();
        node.within(|| {
            let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        });
        started.elapsed()
    };
    eprintln!("all: {:?}", apply(&full.to_script(CIDR)));
    let mut changed = ports.clone();
    changed[500].cluster.pop();
    let changed = compute_ruleset(&changed, CIDR);
    eprintln!("one service's endpoints: {:?}", apply(&full.script_to(&changed).unwrap()));
    let fewer = compute_ruleset(&ports[..999], CIDR);
    eprintln!("one service less: {:?}", apply(&changed.script_to(&fewer).unwrap()));
    eprintln!("nothing left: {:?}", apply(&fewer.script_to(&Ruleset::default()).unwrap()));
}
