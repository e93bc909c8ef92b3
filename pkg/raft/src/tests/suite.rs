//! openraft's own suite for log stores and state machines.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, RealDisk};
use crate::log::{LogConfig, LogStore};
use crate::machine::Machine;
use crate::types::TypeConfig;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory.path().to_owned()));
        // A cache of nothing: what was flushed is read from files.
        let config = LogConfig { segment_bytes: 64 << 10, cache_bytes: 0 };
        let log = LogStore::open(disk.clone(), config).expect("a log");
        let checkpoint = Checkpoint::open(disk).expect("a checkpoint");
        let store = mvcc::Store::new(mvcc::Limits::default());
        let machine = Machine::open(store, checkpoint, u64::MAX).expect("a machine");
        Ok((directory, log, machine))
    }
}

#[test]
fn openraft_suite() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(Suite::test_all(Builder)).expect("all tests pass");
}
