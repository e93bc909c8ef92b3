//! The plugin with real network namespaces: one plays the node, one the world outside, the others pods.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

/// Says loudly why nothing is tested when the machine cannot.
fn privileged() -> bool {
    let able = rustix::process::geteuid().is_root() && Command::new("ip").args(["netns", "list"]).output().is_ok();
    if !able {
        eprintln!("SKIPPED: needs root and iproute2");
    }
    able
}

struct Namespaces {
    prefix: String,
    names: Vec<&'static str>,
}

impl Namespaces {
    fn new(names: &[&'static str]) -> Self {
        let prefix = format!("cni{}", std::process::id());
        for name in names {
            ip(&format!("netns add {prefix}{name}"));
        }
        Self { prefix, names: names.to_vec() }
    }

    fn path(&self, name: &str) -> PathBuf {
        format!("/var/run/netns/{}{name}", self.prefix).into()
    }

    /// Runs `work` on a thread inside the namespace.
    fn within<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path(name)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Who a server at `listen` in `server` sees when `client` connects to `to`; `None` if the connection fails.
    fn seen_by(&self, server: &str, listen: &str, client: &str, to: &str) -> Option<IpAddr> {
        let listener = self.within(server, || TcpListener::bind(listen).unwrap());
        let to: SocketAddr = to.parse().unwrap();
        std::thread::scope(|scope| {
            let accepted = scope.spawn(move || {
                let (mut stream, peer) = listener.accept().unwrap();
                stream.write_all(b"hi").unwrap();
                peer.ip()
            });
            let connected = self.within(client, || {
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3)).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).ok().filter(|_| text == "hi")
            });
            if connected.is_none() {
                // Lets the server's thread go.
                let _ = self.within(server, || TcpStream::connect(listen.replace("0.0.0.0", "127.0.0.1")));
            }
            let peer = accepted.join().unwrap();
            connected.map(|_| peer)
        })
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}{name}", self.prefix)]).status();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The node's side: options, and the plugin called as the runtime calls it.
struct Node<'a> {
    namespaces: &'a Namespaces,
    options: cni::Options,
}

impl Node<'_> {
    fn call(&self, command: &str, pod: &str, ports: Value) -> Result<Option<Value>, cni::Error> {
        let text = std::fs::read(self.options.conf_dir.join(cni::CONFLIST)).unwrap();
        let mut config = serde_json::from_slice::<Value>(&text).unwrap()["plugins"][0].take();
        config["runtimeConfig"] = json!({ "portMappings": ports });
        let netns = self.namespaces.path(pod).display().to_string();
        let variable = |name: &str| match name {
            "CNI_COMMAND" => Some(command.to_owned()),
            "CNI_CONTAINERID" => Some(format!("id-{pod}")),
            "CNI_IFNAME" => Some("eth0".to_owned()),
            "CNI_NETNS" => Some(netns.clone()),
            _ => None,
        };
        let config = config.to_string();
        self.namespaces.within("node", || cni::plugin::run(variable, config.as_bytes()))
    }
}

