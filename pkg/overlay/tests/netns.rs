//! The ways between nodes in real kernels: namespaces on a bridge are nodes, each with a namespace behind it as its pod.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

mod spaces;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use netlink::Mac;
use overlay::Backend::{HostGateway, Vxlan};
use overlay::peer::Peer;
use overlay::{Backend, DEVICE, Kernel, PROTOCOL, Uplink};
use spaces::{Space, ip, privileged};

/// Who a server in the namespace `server` sees when `client` connects to `address`; `None` if the connection fails.
fn seen(server: &Space, client: &Space, address: &str) -> Option<IpAddr> {
    let listener = server.within(async || TcpListener::bind("0.0.0.0:8080").unwrap());
    let to = SocketAddr::new(address.parse().unwrap(), 8080);
    let connected = client.within(async || TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok());
    connected.map(|_stream| listener.accept().unwrap().1.ip())
}

/// A node on the common link, with a pod behind it.
struct Node {
    number: u8,
    space: Space,
    pod: Space,
}

impl Node {
    fn new(switch: &Space, number: u8) -> Self {
        let (space, pod) = (Space::new(&format!("n{number}")), Space::new(&format!("p{number}")));
        switch.ip(&format!("link add to-{number} type veth peer name eth0 netns {}", space.0));
        switch.ip(&format!("link set to-{number} master br0 up"));
        space.ip(&format!("addr add 192.0.2.{number}/24 dev eth0"));
        space.ip("link set eth0 up");
        space.ip(&format!("link add cni0 type veth peer name eth0 netns {}", pod.0));
        space.ip(&format!("addr add 10.97.{number}.1/24 dev cni0"));
        space.ip("link set cni0 up");
        space.within(async || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        pod.ip(&format!("addr add 10.97.{number}.2/24 dev eth0"));
        pod.ip("link set eth0 up");
        pod.ip(&format!("route add default via 10.97.{number}.1"));
        Self { number, space, pod }
    }

    fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number)
    }

    fn range(&self) -> ipnet::Ipv4Net {
        format!("10.97.{}.0/24", self.number).parse().unwrap()
    }

    fn peer(&self, backend: Backend) -> Peer {
        let mac = (backend == Vxlan).then(|| Mac::of(self.range().network()));
        Peer { range: self.range(), address: self.address(), mac }
    }

    /// One sync towards these peers; returns how many steps it took, and what it said of peers out of reach.
    fn sync(&self, backend: Backend, peers: &[Peer]) -> (usize, Vec<String>) {
        self.space.within(async || {
            let kernel = Kernel::open(backend).unwrap();
            let end = kernel.ensure_end(&Uplink::Address(self.address()), self.range()).await.unwrap().unwrap();
            let (wanted, problems) = kernel.wanted(&end, peers).await.unwrap();
            let steps = kernel.present(&end).await.unwrap().steps_to(&wanted);
            kernel.apply(&end, &steps).await.unwrap();
            assert_eq!(kernel.present(&end).await.unwrap(), wanted, "the tables are as they were to be");
            (steps.len(), problems)
        })
    }
}

fn switch() -> Space {
    let switch = Space::new("sw");
    switch.ip("link add br0 type bridge");
    switch.ip("link set br0 up");
    switch
}

#[test]
fn pods_of_three_nodes_reach_each_other_and_keep_their_addresses() {
    if !privileged() {
        return;
    }
    let switch = switch();
    let nodes: Vec<Node> = (1..=3).map(|number| Node::new(&switch, number)).collect();
    let pod = |number: usize| format!("10.97.{number}.2");
    let source = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    for (backend, steps) in [(Vxlan, 6), (HostGateway, 2), (Vxlan, 6)] {
        let peers_of = |node: &Node| -> Vec<Peer> {
            nodes.iter().filter(|other| other.number != node.number).map(|other| other.peer(backend)).collect()
        };
        for node in &nodes {
            let (taken, problems) = node.sync(backend, &peers_of(node));
            // Another backend's routes are taken away as well; its device takes the rest with it.
            assert!(taken >= steps && problems.is_empty(), "{backend:?}: {taken} steps, {problems:?}");
            assert_eq!(node.sync(backend, &peers_of(node)).0, 0, "{backend:?}: a second look finds nothing to do");
        }
        for (from, to) in [(0, 1), (1, 0), (2, 0)] {
            let seen = seen(&nodes[to].pod, &nodes[from].pod, &pod(to + 1));
            assert_eq!(seen, source(&pod(from + 1)), "{backend:?}: pod {from} to pod {to}");
        }
        let from_node = seen(&nodes[1].pod, &nodes[0].space, &pod(2));
        let own = if backend == Vxlan { "10.97.1.0" } else { "192.0.2.1" };
        assert_eq!(from_node, source(own), "{backend:?}: a node reaches a pod of another");

        // A node leaves: what led there is gone, the rest stays.
        let left = [nodes[1].peer(backend)];
        nodes[0].sync(backend, &left);
        assert_eq!(seen(&nodes[2].pod, &nodes[0].pod, &pod(3)), None, "{backend:?}: gone");
        assert_eq!(seen(&nodes[1].pod, &nodes[0].pod, &pod(2)), source(&pod(1)), "{backend:?}: still there");
        let routes = nodes[0].space.ip(&format!("route show proto {PROTOCOL}"));
        assert_eq!(routes.lines().count(), 1, "{routes}");
    }
    let mtu = nodes[0].space.ip(&format!("-d link show {DEVICE}"));
    assert!(mtu.contains("mtu 1450") && mtu.contains("nolearning") && mtu.contains("dstport 8472"), "{mtu}");
}

