//! Waiting for revisions that clients have seen elsewhere and that are not here yet, and for what others have written when
//! a client asks for the newest.

use std::time::Duration;

use apimachinery::ApiResult;
use futures::StreamExt as _;
use storage::{At, WatchEnd};

use crate::errors::{from_storage, parse_revision, too_large};
use crate::{ListQuery, Registry, WatchQuery};

/// How long a read waits, as upstream's watch cache does.
const PATIENCE: Duration = Duration::from_secs(3);
/// Above every key.
const EVERYTHING: &str = "/";

impl Registry {
    /// Returns when the state here is not older than `version`, the resourceVersion of a read of one object: without one, not
    /// older than anything that was written before the call.
    pub async fn reach_version(&self, version: &str) -> ApiResult<()> {
        match parse_revision(version)? {
            None => self.reach_newest().await,
            Some(wanted) => self.reach(wanted).await,
        }
    }

    /// Whether the state here is always the newest, as on a single server.
    pub fn is_alone(&self) -> bool {
        self.storage.is_alone()
    }

    /// Returns when the state here is not older than anything that was written before the call. False if it never is.
    pub async fn catch_up(&self) -> ApiResult<bool> {
        self.reach_newest().await?;
        Ok(!self.is_alone())
    }

    async fn reach_newest(&self) -> ApiResult<()> {
        self.storage.read_barrier().await.map_err(from_storage)
    }

    /// Returns when [`Self::list`] can answer `query`, as far as that depends on the revision.
    pub async fn reach_list(&self, query: &ListQuery) -> ApiResult<()> {
        match query.position("")?.0 {
            // Any state will do, whatever the other servers have.
            At::Newest if query.continue_token.is_empty() && query.resource_version == "0" => Ok(()),
            At::Newest => self.reach_newest().await,
            At::NotOlderThan(wanted) | At::Exact(wanted) => self.reach(wanted).await,
        }
    }

    /// The same for [`Self::watch`]. Who only wants what comes after a revision may wait for it in the watch itself.
    pub async fn reach_watch(&self, query: &WatchQuery) -> ApiResult<()> {
        query.check()?;
        match parse_revision(&query.resource_version)? {
            None => self.reach_newest().await,
            Some(wanted) if query.send_initial_events == Some(true) => self.reach(wanted).await,
            Some(_) => Ok(()),
        }
    }

    /// Errs with "Too large resource version" if `wanted` is not here in time.
    async fn reach(&self, wanted: u64) -> ApiResult<()> {
        if self.revision() >= wanted {
            return Ok(());
        }
        let came = tokio::time::timeout(PATIENCE, Box::pin(self.came(wanted))).await;
        if came.unwrap_or(false) { Ok(()) } else { Err(too_large(wanted, self.revision())) }
    }

    /// True when the revision is here; false if it will not come.
    async fn came(&self, wanted: u64) -> bool {
        while self.revision() < wanted {
            // Every revision is a change of some key. It is not after all that is known, so it was not compacted before.
            let Ok(mut changes) = self.storage.watch(EVERYTHING, wanted - 1) else { return true };
            match changes.next().await {
                Some(Ok(_)) => return true,
                // All state was replaced by that of another server.
                Some(Err(WatchEnd::Lagged)) => {}
                Some(Err(WatchEnd::Closed)) | None => return false,
            }
        }
        true
    }
}
