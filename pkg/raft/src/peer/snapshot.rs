//! The state on its way to a member that the log does not reach: in chunks of whole records, in order of keys.
//!
//! The sender keeps the state it began with, so chunk n is the same in every attempt, and after a broken connection it
//! goes on behind the last chunk that arrived. Each chunk has a checksum, and the end has one over all of them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use futures::{Stream, stream};
use mvcc::{Record, SnapshotBuilder};
use openraft::raft::SnapshotResponse;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::links::{Client, Link};
use super::{proto, wire};
use crate::checkpoint::Meta;
use crate::directory::unlikely_twice;
use crate::types::{Snapshot, SnapshotMeta, TypeConfig, Vote};

/// A chunk ends with the record that reaches this.
const CHUNK_BYTES: usize = 256 << 10;
/// No attempt brought anything across for so long: openraft decides whether to begin anew.
const GIVE_UP: Duration = Duration::from_secs(20);
/// Pauses between attempts, doubled each time that nothing came across.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest that one attempt may take, with writing the state to the other's disk.
const ATTEMPT_MAX: Duration = Duration::from_secs(10 * 60);
/// What came of a state is kept so long when the connection breaks.
pub(super) const KEEP: Duration = Duration::from_secs(60);

/// Sends a state and returns when it is installed. `find` gives the way to the member, whose address may change.
pub(super) async fn send(
    find: impl Fn() -> io::Result<Arc<Link>>,
    vote: Vote,
    snapshot: Snapshot,
) -> io::Result<SnapshotResponse<TypeConfig>> {
    let outgoing = Outgoing::new(vote, snapshot)?;
    let (mut there, mut moved, mut pause) = (0, Instant::now(), PAUSE_FIRST);
    loop {
        let before = there;
        let tried = async { attempt(&find()?, &outgoing, &mut there).await };
        let error = match tried.await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        if there > before {
            (moved, pause) = (Instant::now(), PAUSE_FIRST);
        }
        if moved.elapsed() > GIVE_UP {
            return Err(error);
        }
        tracing::info!(%error, chunks = there, "sending the state was interrupted, going on");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn attempt(link: &Arc<Link>, outgoing: &Outgoing, there: &mut u64) -> io::Result<SnapshotResponse<TypeConfig>> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
    let mut client: Client = link.bulk_client().await?;
    let question = link.request(proto::SnapshotProgressRequest { id: outgoing.header.id });
    let asking = timeout(GIVE_UP, client.snapshot_progress(question));
    let known = asking.await.map_err(late)?.map_err(|status| link.failed(&status))?.into_inner().chunks;
    *there = known;
    let sending = client.snapshot(link.request(outgoing.chunks_from(known)));
    let reply = timeout(ATTEMPT_MAX, sending).await.map_err(late)?.map_err(|status| link.failed(&status))?;
    let vote = wire::read_vote(reply.into_inner().vote).map_err(io::Error::other)?;
    Ok(SnapshotResponse::new(vote))
}

/// A state that is being sent.
struct Outgoing {
    header: proto::SnapshotHeader,
    state: mvcc::Snapshot,
    /// The chunks that were made so far.
    made: Arc<Mutex<Vec<Made>>>,
}

/// What is remembered of a chunk.
#[derive(Clone)]
struct Made {
    last_key: Bytes,
    records: u64,
    checksum: u32,
}

impl Outgoing {
    fn new(vote: Vote, snapshot: Snapshot) -> io::Result<Self> {
        let state = snapshot.snapshot;
        let revision = state.revision().get();
        let SnapshotMeta { last_log_id, last_membership } = snapshot.meta;
        let meta = Meta { applied: last_log_id, membership: last_membership, revision };
        let header = proto::SnapshotHeader {
            id: unlikely_twice(),
            vote: Some(wire::vote(&vote)),
            revision,
            meta: postcard::to_allocvec(&meta).map_err(io::Error::other)?.into(),
        };
        Ok(Self { header, state, made: Arc::default() })
    }

    /// The messages from a chunk on: made one by one, as the receiver takes them.
    fn chunks_from(&self, first: u64) -> impl Stream<Item = proto::SnapshotChunk> + Send + 'static + use<> {
        let (state, made) = (self.state.clone(), self.made.clone());
        let sent = self.header.clone();
        let mut header = Some(sent.clone());
        // It cannot have more than were made; if it says so all the same, it begins anew.
        let mut number = if first as usize <= made.lock().len() { first } else { 0 };
        let mut done = false;
        stream::iter(std::iter::from_fn(move || {
            if done {
                return None;
            }
            let after = number.checked_sub(1).and_then(|last| Some(made.lock().get(last as usize)?.last_key.clone()));
            let mut message = proto::SnapshotChunk { header: header.take(), number, ..proto::SnapshotChunk::default() };
            if let Some((records, chunk)) = make(&state, after.as_deref()) {
                message.records = records;
                message.checksum = chunk.checksum;
                let mut made = made.lock();
                made.truncate(number as usize);
                made.push(chunk);
                number += 1;
            } else {
                done = true;
                message.end = Some(end(&made.lock(), &sent, &state));
            }
            Some(message)
        }))
    }
}

