//! Questions about all other names: asked of the host's resolvers, remembered for a short time.
//!
//! Equal questions that come while one is on its way share its answer. That also ends loops: a question that comes back
//! to us through a resolver waits for itself, and both end with the time limit.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::metrics;

/// How long one resolver may take, and all of them together.
const TRY_LIMIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(5);
/// The longest time that an answer is remembered, and how many are.
const TTL_MAX: u32 = 30;
const CACHE_MAX: usize = 10_000;
/// Questions on their way at once.
const IN_FLIGHT_MAX: usize = 1_000;
/// The UDP payload that fits every path.
pub const UDP_PAYLOAD: u16 = 1232;
/// As many as the resolver library of C uses.
const RESOLVERS_MAX: usize = 3;

/// A question, apart from who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// In lower case.
    pub name: Name,
    pub kind: RecordType,
    /// DNSSEC records are wanted.
    pub dnssec: bool,
}

type Outcome = Result<Arc<Message>, ResponseCode>;

struct Remembered {
    message: Arc<Message>,
    since: Instant,
    until: Instant,
}

#[derive(Default)]
struct State {
    cache: HashMap<Question, Remembered>,
    in_flight: HashMap<Question, Shared<BoxFuture<'static, Outcome>>>,
    resolvers: Arc<[SocketAddr]>,
    read_at: Option<SystemTime>,
}

/// Asks the host's resolvers. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    /// `None`: the resolvers were given, and stay.
    resolv_conf: Option<Arc<PathBuf>>,
    own: Arc<[IpAddr]>,
    state: Arc<Mutex<State>>,
}

impl Forwarder {
    /// `own` are this server's addresses, which are never asked.
    pub fn new(resolv_conf: PathBuf, own: Vec<IpAddr>) -> Self {
        Self { resolv_conf: Some(Arc::new(resolv_conf)), own: own.into(), state: Arc::default() }
    }

    /// Asks these and no others.
    pub fn to(resolvers: &[SocketAddr]) -> Self {
        let state = State { resolvers: resolvers.into(), ..State::default() };
        Self { resolv_conf: None, own: Arc::default(), state: Arc::new(Mutex::new(state)) }
    }

    /// The answer's code and records, with what is left of their time to live.
    pub async fn resolve(&self, question: Question) -> Outcome {
        let now = Instant::now();
        let (flight, mine) = {
            let mut state = self.state.lock();
            if let Some(known) = state.cache.get(&question).filter(|known| known.until > now) {
                metrics::remembered();
                return Ok(aged(known, now));
            }
            match state.in_flight.get(&question) {
                Some(flight) => (flight.clone(), false),
                None if state.in_flight.len() >= IN_FLIGHT_MAX => return Err(ResponseCode::ServFail),
                None => {
                    let resolvers = self.resolvers(&mut state);
                    let flight = ask_all(resolvers, question.clone()).boxed().shared();
                    state.in_flight.insert(question.clone(), flight.clone());
                    (flight, true)
                }
            }
        };
        if !mine {
            return flight.await;
        }
        // On a task of its own, so that the entry is cleared even if the asker goes away.
        let forwarder = self.clone();
        let task = tokio::spawn(async move {
            let outcome = flight.await;
            forwarder.finish(question, &outcome);
            outcome
        });
        task.await.unwrap_or(Err(ResponseCode::ServFail))
    }

    fn finish(&self, question: Question, outcome: &Outcome) {
        let mut state = self.state.lock();
        state.in_flight.remove(&question);
        let Ok(message) = outcome else { return };
        let Some(seconds) = keep_for(message).filter(|seconds| *seconds > 0) else { return };
        let now = Instant::now();
        if state.cache.len() >= CACHE_MAX {
            state.cache.retain(|_, known| known.until > now);
            if state.cache.len() >= CACHE_MAX {
                state.cache.clear();
            }
        }
        let until = now + Duration::from_secs(seconds.into());
        state.cache.insert(question, Remembered { message: message.clone(), since: now, until });
    }

    /// The resolvers as the host's configuration names them now; it is read again only when it has changed.
    fn resolvers(&self, state: &mut State) -> Arc<[SocketAddr]> {
        let Some(path) = &self.resolv_conf else { return state.resolvers.clone() };
        let changed = std::fs::metadata(path.as_path()).and_then(|m| m.modified()).ok();
        if state.read_at.is_none() || changed != state.read_at {
            state.read_at = changed;
            state.resolvers = read_resolvers(path, &self.own);
        }
        state.resolvers.clone()
    }
}

