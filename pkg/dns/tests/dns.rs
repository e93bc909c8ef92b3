//! Names by the Kubernetes DNS specification, and the wire.

#![allow(clippy::unwrap_used, reason = "a failed expectation is what a test is for")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component_base::Shutdown;
use dns::forward::Forwarder;
use dns::server::Server;
use dns::types::{EndpointSlice, Service};
use dns::zone::{Answer, Cluster, Zone};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

struct Fixed {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl Cluster for Fixed {
    fn is_synced(&self) -> bool {
        !self.services.is_empty()
    }
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.iter().find(|s| s.metadata.namespace == namespace && s.metadata.name == name).cloned()
    }
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let of = |s: &&Arc<EndpointSlice>| s.metadata.namespace == namespace && s.service() == Some(service);
        self.slices.iter().filter(of).cloned().collect()
    }
    fn has_services(&self, namespace: &str) -> bool {
        self.services.iter().any(|s| s.metadata.namespace == namespace)
    }
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        self.services.iter().filter(|s| s.addresses().contains(&address)).cloned().collect()
    }
    fn slices_at(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let at = |s: &&Arc<EndpointSlice>| s.endpoints.iter().any(|e| e.addresses().any(|a| a == address));
        self.slices.iter().filter(at).cloned().collect()
    }
}

fn cluster() -> Fixed {
    let service = |name: &str, spec: serde_json::Value| {
        Arc::new(
            serde_json::from_value(json!({ "metadata": { "namespace": "ns", "name": name }, "spec": spec })).unwrap(),
        )
    };
    let slice = |service: &str, endpoints: serde_json::Value| {
        let labels = json!({ "kubernetes.io/service-name": service });
        let ports = json!([{ "name": "http", "protocol": "TCP", "port": 8080 }]);
        let metadata = json!({ "namespace": "ns", "name": "x", "labels": labels });
        Arc::new(
            serde_json::from_value(json!({ "metadata": metadata, "endpoints": endpoints, "ports": ports })).unwrap(),
        )
    };
    let ports =
        json!([{ "name": "http", "protocol": "TCP", "port": 80 }, { "name": "dns", "protocol": "UDP", "port": 53 }]);
    let many: Vec<_> = (1..=60).map(|n| json!({ "addresses": [format!("10.42.9.{n}")] })).collect();
    Fixed {
        services: vec![
            service("web", json!({ "clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7"], "ports": ports })),
            service("dual", json!({ "clusterIPs": ["10.43.0.8", "fd00::8"] })),
            service("db", json!({ "clusterIP": "None", "clusterIPs": ["None"] })),
            service("idle", json!({ "clusterIP": "None" })),
            service("many", json!({ "clusterIP": "None" })),
            service("outside", json!({ "type": "ExternalName", "externalName": "www.example.org" })),
            service("inside", json!({ "type": "ExternalName", "externalName": "web.ns.svc.cluster.local" })),
            service("circle", json!({ "type": "ExternalName", "externalName": "circle.ns.svc.cluster.local" })),
        ],
        slices: vec![
            slice(
                "db",
                json!([
                    { "addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": { "ready": true } },
                    { "addresses": ["10.42.0.6"] },
                    { "addresses": ["10.42.0.7"], "hostname": "db-2", "conditions": { "ready": false } },
                ]),
            ),
            slice("many", many.into()),
        ],
    }
}

fn zone() -> Zone {
    Zone::new("cluster.local", &["10.43.0.10".parse().unwrap()]).unwrap()
}

/// The outcome in a line: records, or what there is instead.
fn resolve(name: &str, kind: RecordType) -> String {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    match zone().resolve(&cluster(), &name, kind) {
        Answer::Records { answers, additionals } => {
            let show = |records: Vec<Record>| records.iter().map(|r| r.data.to_string()).collect::<Vec<_>>().join(", ");
            let extra = if additionals.is_empty() { String::new() } else { format!(" + {}", show(additionals)) };
            format!("[{}]{extra}", show(answers))
        }
        Answer::NoSuchName => "no such name".into(),
        Answer::Alias { target, .. } => format!("alias {target}"),
        Answer::Foreign => "foreign".into(),
        Answer::NotReady => "not ready".into(),
    }
}

