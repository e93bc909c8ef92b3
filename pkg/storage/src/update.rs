use bytes::Bytes;
use futures::future::BoxFuture;
use mvcc::{Operation, Precondition};

use crate::storage::Beaten;
use crate::{NewObject, Storage, StorageError, StoredObject};

/// A change of another object that is made in one step with a write, or not at all.
#[derive(Clone, Debug)]
pub struct Companion {
    /// It must still be this one.
    pub seen: StoredObject,
    /// What it becomes.
    pub object: NewObject,
}

/// What an update wants done.
#[derive(Clone, Debug)]
pub enum Change {
    /// Nothing.
    Keep,
    /// Write this.
    Put(NewObject),
    /// Write this, and these with it.
    PutWith(NewObject, Vec<Companion>),
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
    /// Changes one object as `change` says. It is shown the newest version that this server has, and called again with a
    /// newer one whenever the object, or a companion of its answer, changed before that could be written; so it never
    /// overwrites what it has not seen. It is also called again before a refusal counts, or an answer to change nothing, if
    /// it was shown what another server has a newer version of.
    pub async fn guaranteed_update<'a, E, F>(&self, key: &str, mut change: F) -> Result<Outcome, UpdateError<E>>
    where
        F: FnMut(Option<StoredObject>) -> BoxFuture<'a, Result<Change, E>> + Send,
    {
        let mut current = self.get(key);
        // A server that is alone has nothing older than others.
        let mut newest = self.node().is_alone();
        loop {
            let wanted = change(current.clone()).await;
            let writes = match &wanted {
                Err(_) | Ok(Change::Keep) => false,
                // A write that changes nothing makes no revision and wakes no watcher.
                Ok(Change::Put(object) | Change::PutWith(object, _)) => {
                    !current.as_ref().is_some_and(|current| current.same_as(object))
                }
                Ok(Change::Delete) => current.is_some(),
            };
            if !writes && !std::mem::replace(&mut newest, true) {
                self.read_barrier().await?;
                let there = self.get(key);
                if !same_version(current.as_ref(), there.as_ref()) {
                    current = there;
                    continue;
                }
            }
            let wanted = wanted.map_err(UpdateError::Refused)?;
            if !writes {
                return Ok(Outcome::Unchanged(current));
            }
            let (operation, companions, deletes) = match wanted {
                Change::Put(object) => (self.put(key, object)?, Vec::new(), false),
                Change::PutWith(object, companions) => (self.put(key, object)?, companions, false),
                Change::Keep | Change::Delete => {
                    (Operation::Delete { key: Bytes::copy_from_slice(key.as_bytes()) }, Vec::new(), true)
                }
            };
            let precondition = match &current {
                Some(object) => Precondition::unchanged(object.record()),
                None => Precondition::Absent { key: Bytes::copy_from_slice(key.as_bytes()) },
            };
            match self.write(precondition, operation, companions).await? {
                Ok(object) if deletes => return Ok(Outcome::Deleted(object)),
                Ok(object) => return Ok(Outcome::Put(object)),
                Err(Beaten::Object(there)) => current = there,
                Err(Beaten::Companion) => {}
            }
        }
    }
}

fn same_version(left: Option<&StoredObject>, right: Option<&StoredObject>) -> bool {
    left.map(StoredObject::revision) == right.map(StoredObject::revision)
}
