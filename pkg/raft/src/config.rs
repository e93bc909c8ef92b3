//! What a member is told, and what it tells.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::log::LogConfig;
use crate::peer::PeerConfig;

/// How a member is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// How this member talks to others; none for a single server.
    pub peers: Option<PeerConfig>,
    /// A member without data does not form a group of its own but waits to be added to one.
    pub join: bool,
    /// How much of the past the store keeps.
    pub limits: mvcc::Limits,
    /// Log bytes after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// Entries that a checkpoint leaves in the log, so that a peer that is a little behind needs no snapshot.
    pub entries_kept: u64,
    /// Length of a log segment.
    pub segment_bytes: u64,
    /// Bytes of proposals that may be under way.
    pub proposals_bytes_max: u32,
    /// How long a proposal waits for its turn, and again for its commit.
    pub proposal_timeout: Duration,
    /// How long a read waits for the word of a majority.
    pub read_timeout: Duration,
    /// Bytes that the state with its past may have; 0 for no limit. What makes it larger than that is refused.
    pub quota_bytes: u64,
    /// Keys that begin with one of these are written beyond it, as long as its reserve lasts.
    pub quota_exempt: Vec<Bytes>,
    /// How often the members compare their states.
    pub compare_every: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            peers: None,
            join: false,
            limits: mvcc::Limits::default(),
            checkpoint_bytes: 16 << 20,
            entries_kept: 256,
            segment_bytes: LogConfig::default().segment_bytes,
            proposals_bytes_max: 64 << 20,
            proposal_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(5),
            quota_bytes: 0,
            quota_exempt: Vec::new(),
            compare_every: Duration::from_secs(5 * 60),
        }
    }
}

/// Why a transaction has no known outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The disk cannot take it. Nothing was written.
    #[error("the store cannot write to its disk: {0}; free space or repair the disk, writes go on by themselves then")]
    Disk(String),
    /// Too many writes are under way. Nothing was written.
    #[error("the store has too many writes under way, try again later")]
    Overloaded,
    /// Larger than the log takes. Nothing was written.
    #[error("a write of {0} bytes is larger than the store takes")]
    TooLarge(usize),
    /// The state is as large as it may become. Nothing was written.
    #[error("{0}")]
    NoSpace(String),
    /// Another member leads.
    #[error("this member does not lead the store{}", leader.as_ref().map(|leader| format!(", {leader} does")).unwrap_or_default())]
    NotLeader {
        /// The leader, or what is known of why there is none.
        leader: Option<String>,
    },
    /// No majority of the members is in touch. Nothing was written.
    #[error("the store has no leader: {0}")]
    NoQuorum(String),
    /// The group cannot be changed like that, or not now.
    #[error("the members of the store cannot be changed: {0}")]
    Membership(String),
    /// It may or may not still be written.
    #[error("the write was not confirmed in time; it may still happen")]
    Timeout,
    /// The member is shut down, or failed beyond going on.
    #[error("the store has stopped: {0}")]
    Stopped(String),
}

/// Counters and sizes, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// fdatasync calls of the log.
    pub fsyncs: u64,
    /// Frames (batches of entries) written.
    pub frames: u64,
    /// Bytes written to the log.
    pub log_bytes: u64,
    /// Failed attempts to write the log.
    pub log_failures: u64,
    /// Bytes of the log's files.
    pub log_size: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Checkpoints that failed and were or will be tried again.
    pub checkpoint_failures: u64,
    /// Bytes of the checkpoint file.
    pub checkpoint_size: u64,
    /// Index of the newest applied log entry.
    pub applied_index: u64,
    /// Times that this member asked a majority, or the leader, how new reads have to be.
    pub read_rounds: u64,
    /// Bytes that the state with its past may have; 0 for no limit.
    pub quota_bytes: u64,
    /// The store's own.
    pub store: mvcc::Statistics,
}