#[test]
fn names() {
    use RecordType as T;
    for (name, kind, expected) in [
        ("web.ns.svc.cluster.local", T::A, "[10.43.0.7]"),
        ("WEB.Ns.svc.Cluster.LOCAL", T::A, "[10.43.0.7]"),
        ("web.ns.svc.cluster.local", T::AAAA, "[]"),
        ("web.ns.svc.cluster.local", T::MX, "[]"),
        ("dual.ns.svc.cluster.local", T::AAAA, "[fd00::8]"),
        ("none.ns.svc.cluster.local", T::A, "no such name"),
        ("web.other.svc.cluster.local", T::A, "no such name"),
        ("ns.svc.cluster.local", T::A, "[]"),
        ("other.svc.cluster.local", T::A, "no such name"),
        ("svc.cluster.local", T::A, "[]"),
        ("cluster.local", T::A, "[]"),
        ("cluster.local", T::NS, "[ns.dns.cluster.local.] + 10.43.0.10"),
        ("ns.dns.cluster.local", T::A, "[10.43.0.10]"),
        ("dns-version.cluster.local", T::TXT, "[1.1.0]"),
        ("nonsense.cluster.local", T::A, "no such name"),
        ("_http._tcp.web.ns.svc.cluster.local", T::SRV, "[0 100 80 web.ns.svc.cluster.local.] + 10.43.0.7"),
        ("_dns._udp.web.ns.svc.cluster.local", T::SRV, "[0 100 53 web.ns.svc.cluster.local.] + 10.43.0.7"),
        ("_dns._tcp.web.ns.svc.cluster.local", T::SRV, "no such name"),
        ("_http._tcp.web.ns.svc.cluster.local", T::A, "[]"),
        ("_tcp.web.ns.svc.cluster.local", T::A, "[]"),
        ("db.ns.svc.cluster.local", T::A, "[10.42.0.5, 10.42.0.6]"),
        ("db-0.db.ns.svc.cluster.local", T::A, "[10.42.0.5]"),
        ("db-0.db.ns.svc.cluster.local", T::AAAA, "[]"),
        ("db-2.db.ns.svc.cluster.local", T::A, "no such name"),
        ("10-42-0-6.db.ns.svc.cluster.local", T::A, "[10.42.0.6]"),
        ("idle.ns.svc.cluster.local", T::A, "no such name"),
        (
            "_http._tcp.db.ns.svc.cluster.local",
            T::SRV,
            "[0 50 8080 10-42-0-6.db.ns.svc.cluster.local., 0 50 8080 db-0.db.ns.svc.cluster.local.] + 10.42.0.6, 10.42.0.5",
        ),
        ("outside.ns.svc.cluster.local", T::A, "alias www.example.org."),
        ("outside.ns.svc.cluster.local", T::CNAME, "[www.example.org.]"),
        ("10-42-0-9.ns.pod.cluster.local", T::A, "[10.42.0.9]"),
        ("nonsense.ns.pod.cluster.local", T::A, "no such name"),
        ("7.0.43.10.in-addr.arpa", T::PTR, "[web.ns.svc.cluster.local.]"),
        ("5.0.42.10.in-addr.arpa", T::PTR, "[db-0.db.ns.svc.cluster.local.]"),
        ("6.0.42.10.in-addr.arpa", T::PTR, "foreign"),
        ("1.2.0.192.in-addr.arpa", T::PTR, "foreign"),
        (
            "8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            T::PTR,
            "[dual.ns.svc.cluster.local.]",
        ),
        ("www.example.org", T::A, "foreign"),
        ("cluster.local.example.org", T::A, "foreign"),
    ] {
        assert_eq!(resolve(name, kind), expected, "{name} {kind}");
    }
}

#[test]
fn nothing_is_denied_before_the_caches_are_complete() {
    let empty = Fixed { services: vec![], slices: vec![] };
    let name = Name::from_ascii("web.ns.svc.cluster.local.").unwrap();
    assert_eq!(zone().resolve(&empty, &name, RecordType::A), Answer::NotReady);
}

/// A resolver that knows one address for every name, and counts.
async fn upstream(delay: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((size, peer)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut message = Message::from_vec(&buffer[..size]).unwrap().into_response();
            let name = message.queries[0].name.clone();
            message.add_answer(Record::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 80))));
            tokio::time::sleep(delay).await;
            socket.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    (address, asked)
}

