use bytes::Bytes;
use futures::future::BoxFuture;
use mvcc::{Operation, Precondition};

use crate::{NewObject, Storage, StorageError, StoredObject};

/// What an update wants done.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Write this.
    Put(NewObject),
    /// Remove the object.
    Delete,
}

/// What an update did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Nothing; this is what is there.
    Unchanged(Option<StoredObject>),
    /// It wrote this.
    Put(StoredObject),
    /// It removed this; the object carries the deletion's revision.
    Deleted(StoredObject),
}

/// Why an update did nothing.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The caller's function refused.
    #[error("{0}")]
    Refused(E),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// Changes one object as `change` says. It is shown the newest version and called again with a newer one whenever
    /// the object changed before its answer could be written; so it never overwrites what it has not seen.
    pub async fn guaranteed_update<'a, E, F>(&self, key: &str, mut change: F) -> Result<Outcome, UpdateError<E>>
    where
        F: FnMut(Option<StoredObject>) -> BoxFuture<'a, Result<Change, E>> + Send,
    {
        let mut current = self.get(key);
        loop {
            let wanted = change(current.clone()).await.map_err(UpdateError::Refused)?;
            let (operation, deletes) = match wanted {
                Change::Keep => return Ok(Outcome::Unchanged(current)),
                Change::Put(object) => {
                    if current.as_ref().is_some_and(|current| current.same_as(&object)) {
                        // A write that changes nothing makes no revision and wakes no watcher.
                        return Ok(Outcome::Unchanged(current));
                    }
                    (self.put(key, object)?, false)
                }
                Change::Delete if current.is_none() => return Ok(Outcome::Unchanged(None)),
                Change::Delete => (Operation::Delete { key: Bytes::copy_from_slice(key.as_bytes()) }, true),
            };
            let precondition = match &current {
                Some(object) => Precondition::unchanged(object.record()),
                None => Precondition::Absent { key: Bytes::copy_from_slice(key.as_bytes()) },
            };
            match self.write(precondition, operation).await? {
                Ok(object) if deletes => return Ok(Outcome::Deleted(object)),
                Ok(object) => return Ok(Outcome::Put(object)),
                Err(there) => current = there,
            }
        }
    }
}
