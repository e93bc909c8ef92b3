use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mvcc::{Operation, OutOfRange, Precondition, Revision, Store, Transaction};
use raft::{Node, OpenError, PeerConfig, ProposeError};

use crate::{At, Companion, ListOptions, NewObject, Page, StoredObject, Watch, list};

pub use raft::Statistics;

/// Log entries that another server may be behind and still catches up by the log. One that needs the whole state ends its
/// watches.
const ENTRIES_KEPT: u64 = 8192;

/// How the store is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Memory that recent changes may hold; watches and exact reads reach back as far as they do.
    pub history_bytes_max: usize,
    /// How long recent changes are kept.
    pub history_age_max: Duration,
    /// The largest object, in bytes of JSON.
    pub object_bytes_max: usize,
    /// How long a write waits for its turn, and again for its commit.
    pub write_timeout: Duration,
    /// Log bytes after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// How this server's store talks to those of others; none for a single server.
    pub peers: Option<PeerConfig>,
    /// A store without data does not form a group of its own but waits to be added to one.
    pub join: bool,
    /// Bytes of memory that the objects and their past may take; 0 for no limit.
    pub quota_bytes: u64,
    /// Keys that begin with one of these are written beyond that, within a reserve.
    pub quota_exempt: Vec<String>,
}

impl Config {
    /// The defaults.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            history_bytes_max: 64 << 20,
            history_age_max: Duration::from_secs(10 * 60),
            object_bytes_max: 3 << 19,
            write_timeout: Duration::from_secs(20),
            checkpoint_bytes: 16 << 20,
            peers: None,
            join: false,
            quota_bytes: 0,
            quota_exempt: Vec::new(),
        }
    }
}

