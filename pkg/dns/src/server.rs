//! The wire: UDP and TCP on port 53.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use component_base::Shutdown;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::Error;
use crate::forward::{Forwarder, Question, UDP_PAYLOAD};
use crate::metrics;
use crate::zone::{Answer, Cluster, Zone};

/// Questions that wait for a resolver, and TCP connections, at once; more are turned away.
const FORWARDED_MAX: usize = 1_500;
const CONNECTIONS_MAX: usize = 256;
/// How long a TCP connection may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// Without EDNS an answer by UDP has at most this many bytes.
const UDP_PLAIN: u16 = 512;
/// Aliases that are followed within the cluster.
const ALIASES_MAX: usize = 8;

struct Shared<C> {
    zone: Zone,
    cluster: C,
    forwarder: Forwarder,
    forwarded: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Moves the order of answers on, so that clients that take the first are spread.
    turn: AtomicUsize,
}

/// A server that is bound and not yet running.
pub struct Server<C> {
    shared: Arc<Shared<C>>,
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
}

/// What can be said at once, or what must be asked first.
enum First {
    Done(Message),
    /// `answers` so far, then what the question leads to.
    Forward {
        response: Message,
        question: Question,
    },
}

impl<C: Cluster> Server<C> {
    pub async fn bind(zone: Zone, cluster: C, forwarder: Forwarder, listen: Vec<SocketAddr>) -> Result<Self, Error> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in listen {
            let failed = |source| Error::Listen { address, source };
            let socket = UdpSocket::bind(address).await.map_err(failed)?;
            // Port 0 (in tests) must become the same port twice.
            let address = socket.local_addr().map_err(failed)?;
            tcp.push(TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?);
            udp.push(Arc::new(socket));
        }
        let forwarded = Arc::new(Semaphore::new(FORWARDED_MAX));
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let shared = Shared { zone, cluster, forwarder, forwarded, connections, turn: AtomicUsize::new(0) };
        Ok(Self { shared: Arc::new(shared), udp, tcp })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        let mut tasks = tokio::task::JoinSet::new();
        for socket in self.udp {
            tasks.spawn(serve_udp(self.shared.clone(), socket));
        }
        for listener in self.tcp {
            tasks.spawn(serve_tcp(self.shared.clone(), listener));
        }
        shutdown.triggered().await;
    }
}

