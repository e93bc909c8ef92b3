use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use mvcc::{Revision, Snapshot, Store};

use crate::{StorageError, StoredObject};

/// Which state a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// The newest.
    #[default]
    Newest,
    /// The newest, which has to be at least this revision.
    NotOlderThan(u64),
    /// That of this revision.
    Exact(u64),
}

/// Says which objects are wanted.
pub type Predicate = Arc<dyn Fn(&StoredObject) -> bool + Send + Sync>;

/// What to list.
#[derive(Clone, Default)]
pub struct ListOptions {
    /// Which state.
    pub at: At,
    /// Only keys after this one: where the page before ended.
    pub after: Option<String>,
    /// Most objects on the page; 0 is all.
    pub limit: usize,
    /// Only these objects; none is all.
    pub predicate: Option<Predicate>,
}

impl fmt::Debug for ListOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListOptions")
            .field("at", &self.at)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .field("predicate", &self.predicate.is_some())
            .finish()
    }
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The objects, in order of keys.
    pub items: Vec<StoredObject>,
    /// The revision of the state that was listed; further pages are asked for at exactly this one.
    pub revision: Revision,
    /// Where the next page begins, as `after`; none on the last page.
    pub next: Option<String>,
    /// How many objects follow this page, when that is known: not with a predicate.
    pub remaining: Option<u64>,
}

/// The state that `at` says.
pub(crate) fn snapshot(store: &Store, at: At) -> Result<Snapshot, StorageError> {
    match at {
        At::Newest => Ok(store.snapshot()),
        At::NotOlderThan(revision) => {
            let snapshot = store.snapshot();
            if snapshot.revision().get() < revision {
                return Err(StorageError::TooLarge { requested: revision, current: snapshot.revision() });
            }
            Ok(snapshot)
        }
        At::Exact(revision) => store.snapshot_at(revision).map_err(|error| StorageError::out_of_range(error, revision)),
    }
}

pub(crate) fn list(store: &Store, prefix: &str, options: &ListOptions) -> Result<Page, StorageError> {
    let snapshot = snapshot(store, options.at)?;
    let mut page = Page { items: Vec::new(), revision: snapshot.revision(), next: None, remaining: None };
    let mut range = snapshot.range(prefix.as_bytes(), options.after.as_deref().map(str::as_bytes));
    for record in range.by_ref() {
        let object = StoredObject::new(record);
        if options.predicate.as_ref().is_some_and(|wanted| !wanted(&object)) {
            continue;
        }
        page.items.push(object);
        if options.limit > 0 && page.items.len() == options.limit {
            break;
        }
    }
    // Objects follow: whether they are wanted is the next page's business.
    if options.limit > 0
        && page.items.len() == options.limit
        && range.next().is_some()
        && let Some(last) = page.items.last()
    {
        let key = last.key().to_owned();
        if options.predicate.is_none() {
            page.remaining = Some(snapshot.count_after(prefix.as_bytes(), key.as_bytes()) as u64);
        }
        page.next = Some(key);
        store.pin(&snapshot, Instant::now());
    }
    Ok(page)
}
