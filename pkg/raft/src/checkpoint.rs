//! The state on disk: what a restart begins with, before it applies the log again.
//!
//! All changes since the last checkpoint and the applied index go in with one redb transaction. It runs behind the log
//! and off the path of writes; if it fails it is tried again later, and the log is kept so much longer. A whole state goes
//! into a new file, in steps, which then takes the old one's name: that of another member, and the own one when most of
//! the file is free pages.
//!
//! Each record is kept with its digest, and a seal beside the applied index says how many records there are and what their
//! digests come to. redb checks its pages only after a crash; this finds whatever else changed on disk at the next start.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use mvcc::{Digest, Record, Snapshot};
use parking_lot::Mutex;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, RedbFile};
use crate::types::{LogId, StoredMembership};

pub(crate) const FILE: &str = "state.redb";
const NEW_FILE: &str = "state.redb.new";
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const STATE: &str = "state";
const SEAL: &str = "seal";
/// A step of writing a whole state ends with the record that reaches one of these: it is synced as one, and the log's syncs
/// wait for it.
const STEP_RECORDS: usize = 1024;
const STEP_BYTES: usize = 4 << 20;
/// The state is in memory: redb only needs enough to write.
const CACHE_BYTES: usize = 8 << 20;

/// Changes by key: the newest version, or none for a deletion.
pub(crate) type Changes = HashMap<Bytes, Option<Arc<Record>>>;

/// What a checkpoint knows beside the objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) revision: u64,
}