async fn serve_udp<C: Cluster>(shared: Arc<Shared<C>>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; 4096];
    loop {
        let (size, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer's ICMP error; the socket itself is fine.
                tracing::debug!(%error, "receiving failed");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Some((first, limit)) = shared.start(&buffer[..size], true) else { continue };
        match first {
            First::Done(response) => send(&socket, peer, &response, limit).await,
            First::Forward { response, question } => {
                let (shared, socket) = (shared.clone(), socket.clone());
                let Ok(slot) = shared.forwarded.clone().try_acquire_owned() else {
                    send(&socket, peer, &failure(response), limit).await;
                    continue;
                };
                tokio::spawn(async move {
                    let response = shared.finish(response, question).await;
                    send(&socket, peer, &response, limit).await;
                    drop(slot);
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, peer: SocketAddr, response: &Message, limit: u16) {
    let Some(bytes) = encode(response, limit) else { return };
    if let Err(error) = socket.send_to(&bytes, peer).await {
        tracing::debug!(%peer, %error, "answering failed");
    }
}

async fn serve_tcp<C: Cluster>(shared: Arc<Shared<C>>, listener: TcpListener) {
    loop {
        let Ok(slot) = shared.connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // A client that goes away is its own business.
                    let _ = converse(&shared, stream).await;
                    drop(slot);
                });
            }
            // Out of file descriptors, most likely: the next moment may be better.
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse<C: Cluster>(shared: &Shared<C>, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let read = async {
            let mut question = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut question).await?;
            Ok::<_, std::io::Error>(question)
        };
        let question = tokio::time::timeout(IDLE, read).await??;
        let Some((first, limit)) = shared.start(&question, false) else { return Ok(()) };
        let response = match first {
            First::Done(response) => response,
            First::Forward { response, question } => shared.finish(response, question).await,
        };
        let Some(bytes) = encode(&response, limit) else { return Ok(()) };
        let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        tokio::time::timeout(IDLE, stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat())).await??;
    }
}

impl<C: Cluster> Shared<C> {
    /// Reads a question and answers it as far as that needs nobody else. `None` for what deserves no answer.
    fn start(&self, bytes: &[u8], udp: bool) -> Option<(First, u16)> {
        let request = match Message::from_vec(bytes) {
            Ok(request) => request,
            Err(_) => {
                let id = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
                // What is itself an answer is not answered: two servers could go on forever.
                if bytes.get(2)? & 0x80 != 0 {
                    return None;
                }
                return Some((First::Done(Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)), UDP_PLAIN));
            }
        };
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let payload = request.edns.as_ref().map_or(UDP_PLAIN, |edns| edns.max_payload().clamp(UDP_PLAIN, UDP_PAYLOAD));
        let limit = if udp { payload } else { u16::MAX };
        Some((self.answer(&request), limit))
    }

    fn answer(&self, request: &Message) -> First {
        let mut response = Message::response(request.metadata.id, request.metadata.op_code);
        response.metadata.recursion_desired = request.metadata.recursion_desired;
        response.metadata.recursion_available = true;
        response.queries.clone_from(&request.queries);
        if let Some(asked) = &request.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(asked.flags().dnssec_ok);
            response.set_edns(edns);
            if asked.version() > 0 {
                response.metadata.response_code = ResponseCode::BADVERS;
                return First::Done(response);
            }
        }
        let refused = match (request.metadata.op_code, &request.queries[..]) {
            (OpCode::Query, [query]) if query.query_class == DNSClass::IN && !is_transfer(query.query_type) => None,
            (OpCode::Query, [_]) => Some(ResponseCode::Refused),
            (OpCode::Query, _) => Some(ResponseCode::FormErr),
            _ => Some(ResponseCode::NotImp),
        };
        if let Some(code) = refused {
            response.metadata.response_code = code;
            return First::Done(response);
        }
        let (name, kind) = (request.queries[0].name.clone(), request.queries[0].query_type);
        self.look_up(response, name, kind)
    }

    /// Answers from the zone, following aliases within it.
    fn look_up(&self, mut response: Message, mut name: Name, kind: RecordType) -> First {
        let dnssec = response.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        for _ in 0..ALIASES_MAX {
            match self.zone.resolve(&self.cluster, &name, kind) {
                Answer::Records { mut answers, additionals } => {
                    response.metadata.authoritative = true;
                    self.rotate(&mut answers);
                    if answers.is_empty() {
                        response.add_authority(self.zone.soa());
                    }
                    response.answers.append(&mut answers);
                    response.additionals.extend(additionals);
                    return First::Done(response);
                }
                Answer::NoSuchName => {
                    response.metadata.authoritative = true;
                    response.metadata.response_code = ResponseCode::NXDomain;
                    response.add_authority(self.zone.soa());
                    return First::Done(response);
                }
                Answer::Alias { record, target } => {
                    response.metadata.authoritative = true;
                    response.answers.push(*record);
                    name = target;
                }
                Answer::Foreign => {
                    return First::Forward { response, question: Question { name: name.to_lowercase(), kind, dnssec } };
                }
                Answer::NotReady => break,
            }
        }
        First::Done(failure(response))
    }

    fn rotate(&self, answers: &mut [Record]) {
        if answers.len() > 1 {
            answers.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % answers.len());
        }
    }

    async fn finish(&self, mut response: Message, question: Question) -> Message {
        match self.forwarder.resolve(question).await {
            Ok(answer) => {
                // A name is answered as it was spelled in the question, whoever asked first.
                let spelled = response.queries.first().map(|q| q.name.clone());
                let respell = |mut record: Record| {
                    if let Some(name) = spelled.as_ref().filter(|name| **name == record.name) {
                        record.name.clone_from(name);
                    }
                    record
                };
                response.metadata.response_code = answer.metadata.response_code;
                response.metadata.authentic_data = answer.metadata.authentic_data;
                response.answers.extend(answer.answers.iter().cloned().map(respell));
                response.authorities.extend(answer.authorities.iter().cloned());
                response.additionals.extend(answer.additionals.iter().cloned());
                response
            }
            Err(code) => {
                let mut response = failure(response);
                response.metadata.response_code = code;
                response
            }
        }
    }
}

fn is_transfer(kind: RecordType) -> bool {
    matches!(kind, RecordType::AXFR | RecordType::IXFR)
}

/// The same question, answered with "cannot tell now".
fn failure(mut response: Message) -> Message {
    response.metadata.response_code = ResponseCode::ServFail;
    response.answers.clear();
    response.authorities.clear();
    response.additionals.clear();
    response
}

/// The bytes of an answer; what does not fit loses its extras and then its records, which tells the client to use TCP.
fn encode(response: &Message, limit: u16) -> Option<Vec<u8>> {
    metrics::answered(response.metadata.response_code);
    let bytes = response.to_vec().ok()?;
    if bytes.len() <= usize::from(limit) {
        return Some(bytes);
    }
    let mut shorter = response.clone();
    shorter.additionals.clear();
    let bytes = shorter.to_vec().ok()?;
    if bytes.len() <= usize::from(limit) { Some(bytes) } else { response.truncate().to_vec().ok() }
}