#[test]
fn pods_reach_each_other_the_world_and_are_reached_by_host_ports() {
    if !privileged() {
        return;
    }
    let spaces = Namespaces::new(&["node", "world", "a", "b"]);
    let (node_ns, world_ns) = (format!("{}node", spaces.prefix), format!("{}world", spaces.prefix));
    ip(&format!("-n {node_ns} link set lo up"));
    ip(&format!("-n {node_ns} link add up0 type veth peer name up0 netns {world_ns}"));
    for (ns, address) in [(&node_ns, "172.20.0.1/24"), (&world_ns, "172.20.0.2/24")] {
        ip(&format!("-n {ns} addr add {address} dev up0"));
        ip(&format!("-n {ns} link set up0 up"));
        ip(&format!("-n {ns} link set lo up"));
    }
    let dir = tempfile::tempdir().unwrap();
    let options = cni::Options {
        bin_dir: dir.path().join("bin"),
        conf_dir: dir.path().join("conf"),
        data_dir: dir.path().join("data"),
        pod_cidr: "10.99.1.0/24".parse().unwrap(),
        cluster_cidr: "10.99.0.0/16".parse().unwrap(),
        service_cidr: Some("10.43.0.0/16".parse().unwrap()),
        bridge: "cni0".into(),
        mtu: Some(1400),
    };
    spaces.within("node", || cni::configure(&options)).unwrap();
    assert!(options.bin_dir.join(cni::PLUGIN).exists() && options.bin_dir.join("loopback").exists());
    let node = Node { namespaces: &spaces, options };

    let ports = json!([{ "hostPort": 8081, "containerPort": 80, "protocol": "tcp" }]);
    let result = node.call("ADD", "a", ports.clone()).unwrap().unwrap();
    assert_eq!(result["ips"][0]["address"], "10.99.1.2/32");
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["interfaces"][2]["mac"], "0a:58:0a:63:01:02");
    node.call("ADD", "b", json!([])).unwrap();
    node.call("CHECK", "a", json!([])).unwrap();
    let taken = node.call("ADD", "b", ports.clone()).expect_err("the host port is taken");
    assert_eq!(taken.to_json("1.0.0")["code"], 102);
    node.call("ADD", "b", json!([])).unwrap();

    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    // Pod b got a new address: the failed attempt before it gave the first one back.
    let b = node.call("ADD", "b", json!([])).unwrap().unwrap()["ips"][0]["address"].as_str().unwrap().to_owned();
    let b = b.trim_end_matches("/32");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "b", "10.99.1.2:80"), address(b), "pod to pod keeps the source");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "node", "10.99.1.2:80"), address("10.99.1.1"), "node to pod");
    assert_eq!(spaces.seen_by("world", "0.0.0.0:80", "a", "172.20.0.2:80"), address("172.20.0.1"), "masqueraded");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "world", "172.20.0.1:8081"), address("172.20.0.2"), "host port");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "b", "172.20.0.1:8081"), address(b), "host port from a pod");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "node", "127.0.0.1:8081"), address("10.99.1.1"), "from loopback");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "a", "172.20.0.1:8081"), address("10.99.1.1"), "hairpin");

    // A firewall that drops what is forwarded, as Docker sets it up. (Only where iptables is installed.)
    let policy = ["netns", "exec", &node_ns, "iptables", "-P", "FORWARD", "DROP"];
    if Command::new("ip").args(policy).output().is_ok_and(|output| output.status.success()) {
        assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "b", "10.99.1.2:80"), None, "dropped by the firewall");
    }
    // A restart of the node's process makes the rules anew and keeps the host ports of running pods.
    spaces.within("node", || cni::configure(&node.options)).unwrap();
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "world", "172.20.0.1:8081"), address("172.20.0.2"), "after restart");
    assert_eq!(spaces.seen_by("a", "0.0.0.0:80", "b", "10.99.1.2:80"), address(b), "pods are let through");

    // The node's next start gives back what belongs to nobody any more, once it is old enough to be sure.
    let leaked = node.options.data_dir.join("10.99.1.77");
    std::fs::write(&leaked, "id-gone\neth0").unwrap();
    spaces.within("node", || cni::configure(&node.options)).unwrap();
    assert!(leaked.exists(), "it may be in the making");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&leaked).unwrap().set_modified(old).unwrap();
    spaces.within("node", || cni::configure(&node.options)).unwrap();
    assert!(!leaked.exists());
    node.call("CHECK", "a", json!([])).expect("what is in use stays");

    node.call("DEL", "a", json!([])).unwrap();
    node.call("DEL", "a", json!([])).expect("twice is no error");
    assert!(node.call("CHECK", "a", json!([])).is_err());
    node.call("ADD", "a", ports).expect("the host port is free again");

    // The node is given another range, and another node the one before: nothing may lead to it here.
    let other = cni::Options { pod_cidr: "10.99.2.0/24".parse().unwrap(), mtu: Some(1350), ..node.options.clone() };
    spaces.within("node", || cni::configure(&other)).unwrap();
    let shown = Command::new("ip").args(["-n", &node_ns, "route", "show"]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("10.99.2.0/24 dev cni0") && !shown.contains("10.99.1.0/24"), "{shown}");
    assert!(shown.contains("10.43.0.0/16 dev cni0"), "{shown}");
    let bridge = Command::new("ip").args(["-n", &node_ns, "link", "show", "cni0"]).output().unwrap();
    assert!(String::from_utf8_lossy(&bridge.stdout).contains("mtu 1350"));
}