#[test]
fn a_peer_that_moves_is_followed_and_what_others_made_stays() {
    if !privileged() {
        return;
    }
    let switch = switch();
    let (a, b) = (Node::new(&switch, 1), Node::new(&switch, 2));
    a.space.ip("route add 203.0.113.0/24 via 192.0.2.2");
    a.sync(Vxlan, &[b.peer(Vxlan)]);
    b.sync(Vxlan, &[a.peer(Vxlan)]);
    assert!(seen(&b.pod, &a.pod, "10.97.2.2").is_some());

    // The node gets another address: its device is made anew, and one entry changes with the others.
    b.space.ip("addr flush dev eth0");
    b.space.ip("addr add 192.0.2.20/24 dev eth0");
    let moved = Node { number: 2, ..b };
    let taken = moved.space.within(async || {
        let kernel = Kernel::open(Vxlan).unwrap();
        let uplink = Uplink::Interface("eth0".into());
        let end = kernel.ensure_end(&uplink, moved.range()).await.unwrap().unwrap();
        assert_eq!(end.address, Ipv4Addr::new(192, 0, 2, 20));
        let (wanted, _) = kernel.wanted(&end, &[a.peer(Vxlan)]).await.unwrap();
        let steps = kernel.present(&end).await.unwrap().steps_to(&wanted);
        kernel.apply(&end, &steps).await.unwrap();
        steps.len()
    });
    assert_eq!(taken, 3, "a new device starts empty");
    let peer = Peer { address: Ipv4Addr::new(192, 0, 2, 20), ..moved.peer(Vxlan) };
    assert_eq!(a.sync(Vxlan, std::slice::from_ref(&peer)).0, 1);
    assert_eq!(seen(&moved.pod, &a.pod, "10.97.2.2"), Some("10.97.1.2".parse().unwrap()));

    // The range goes to a node that has another: nothing is left of the one before.
    let renumbered = Peer { range: "10.97.9.0/24".parse().unwrap(), mac: Some(Mac([2, 0, 0, 0, 0, 9])), ..peer };
    a.sync(Vxlan, &[renumbered]);
    let shown = a.space.ip(&format!("neighbour show dev {DEVICE}"));
    assert!(shown.contains("10.97.9.0") && !shown.contains("10.97.2.0"), "{shown}");
    a.sync(Vxlan, &[]);
    assert!(a.space.ip("route show").contains("203.0.113.0/24"), "a route that somebody else made stays");
}

#[test]
fn what_cannot_be_reached_or_made_is_said_clearly() {
    if !privileged() {
        return;
    }
    let switch = switch();
    let a = Node::new(&switch, 1);
    a.space.ip("route add default via 192.0.2.254");
    let far = Peer { range: "10.97.8.0/24".parse().unwrap(), address: Ipv4Addr::new(198, 51, 100, 8), mac: None };
    let nowhere = Peer { range: "10.97.7.0/24".parse().unwrap(), address: Ipv4Addr::new(192, 0, 2, 7), mac: None };
    let (_, problems) = a.sync(HostGateway, &[far, nowhere]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("198.51.100.8 is not on a link"), "{problems:?}");

    let error = |uplink: Uplink| {
        a.space.within(async || {
            let kernel = Kernel::open(Vxlan).unwrap();
            kernel.ensure_end(&uplink, a.range()).await.expect_err("refused").to_string()
        })
    };
    assert!(error(Uplink::Address(Ipv4Addr::new(192, 0, 2, 99))).contains("--node-ip"));
    assert!(error(Uplink::Interface("eth7".into())).contains("interface eth7 is missing"));
    a.space.ip("link add other type vxlan id 1 dstport 8472 dev eth0");
    assert!(error(Uplink::Address(a.address())).contains("another VXLAN device"));
    let alone = a.space.within(async || {
        let kernel = Kernel::open(Vxlan).unwrap();
        kernel.ensure_end(&Uplink::Address(Ipv4Addr::LOCALHOST), a.range()).await.unwrap()
    });
    assert_eq!(alone, None, "nobody else is reached by way of loopback");
}

/// The kernel tells of what others do to links and routes.
#[test]
fn changes_by_others_are_seen() {
    if !privileged() {
        return;
    }
    let switch = switch();
    let a = Node::new(&switch, 1);
    a.sync(Vxlan, &[Node::new(&switch, 2).peer(Vxlan)]);
    let space = a.space.0.clone();
    a.space.within(async || {
        let mut watch = netlink::Watch::open(|event| {
            matches!(event, netlink::Event::RouteGone { protocol: PROTOCOL })
                || matches!(event, netlink::Event::Link { name, .. } if name == DEVICE)
        })
        .unwrap();
        ip(&format!("-n {space} route flush proto {PROTOCOL}"));
        let limit = Duration::from_secs(5);
        let event = tokio::time::timeout(limit, watch.next()).await.unwrap();
        assert_eq!(event, Some(netlink::Event::RouteGone { protocol: PROTOCOL }));
        ip(&format!("-n {space} link del {DEVICE}"));
        let event = tokio::time::timeout(limit, watch.next()).await.unwrap();
        assert!(matches!(event, Some(netlink::Event::Link { .. })), "{event:?}");
    });
}