/// The chunk behind a key; none behind the last.
fn make(state: &mvcc::Snapshot, after: Option<&[u8]>) -> Option<(Bytes, Made)> {
    let (mut out, mut value, mut last, mut records) = (Vec::new(), Vec::new(), None, 0);
    for record in state.range(b"", after) {
        value.clear();
        record.encode(&mut value);
        for part in [record.key(), &value] {
            out.put_u32_le(part.len() as u32);
            out.put_slice(part);
        }
        records += 1;
        last = Some(record);
        if out.len() >= CHUNK_BYTES {
            break;
        }
    }
    let last_key = last?.key_bytes();
    let checksum = crc32fast::hash(&out);
    Some((out.into(), Made { last_key, records, checksum }))
}

fn header_checksum(header: &proto::SnapshotHeader) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header.revision.to_le_bytes());
    hasher.update(&header.meta);
    hasher.finalize()
}

fn end(made: &[Made], header: &proto::SnapshotHeader, state: &mvcc::Snapshot) -> proto::SnapshotEnd {
    let mut all = crc32fast::Hasher::new();
    made.iter().for_each(|chunk| all.update(&chunk.checksum.to_le_bytes()));
    proto::SnapshotEnd {
        chunks: made.len() as u64,
        records: made.iter().map(|chunk| chunk.records).sum(),
        checksum: all.finalize(),
        digest: state.digest().to_bytes().to_vec().into(),
        header_checksum: Some(header_checksum(header)),
    }
}

/// A state that is coming in, one at a time.
#[derive(Clone, Default)]
pub(super) struct Incoming(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    state: Option<Partial>,
    /// Goes up with each attempt: what an earlier one still brings is not taken.
    attempt: u64,
}

struct Partial {
    from: u64,
    header: proto::SnapshotHeader,
    chunks: u64,
    records: u64,
    checksums: crc32fast::Hasher,
    builder: SnapshotBuilder,
    touched: Instant,
}

/// One call that brings chunks.
pub(super) struct Receiving {
    incoming: Incoming,
    attempt: u64,
}

/// A chunk that cannot be taken. What came before it stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("another attempt to send the state took over")]
    Superseded,
    #[error("chunk {0} came where {1} was expected")]
    OutOfOrder(u64, u64),
    #[error("chunk {0} is damaged")]
    Damaged(u64),
    #[error("the state is not what its end says")]
    Incomplete,
}

impl Incoming {
    /// How many chunks of a state are here.
    pub(super) fn progress(&self, from: u64, id: u64) -> u64 {
        let mut slot = self.0.lock();
        // Whoever asks goes on from here: an earlier call that did not notice its end may not add to it.
        slot.attempt += 1;
        slot.state.as_ref().filter(|state| state.is(from, id)).map_or(0, |state| state.chunks)
    }