/// Why the checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Io(io::Error),
    #[error("{0}")]
    Damaged(String),
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<redb::Error> for CheckpointError {
    fn from(error: redb::Error) -> Self {
        match error {
            // How redb says that a file is not its own, or too short.
            redb::Error::Io(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            error => Self::Damaged(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for CheckpointError {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError, SetDurabilityError);

/// What a checkpoint holds.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) meta: Meta,
    pub(crate) records: Vec<Record>,
    /// Written by a version that kept no digests: it has to be written anew.
    pub(crate) unsealed: bool,
}

/// What writing a whole state took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) count: usize,
    /// Records of the largest.
    pub(crate) records_max: usize,
}

/// The database. One writer at a time.
pub(crate) struct Checkpoint {
    disk: Arc<dyn Disk>,
    database: Mutex<Option<Database>>,
}

impl Checkpoint {
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<Self, CheckpointError> {
        // The first checkpoint makes the file; a first start has better things to do.
        let database = if Self::exists(&*disk)? { Some(open(&*disk)?) } else { None };
        Ok(Self { disk, database: Mutex::new(database) })
    }

    /// Whether a checkpoint file is there.
    pub(crate) fn exists(disk: &dyn Disk) -> io::Result<bool> {
        Ok(disk.list()?.iter().any(|name| name == FILE))
    }

    /// Reads everything.
    pub(crate) fn load(&self) -> Result<Loaded, CheckpointError> {
        let database = self.database.lock();
        let Some(database) = &*database else { return Ok(Loaded::default()) };
        let mut records = Vec::new();
        let (meta, sealed) = guarded(|| {
            read(database, |_, record| {
                records.push(record.map_err(CheckpointError::Damaged)?);
                Ok(())
            })
        })?;
        Ok(Loaded { meta, records, unsealed: !sealed })
    }

    /// Adds changes, of which `state` is the outcome. All or nothing, durable on return.
    pub(crate) fn write(&self, meta: &Meta, changes: &Changes, state: &Snapshot) -> Result<(), CheckpointError> {
        let mut database = self.database.lock();
        #[cfg(test)]
        if self.disk.bug() == Some(crate::disk::Bug::AppliedApart) {
            let mut transaction = usable(&mut database, &*self.disk)?.begin_write()?;
            commit(&mut transaction, Some((meta, state)), |_| Ok(()))?;
            transaction.commit()?;
        }
        let result = (|| {
            let mut transaction = usable(&mut database, &*self.disk)?.begin_write()?;
            let mut buffer = Vec::new();
            commit(&mut transaction, Some((meta, state)), |table| {
                // In order of keys: pages next to each other are touched once.
                let mut changes: Vec<_> = changes.iter().collect();
                changes.sort_unstable_by_key(|(key, _)| *key);
                for (key, change) in changes {
                    match change {
                        Some(record) => insert(table, record, &mut buffer)?,
                        None => {
                            table.remove(&**key)?;
                        }
                    }
                }
                Ok(())
            })?;
            Ok(transaction.commit()?)
        })();
        if result.is_err() {
            // After a failed write redb wants to be opened again.
            *database = None;
        }
        result
    }

    /// What a member with the planted bug takes over from another.
    #[cfg(test)]
    pub(crate) fn with_bugs(&self, meta: Meta) -> Meta {
        match self.disk.bug() {
            Some(crate::disk::Bug::MembersLeftOut) => Meta { membership: StoredMembership::default(), ..meta },
            _ => meta,
        }
    }

    /// Puts a new file in the place of what is there. All or nothing, durable on return.
    pub(crate) fn replace(&self, meta: &Meta, state: &Snapshot) -> Result<Steps, CheckpointError> {
        // Others wait that would write to the old file; reading and writing the state does not come here.
        let mut database = self.database.lock();
        let steps = fill(&*self.disk, meta, state).inspect_err(|_| {
            // It would only take space, which may be what is missing.
            let _ = self.disk.remove(NEW_FILE);
        })?;
        *database = None;
        self.disk.rename(NEW_FILE, FILE)?;
        self.disk.sync()?;
        Ok(steps)
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        *self.database.lock() = None;
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.disk.open(FILE, false).and_then(|file| file.len()).unwrap_or(0)
    }
}

/// Fills a new file with a state, a few records at a time.
fn fill(disk: &dyn Disk, meta: &Meta, state: &Snapshot) -> Result<Steps, CheckpointError> {
    let database = new_file(disk)?;
    let (mut after, mut buffer, mut steps) = (None::<Bytes>, Vec::new(), Steps::default());
    loop {
        let (mut records, mut bytes, mut last) = (0, 0, None);
        let mut transaction = database.begin_write()?;
        let mut rest = state.range(b"", after.as_deref());
        commit(&mut transaction, None, |table| {
            for record in rest.by_ref().take(STEP_RECORDS) {
                insert(table, &record, &mut buffer)?;
                records += 1;
                bytes += buffer.len();
                last = Some(record.key_bytes());
                if bytes >= STEP_BYTES {
                    break;
                }
            }
            Ok(())
        })?;
        let done = rest.next().is_none();
        if done {
            commit(&mut transaction, Some((meta, state)), |_| Ok(()))?;
        }
        transaction.commit()?;
        steps = Steps { count: steps.count + 1, records_max: steps.records_max.max(records) };
        if done {
            return Ok(steps);
        }
        after = last;
    }
}

/// Adds to a transaction, with the seal of the state if it is whole then.
fn commit(
    transaction: &mut redb::WriteTransaction,
    whole: Option<(&Meta, &Snapshot)>,
    fill: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), redb::StorageError>,
) -> Result<(), CheckpointError> {
    transaction.set_durability(Durability::Immediate)?;
    // Keys and bodies are chosen by users: commits must not be confused by what looks like a checksum. It also makes the
    // next start quick after a crash.
    transaction.set_quick_repair(true);
    fill(&mut transaction.open_table(OBJECTS)?)?;
    if let Some((meta, state)) = whole {
        let bytes = postcard::to_allocvec(meta).map_err(|error| damaged(&error))?;
        let seal = seal(&bytes, state.digest(), state.len() as u64);
        let mut table = transaction.open_table(META)?;
        table.insert(STATE, &*bytes)?;
        table.insert(SEAL, &*seal)?;
    }
    Ok(())
}

fn insert(
    table: &mut redb::Table<'_, &[u8], &[u8]>,
    record: &Record,
    buffer: &mut Vec<u8>,
) -> Result<(), redb::StorageError> {
    buffer.clear();
    record.encode(buffer);
    buffer.extend_from_slice(&record.digest().to_bytes());
    table.insert(record.key(), &**buffer)?;
    Ok(())
}

/// The digest of all records, their number, and what makes both belong to the applied index and the members.
fn seal(meta: &[u8], digest: Digest, records: u64) -> Vec<u8> {
    let bytes = digest.to_bytes();
    let check = Digest::of([records, 0, 0], &[&bytes, meta].concat());
    [&bytes[..], &records.to_le_bytes(), &check.to_bytes()].concat()
}

/// Shows every record with its key, or what is wrong with it, to `visit`; then checks that they are all there. Says
/// whether they have digests.
pub(crate) fn read(
    database: &Database,
    mut visit: impl FnMut(&[u8], Result<Record, String>) -> Result<(), CheckpointError>,
) -> Result<(Meta, bool), CheckpointError> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(META)?;
    let bytes = table.get(STATE)?.map(|bytes| bytes.value().to_vec());
    let found = table.get(SEAL)?.map(|bytes| bytes.value().to_vec());
    let (mut digest, mut records) = (Digest::default(), 0_u64);
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = row?;
        let record = unseal(key.value(), value.value(), found.is_some());
        if let Ok(record) = &record {
            digest += record.digest();
        }
        records += 1;
        visit(key.value(), record)?;
    }
    let meta = match &bytes {
        Some(bytes) => postcard::from_bytes(bytes).map_err(|error| damaged(&error))?,
        None if records > 0 || found.is_some() => {
            return Err(CheckpointError::Damaged("it does not say which entry was applied last".to_owned()));
        }
        None => Meta::default(),
    };
    match found {
        Some(found) if found != seal(&bytes.unwrap_or_default(), digest, records) => Err(CheckpointError::Damaged(
            format!("its {records} records are not those that were written with the applied index"),
        )),
        found => Ok((meta, found.is_some())),
    }
}