/// Why a request was not served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// There is an object of that key.
    #[error("key already exists: {key}")]
    KeyExists {
        /// The key.
        key: String,
    },
    /// The revision is too old; list again.
    #[error("required revision has been compacted")]
    Compacted {
        /// The oldest revision that can be asked for.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    #[error("Too large resource version: {requested}, current: {current}")]
    TooLarge {
        /// What was asked for.
        requested: u64,
        /// The newest there is.
        current: Revision,
    },
    /// The object is larger than the limit.
    #[error("the object is too large: {bytes} bytes, at most {limit} are stored")]
    ObjectTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The store is as large as it may become, and the write would make it larger; the text says what to do.
    #[error("{0}")]
    NoSpace(String),
    /// The write may or may not happen still.
    #[error("the write was not confirmed in time; it may still happen")]
    Unconfirmed,
    /// The request was refused and changed nothing; the text says why. Trying again later may help.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

impl StorageError {
    pub(crate) fn from_propose(error: &ProposeError) -> Self {
        match error {
            // What was under way when the store stopped may be in its log.
            ProposeError::Timeout | ProposeError::Stopped(_) => Self::Unconfirmed,
            ProposeError::NoSpace(why) => Self::NoSpace(why.clone()),
            other => Self::Unavailable(other.to_string()),
        }
    }

    /// The same for what writes nothing.
    pub(crate) fn from_read(error: &ProposeError) -> Self {
        Self::Unavailable(error.to_string())
    }

    pub(crate) fn out_of_range(error: OutOfRange, requested: u64) -> Self {
        match error {
            OutOfRange::Compacted { floor } => Self::Compacted { compacted: floor },
            OutOfRange::Future { current } => Self::TooLarge { requested, current },
        }
    }
}

/// What the past may take. It counts against the quota, and must not use it up.
fn history_bytes(config: &Config) -> usize {
    const SHARE: u64 = 8;
    match config.quota_bytes / SHARE {
        0 => config.history_bytes_max,
        share => config.history_bytes_max.min(usize::try_from(share).unwrap_or(usize::MAX)),
    }
}

/// What changed before a write could be done, which so was not.
pub(crate) enum Beaten {
    /// The object; this is what is there.
    Object(Option<StoredObject>),
    /// A companion.
    Companion,
}

/// The objects. Clones share it.
#[derive(Clone)]
pub struct Storage {
    inner: Arc<Inner>,
}

struct Inner {
    node: Node,
    object_bytes_max: usize,
}

impl Storage {
    /// Opens the store of a data directory; the first time it is made there. That of a single server can be written to
    /// and shows every acknowledged write when this returns; with peers, [`Self::ready`] waits for that.
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        let mut node = raft::Config::new(&config.data_dir);
        node.limits.ring_bytes_max = history_bytes(&config);
        node.limits.ring_age_max = config.history_age_max;
        node.proposal_timeout = config.write_timeout;
        node.checkpoint_bytes = config.checkpoint_bytes;
        if config.peers.is_some() {
            node.entries_kept = ENTRIES_KEPT;
        }
        node.peers = config.peers;
        node.join = config.join;
        node.quota_bytes = config.quota_bytes;
        node.quota_exempt = config.quota_exempt.into_iter().map(Bytes::from).collect();
        let node = Node::open(node).await?;
        Ok(Self { inner: Arc::new(Inner { node, object_bytes_max: config.object_bytes_max }) })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.inner.node
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        self.inner.node.store()
    }

    /// Writes an object whose key must be free.
    pub async fn create(&self, key: &str, object: NewObject) -> Result<StoredObject, StorageError> {
        let created = self.create_with(key, object, Vec::new()).await?;
        created.ok_or_else(|| StorageError::KeyExists { key: key.to_owned() })
    }

    /// As [`Self::create`], in one step with changes of others. `None`: one of these changed since it was seen, and nothing
    /// is written.
    pub async fn create_with(
        &self,
        key: &str,
        object: NewObject,
        companions: Vec<Companion>,
    ) -> Result<Option<StoredObject>, StorageError> {
        let exists = || StorageError::KeyExists { key: key.to_owned() };
        // What is there is there for good enough: no need to ask the log. In a group it may be gone elsewhere.
        if self.store().get(key.as_bytes()).is_some() {
            self.read_barrier().await?;
            if self.store().get(key.as_bytes()).is_some() {
                return Err(exists());
            }
        }
        let precondition = Precondition::Absent { key: Bytes::copy_from_slice(key.as_bytes()) };
        match self.write(precondition, self.put(key, object)?, companions).await? {
            Ok(stored) => Ok(Some(stored)),
            Err(Beaten::Companion) => Ok(None),
            Err(Beaten::Object(_)) => Err(exists()),
        }
    }

    pub(crate) fn put(&self, key: &str, object: NewObject) -> Result<Operation, StorageError> {
        let limit = self.inner.object_bytes_max;
        if object.body.len() > limit {
            return Err(StorageError::ObjectTooLarge { bytes: object.body.len(), limit });
        }
        Ok(Operation::Put {
            key: Bytes::copy_from_slice(key.as_bytes()),
            attributes: object.attributes.encode(),
            body: object.body,
            stamp_at: object.stamp_at,
        })
    }

    /// Does one operation if its precondition holds, and with it changes the companions if all are as they were seen.
    pub(crate) async fn write(
        &self,
        precondition: Precondition,
        operation: Operation,
        companions: Vec<Companion>,
    ) -> Result<Result<StoredObject, Beaten>, StorageError> {
        let mut transaction = Transaction { preconditions: vec![precondition], operations: vec![operation] };
        for Companion { seen, object } in companions {
            transaction.preconditions.push(Precondition::unchanged(seen.record()));
            transaction.operations.push(self.put(seen.key(), object)?);
        }
        let proposed = self.inner.node.propose(&transaction).await;
        match proposed.map_err(|error| StorageError::from_propose(&error))? {
            mvcc::Outcome::Committed(events) => match events.first() {
                Some(event) => Ok(Ok(StoredObject::new(event.record.clone()))),
                None => Ok(Err(Beaten::Object(None))),
            },
            mvcc::Outcome::Conflict { precondition: 0, current } => {
                Ok(Err(Beaten::Object(current.map(StoredObject::new))))
            }
            mvcc::Outcome::Conflict { .. } => Ok(Err(Beaten::Companion)),
            mvcc::Outcome::Malformed(error) => Err(StorageError::Unavailable(error.to_string())),
        }
    }

    /// The newest version of an object that this server has. No I/O, no parsing. In a group, others may have a newer one:
    /// see [`Self::read_barrier`].
    pub fn get(&self, key: &str) -> Option<StoredObject> {
        self.store().get(key.as_bytes()).map(StoredObject::new)
    }

    /// As [`Self::get`], of the state that `at` says, with its revision.
    pub fn get_at(&self, key: &str, at: At) -> Result<(Option<StoredObject>, Revision), StorageError> {
        let snapshot = list::snapshot(self.store(), at)?;
        Ok((snapshot.get(key.as_bytes()).map(StoredObject::new), snapshot.revision()))
    }

    /// Returns when reads show every write that was acknowledged anywhere before the call. Costs nothing on a single
    /// server; in a group it is one question to the leader for all who ask at the same time. An error when no majority of
    /// the servers is in touch: what is here can be read all the same, and may be old.
    pub async fn read_barrier(&self) -> Result<(), StorageError> {
        self.inner.node.read_barrier().await.map_err(|error| StorageError::from_read(&error))
    }

    /// The objects whose keys start with `prefix` (which ends in `/`), in order of keys, at one revision.
    pub fn list(&self, prefix: &str, options: &ListOptions) -> Result<Page, StorageError> {
        list::list(self.store(), prefix, options)
    }

    /// How many objects there are now whose keys start with `prefix` (which ends in `/`), without looking at them.
    pub fn count(&self, prefix: &str) -> usize {
        self.store().snapshot().count_after(prefix.as_bytes(), prefix.as_bytes())
    }

    /// Follows the changes of a prefix after revision `from`, which may be still to come. A prefix that does not end in `/`
    /// is one whole key.
    pub fn watch(&self, prefix: &str, from: u64) -> Result<Watch, StorageError> {
        let watcher = self.store().watch(prefix.as_bytes(), from);
        watcher.map(Watch::new).map_err(|error| StorageError::out_of_range(error, from))
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.store().revision()
    }

    /// The oldest revision that watches and exact lists can ask for.
    pub fn compacted(&self) -> Revision {
        self.store().compacted()
    }

    /// Counters and sizes, for metrics.
    pub fn statistics(&self) -> Statistics {
        self.inner.node.statistics()
    }

    /// Stops, after another server took the lead over if this one had it: watches end, writes are refused, the data directory is free afterwards.
    pub async fn shutdown(&self) {
        self.inner.node.shutdown().await;
    }
}