async fn serve(forwarder: Forwarder) -> (SocketAddr, Shutdown) {
    let server = Server::bind(zone(), cluster(), forwarder, vec!["127.0.0.1:0".parse().unwrap()]).await.unwrap();
    let (address, shutdown) = (server.addresses()[0], Shutdown::new());
    tokio::spawn(server.run(shutdown.clone()));
    (address, shutdown)
}

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

async fn ask(server: SocketAddr, message: &Message) -> Message {
    Message::from_vec(&ask_bytes(server, &message.to_vec().unwrap()).await).unwrap()
}

async fn ask_bytes(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut buffer = [0; 4096];
    let size = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    buffer[..size].to_vec()
}

async fn ask_tcp(server: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let bytes = message.to_vec().unwrap();
    stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn the_wire() {
    let (server, shutdown) = serve(Forwarder::to(&[])).await;
    let answer = ask(server, &question("web.ns.svc.cluster.local", RecordType::A, None)).await;
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (4711, ResponseCode::NoError));
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available && answer.edns.is_none());

    let answer = ask(server, &question("none.ns.svc.cluster.local", RecordType::A, Some(4096))).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].record_type(), RecordType::SOA, "so that it can be remembered");
    assert_eq!(answer.edns.unwrap().max_payload(), 1232);

    let large = question("many.ns.svc.cluster.local", RecordType::A, None);
    let cut = ask(server, &large).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(ask_tcp(server, &large).await.answers.len(), 60, "TCP has room");
    let edns = question("many.ns.svc.cluster.local", RecordType::A, Some(4096));
    assert_eq!(ask(server, &edns).await.answers.len(), 60);

    let inside = ask(server, &question("inside.ns.svc.cluster.local", RecordType::A, None)).await;
    assert_eq!(inside.answers.len(), 2, "the alias and what it leads to");
    let circle = ask(server, &question("circle.ns.svc.cluster.local", RecordType::A, None)).await;
    assert_eq!(circle.metadata.response_code, ResponseCode::ServFail);
    let foreign = ask(server, &question("www.example.org", RecordType::A, None)).await;
    assert_eq!(foreign.metadata.response_code, ResponseCode::ServFail, "no resolver to ask");

    let nonsense = ask_bytes(server, &[0x12, 0x34, 0, 0, 0, 9, 9]).await;
    assert_eq!((&nonsense[..2], nonsense[3] & 15), (&[0x12, 0x34][..], 1), "FORMERR");
    shutdown.trigger();
}

#[tokio::test]
async fn other_names_are_asked_once_and_remembered() {
    let (resolver, asked) = upstream(Duration::from_millis(50)).await;
    let (server, shutdown) = serve(Forwarder::to(&[resolver])).await;
    let same = question("www.example.org", RecordType::A, None);
    let answers = futures::future::join_all((0..20).map(|_| ask(server, &same))).await;
    assert!(answers.iter().all(|a| a.answers.len() == 1 && a.answers[0].name == same.queries[0].name));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "equal questions share one");
    let upper = ask(server, &question("WWW.example.org", RecordType::A, None)).await;
    assert_eq!(upper.answers[0].name.to_string(), "WWW.example.org.");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "remembered");
    let alias = ask(server, &question("outside.ns.svc.cluster.local", RecordType::A, None)).await;
    assert_eq!(alias.answers.len(), 2, "an alias that leads outside is followed");
    shutdown.trigger();
}

/// Two of our servers that each have the other as their resolver: the question ends, and is asked a bounded number of times.
#[tokio::test]
async fn a_loop_ends() {
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (server, shutdown) = serve(Forwarder::to(&[relay.local_addr().unwrap()])).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((size, _)) = relay.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            back.send_to(&buffer[..size], server).await.unwrap();
        }
    });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question("loop.example.org", RecordType::A, None).to_vec().unwrap(), server).await.unwrap();
    let mut buffer = [0; 1500];
    let size = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(Message::from_vec(&buffer[..size]).unwrap().metadata.response_code, ResponseCode::ServFail);
    assert!(asked.load(Ordering::SeqCst) <= 2, "one a try");
    shutdown.trigger();
}