    /// Begins a call with its first message's header.
    pub(super) fn begin(&self, from: u64, header: proto::SnapshotHeader) -> Receiving {
        let mut slot = self.0.lock();
        slot.attempt += 1;
        if !slot.state.as_ref().is_some_and(|state| state.is(from, header.id)) {
            slot.state = Some(Partial {
                from,
                header,
                chunks: 0,
                records: 0,
                checksums: crc32fast::Hasher::new(),
                builder: SnapshotBuilder::default(),
                touched: Instant::now(),
            });
        }
        Receiving { incoming: self.clone(), attempt: slot.attempt }
    }

    /// Lets go of a state that nobody went on with.
    pub(super) fn forget_old(&self) {
        let mut slot = self.0.lock();
        if slot.state.as_ref().is_some_and(|state| state.touched.elapsed() >= KEEP) {
            slot.state = None;
        }
    }
}

impl Receiving {
    /// Takes a message. The whole state and its leader's vote when it was the last.
    pub(super) fn take(&self, message: &proto::SnapshotChunk) -> Result<Option<(Vote, Snapshot)>, Refused> {
        let mut slot = self.incoming.0.lock();
        if slot.attempt != self.attempt {
            return Err(Refused::Superseded);
        }
        let state = slot.state.as_mut().ok_or(Refused::Superseded)?;
        if !message.records.is_empty() {
            state.add(message)?;
        }
        let Some(end) = &message.end else { return Ok(None) };
        let whole = end.chunks == state.chunks
            && end.records == state.records
            && end.checksum == state.checksums.clone().finalize()
            && end.header_checksum.is_none_or(|sum| sum == header_checksum(&state.header));
        // Complete or not, there is nothing to go on with.
        let state = slot.state.take().filter(|_| whole).ok_or(Refused::Incomplete)?;
        let (vote, snapshot) = state.finish().ok_or(Refused::Incomplete)?;
        match mvcc::Digest::from_bytes(&end.digest) {
            Some(digest) if digest != snapshot.snapshot.digest() => Err(Refused::Incomplete),
            _ => Ok(Some((vote, snapshot))),
        }
    }
}

impl Partial {
    fn is(&self, from: u64, id: u64) -> bool {
        self.from == from && self.header.id == id
    }

    fn add(&mut self, message: &proto::SnapshotChunk) -> Result<(), Refused> {
        if message.number != self.chunks {
            return Err(Refused::OutOfOrder(message.number, self.chunks));
        }
        let damaged = || Refused::Damaged(message.number);
        if crc32fast::hash(&message.records) != message.checksum {
            return Err(damaged());
        }
        let mut records = Vec::new();
        let mut rest = message.records.clone();
        while !rest.is_empty() {
            let (key, value) = (part(&mut rest).ok_or_else(damaged)?, part(&mut rest).ok_or_else(damaged)?);
            records.push(Record::decode(&key, value).map_err(|_| damaged())?);
        }
        self.chunks += 1;
        self.records += records.len() as u64;
        self.checksums.update(&message.checksum.to_le_bytes());
        self.touched = Instant::now();
        records.into_iter().for_each(|record| self.builder.push(record));
        Ok(())
    }

    fn finish(self) -> Option<(Vote, Snapshot)> {
        let meta: Meta = postcard::from_bytes(&self.header.meta).ok()?;
        let vote = wire::read_vote(self.header.vote).ok()?;
        let snapshot = self.builder.finish(self.header.revision);
        let meta = SnapshotMeta { last_log_id: meta.applied, last_membership: meta.membership };
        Some((vote, Snapshot { meta, snapshot }))
    }
}