/// Shows every record of the file, or what is wrong with it, and has redb compare all its pages with their checksums.
/// `disk` is written to where redb repairs what a loss of power left.
pub(crate) fn inspect(disk: &dyn Disk, mut visit: impl FnMut(Result<Record, String>)) -> Result<Meta, CheckpointError> {
    let mut database = open(disk)?;
    let whole = guarded(|| Ok(database.check_integrity()?));
    let read = guarded(|| {
        read(&database, |_, record| {
            visit(record);
            Ok(())
        })
    });
    match (read, whole) {
        (Ok(_), Ok(false)) => Err(CheckpointError::Damaged("a page of it does not match its checksum".to_owned())),
        (Ok(_), Err(error)) => Err(error),
        (read, _) => read.map(|(meta, _)| meta),
    }
}

fn unseal(key: &[u8], value: &[u8], sealed: bool) -> Result<Record, String> {
    let named = |what: &dyn std::fmt::Display| format!("the record of {}: {what}", String::from_utf8_lossy(key));
    let at = if sealed { value.len().saturating_sub(Digest::BYTES) } else { value.len() };
    let (value, digest) = value.split_at(at);
    let record = Record::decode(key, Bytes::copy_from_slice(value)).map_err(|error| named(&error))?;
    match Digest::from_bytes(digest) {
        Some(digest) if digest == record.digest() => Ok(record),
        None if !sealed => Ok(record),
        _ => Err(named(&"it does not match its checksum")),
    }
}

/// redb trusts its pages: one that is damaged may make it panic, which is damage all the same.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, CheckpointError>) -> Result<T, CheckpointError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(CheckpointError::Damaged("a page of it makes no sense".to_owned())))
}

fn open(disk: &dyn Disk) -> Result<Database, CheckpointError> {
    if !Checkpoint::exists(disk)? {
        make(disk)?;
    }
    let file = RedbFile(disk.open(FILE, false)?);
    guarded(|| Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file)?))
}

/// An empty database that has not its name yet.
fn new_file(disk: &dyn Disk) -> Result<Database, CheckpointError> {
    let file = disk.open(NEW_FILE, true)?;
    file.set_len(0)?;
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(RedbFile(file))?)
}

/// Makes an empty database. It gets its name when it is whole: a start that is cut short leaves none.
fn make(disk: &dyn Disk) -> Result<(), CheckpointError> {
    let database = new_file(disk)?;
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    drop(database);
    disk.rename(NEW_FILE, FILE)?;
    disk.sync()?;
    Ok(())
}

fn usable<'a>(database: &'a mut Option<Database>, disk: &dyn Disk) -> Result<&'a Database, CheckpointError> {
    if database.is_none() {
        *database = Some(open(disk)?);
    }
    database.as_ref().ok_or_else(|| CheckpointError::Damaged("not open".to_owned()))
}

fn damaged(error: &dyn std::error::Error) -> CheckpointError {
    CheckpointError::Damaged(error.to_string())
}