fn read_resolvers(path: &Path, own: &[IpAddr]) -> Arc<[SocketAddr]> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let resolvers = parse_resolvers(&text, own);
    if resolvers.is_empty() {
        tracing::warn!(file = %path.display(), "names no resolver: pods resolve only names of the cluster");
    }
    resolvers.into()
}

fn parse_resolvers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let address = words.next()?;
        address.split('%').next()?.parse::<IpAddr>().ok()
    });
    named.filter(|address| !own.contains(address)).take(RESOLVERS_MAX).map(|a| SocketAddr::new(a, 53)).collect()
}

/// How long an answer may be kept: the shortest time to live, or what the SOA says of names that do not exist.
fn keep_for(message: &Message) -> Option<u32> {
    if message.metadata.truncation {
        return None;
    }
    let shortest = match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => message.answers.iter().map(|r| r.ttl).min(),
        ResponseCode::NoError | ResponseCode::NXDomain => message.authorities.iter().find_map(|r| match &r.data {
            RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
            _ => None,
        }),
        _ => None,
    };
    shortest.map(|ttl| ttl.min(TTL_MAX))
}

fn aged(known: &Remembered, now: Instant) -> Arc<Message> {
    let age = u32::try_from((now - known.since).as_secs()).unwrap_or(u32::MAX);
    if age == 0 {
        return known.message.clone();
    }
    let mut message = known.message.as_ref().clone();
    let Message { answers, authorities, additionals, .. } = &mut message;
    for record in answers.iter_mut().chain(authorities).chain(additionals) {
        record.ttl = record.ttl.saturating_sub(age);
    }
    Arc::new(message)
}

async fn ask_all(resolvers: Arc<[SocketAddr]>, question: Question) -> Outcome {
    let asking = async {
        let mut last = Err(ResponseCode::ServFail);
        // Twice around: a lost datagram is no reason to fail.
        for resolver in resolvers.iter().chain(resolvers.iter()) {
            match tokio::time::timeout(TRY_LIMIT, ask(*resolver, &question)).await {
                Ok(Ok(message)) if message.metadata.response_code == ResponseCode::ServFail => {
                    last = Ok(Arc::new(message))
                }
                Ok(Ok(message)) => return Ok(Arc::new(message)),
                Ok(Err(error)) => tracing::debug!(%resolver, name = %question.name, %error, "no answer"),
                Err(_) => tracing::debug!(%resolver, name = %question.name, "no answer in time"),
            }
        }
        last
    };
    tokio::time::timeout(LIMIT, asking).await.unwrap_or(Err(ResponseCode::ServFail))
}

async fn ask(resolver: SocketAddr, question: &Question) -> std::io::Result<Message> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(question.dnssec);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    let answer = ask_udp(resolver, &bytes, &message).await?;
    if answer.metadata.truncation { ask_tcp(resolver, &bytes, &message).await } else { Ok(answer) }
}

async fn ask_udp(resolver: SocketAddr, bytes: &[u8], asked: &Message) -> std::io::Result<Message> {
    let any: IpAddr = if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A socket, and so a port, of its own: whoever wants to forge an answer must guess it.
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(bytes).await?;
    let mut buffer = [0; 4096];
    loop {
        let size = socket.recv(&mut buffer).await?;
        if let Ok(answer) = Message::from_vec(&buffer[..size])
            && answers(&answer, asked)
        {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, bytes: &[u8], asked: &Message) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(std::io::Error::other)?;
    if answers(&answer, asked) { Ok(answer) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

fn answers(answer: &Message, asked: &Message) -> bool {
    let same = |a: &Query, b: &Query| a.name == b.name && a.query_type == b.query_type && a.query_class == DNSClass::IN;
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == asked.metadata.id
        && matches!((&answer.queries[..], &asked.queries[..]), ([a], [b]) if same(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_libc_reads_them() {
        let text = "# nameserver 9.9.9.9\nsearch a b\nnameserver 10.43.0.10\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
                    nameserver nonsense\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let own = ["10.43.0.10".parse().unwrap()];
        let resolvers: Vec<_> = parse_resolvers(text, &own).iter().map(ToString::to_string).collect();
        assert_eq!(resolvers, ["192.0.2.1:53", "[fe80::1]:53", "192.0.2.2:53"], "never ourselves");
    }
}