fn part(input: &mut Bytes) -> Option<Bytes> {
    let length = input.try_get_u32_le().ok()? as usize;
    (length <= input.len()).then(|| input.split_to(length))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;
    use crate::tests::create;

    fn outgoing(keys: usize) -> Outgoing {
        let store = mvcc::Store::new(mvcc::Limits::default());
        for number in 0..keys {
            store.apply(&create(&format!("/k/{number:03}"), 10_000), Instant::now());
        }
        Outgoing::new(Vote::new_committed(3, 1), Snapshot { meta: SnapshotMeta::default(), snapshot: store.snapshot() })
            .unwrap()
    }

    fn messages(outgoing: &Outgoing, from: u64) -> Vec<proto::SnapshotChunk> {
        futures::executor::block_on(outgoing.chunks_from(from).collect())
    }

    fn header(message: &proto::SnapshotChunk) -> proto::SnapshotHeader {
        message.header.clone().unwrap()
    }

    #[test]
    fn a_state_arrives_whole_however_often_the_connection_breaks() {
        for keys in [0, 1, 26, 27, 100] {
            let outgoing = outgoing(keys);
            let incoming = Incoming::default();
            let mut arrived = None;
            for _ in 0..100 {
                let from = incoming.progress(1, outgoing.header.id);
                let all = messages(&outgoing, from);
                let receiving = incoming.begin(1, header(&all[0]));
                // One message a connection.
                arrived = receiving.take(&all[0]).unwrap();
                if arrived.is_some() {
                    break;
                }
            }
            let (vote, snapshot) = arrived.expect("it comes to its end");
            assert_eq!(vote, Vote::new_committed(3, 1));
            assert_eq!(snapshot.snapshot.revision(), outgoing.state.revision());
            let keys_of = |state: &mvcc::Snapshot| state.range(b"", None).map(|r| r.key_bytes()).collect::<Vec<_>>();
            assert_eq!(keys_of(&snapshot.snapshot), keys_of(&outgoing.state));
            assert_eq!(snapshot.snapshot.len(), keys);
        }
    }

    #[test]
    fn damage_and_gaps_are_refused_and_what_came_before_stays() {
        let outgoing = outgoing(100);
        let all = messages(&outgoing, 0);
        let incoming = Incoming::default();
        let receiving = incoming.begin(1, header(&all[0]));
        assert!(matches!(receiving.take(&all[0]), Ok(None)));
        let mut bad = all[1].clone();
        let mut bytes = bad.records.to_vec();
        bytes[77] ^= 1;
        bad.records = bytes.into();
        assert!(matches!(receiving.take(&bad), Err(Refused::Damaged(1))));
        assert!(matches!(receiving.take(&all[2]), Err(Refused::OutOfOrder(2, 1))));
        assert_eq!(incoming.progress(1, outgoing.header.id), 1);
        assert_eq!(incoming.progress(2, outgoing.header.id), 0, "another sender's is another state");
        assert!(matches!(receiving.take(&all[1]), Err(Refused::Superseded)), "somebody asked to go on");
        // A header that changed on its way, and another state with right checksums.
        for spoil in [
            (|header, _| header.revision += 1) as fn(&mut proto::SnapshotHeader, &mut proto::SnapshotEnd),
            |header, _| header.meta = vec![0; header.meta.len()].into(),
            |_, end| end.digest = mvcc::Digest::of([1, 2, 3], b"").to_bytes().to_vec().into(),
        ] {
            let mut all = messages(&outgoing, 0);
            let (mut first, mut end) = (header(&all[0]), all.last().unwrap().end.clone().unwrap());
            first.id += 1;
            spoil(&mut first, &mut end);
            all.last_mut().unwrap().end = Some(end);
            let receiving = incoming.begin(1, first);
            let (last, before) = all.split_last().unwrap();
            before.iter().for_each(|message| assert!(matches!(receiving.take(message), Ok(None))));
            assert!(matches!(receiving.take(last), Err(Refused::Incomplete)));
        }
        let receiving = incoming.begin(1, header(&all[0]));
        assert!(matches!(receiving.take(&all[0]), Ok(None)));
        // An end that leaves something out.
        let receiving = incoming.begin(1, header(&all[0]));
        assert!(matches!(receiving.take(all.last().unwrap()), Err(Refused::Incomplete)));
    }
}
