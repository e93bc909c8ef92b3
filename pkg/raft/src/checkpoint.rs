//! The state on disk: what a restart begins with, before it applies the log again.
//!
//! All changes since the last checkpoint and the applied index go in with one redb transaction. It runs behind the log
//! and off the path of writes; if it fails it is tried again later, and the log is kept so much longer.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mvcc::Record;
use parking_lot::Mutex;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, RedbFile};
use crate::types::{LogId, StoredMembership};

const FILE: &str = "state.redb";
const NEW_FILE: &str = "state.redb.new";
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
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
    pub(crate) fn load(&self) -> Result<(Meta, Vec<Record>), CheckpointError> {
        let database = self.database.lock();
        let Some(database) = &*database else { return Ok((Meta::default(), Vec::new())) };
        let transaction = database.begin_read()?;
        let meta = match transaction.open_table(META)?.get("state")? {
            Some(bytes) => postcard::from_bytes(bytes.value()).map_err(|error| damaged(&error))?,
            None => Meta::default(),
        };
        let mut records = Vec::new();
        for row in transaction.open_table(OBJECTS)?.iter()? {
            let (key, value) = row?;
            let value = Bytes::copy_from_slice(value.value());
            records.push(Record::decode(key.value(), value).map_err(|error| damaged(&error))?);
        }
        Ok((meta, records))
    }

    /// Adds changes. All or nothing, durable on return.
    pub(crate) fn write(&self, meta: &Meta, changes: &Changes) -> Result<(), CheckpointError> {
        let mut buffer = Vec::new();
        self.commit(meta, false, |table| {
            // In order of keys: pages next to each other are touched once.
            let mut keys: Vec<_> = changes.keys().collect();
            keys.sort_unstable();
            for key in keys {
                match &changes[key] {
                    Some(record) => {
                        buffer.clear();
                        record.encode(&mut buffer);
                        table.insert(&**key, &*buffer)?;
                    }
                    None => {
                        table.remove(&**key)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// What a member with the planted bug takes over from another.
    #[cfg(test)]
    pub(crate) fn with_bugs(&self, meta: Meta) -> Meta {
        match self.disk.bug() {
            Some(crate::disk::Bug::MembersLeftOut) => Meta { membership: StoredMembership::default(), ..meta },
            _ => meta,
        }
    }

    /// Replaces everything.
    pub(crate) fn replace(&self, meta: &Meta, snapshot: &mvcc::Snapshot) -> Result<(), CheckpointError> {
        let mut buffer = Vec::new();
        self.commit(meta, true, |table| {
            for record in snapshot.range(b"", None) {
                buffer.clear();
                record.encode(&mut buffer);
                table.insert(record.key(), &*buffer)?;
            }
            Ok(())
        })
    }

    fn commit(
        &self,
        meta: &Meta,
        anew: bool,
        fill: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), CheckpointError> {
        let mut database = self.database.lock();
        #[cfg(test)]
        if self.disk.bug() == Some(crate::disk::Bug::AppliedApart) {
            let transaction = usable(&mut database, &*self.disk)?.begin_write()?;
            let bytes = postcard::to_allocvec(meta).map_err(|error| damaged(&error))?;
            transaction.open_table(META)?.insert("state", &*bytes)?;
            transaction.commit()?;
        }
        let result = (|| {
            let mut transaction = usable(&mut database, &*self.disk)?.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            // Keys and bodies are chosen by users: commits must not be confused by what looks like a checksum. It also
            // makes the next start quick after a crash.
            transaction.set_quick_repair(true);
            if anew {
                transaction.delete_table(OBJECTS)?;
            }
            fill(&mut transaction.open_table(OBJECTS)?)?;
            let bytes = postcard::to_allocvec(meta).map_err(|error| damaged(&error))?;
            transaction.open_table(META)?.insert("state", &*bytes)?;
            transaction.commit()?;
            Ok(())
        })();
        if result.is_err() {
            // After a failed write redb wants to be opened again.
            *database = None;
        }
        result
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

fn open(disk: &dyn Disk) -> Result<Database, CheckpointError> {
    if !Checkpoint::exists(disk)? {
        make(disk)?;
    }
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(RedbFile(disk.open(FILE, false)?))?)
}

/// Makes an empty database. It gets its name when it is whole: a start that is cut short leaves none.
fn make(disk: &dyn Disk) -> Result<(), CheckpointError> {
    let file = disk.open(NEW_FILE, true)?;
    file.set_len(0)?;
    let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(RedbFile(file))?;
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
