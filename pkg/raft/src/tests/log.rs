//! The log read back: what a crash leaves, what damage leaves, and what recycled files still hold.

use std::sync::Arc;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::{EntryPayload, RaftLogReader};

use super::sim_disk::SimDisk;
use crate::disk::Disk;
use crate::log::{LogConfig, LogDamage, LogStore};
use crate::types::{Command, Entry, LogId, Vote};

const CONFIG: LogConfig = LogConfig { segment_bytes: 8 << 10, cache_bytes: 0 };

fn entry(index: u64, size: usize) -> Entry {
    let payload = EntryPayload::Normal(Command(Bytes::from(vec![index as u8; size])));
    Entry { log_id: LogId::new_term_index(1, index), payload }
}

fn open(disk: &Arc<SimDisk>) -> Result<LogStore, LogDamage> {
    LogStore::open(disk.clone(), CONFIG)
}

async fn append(log: &mut LogStore, indexes: std::ops::Range<u64>, size: usize) {
    for index in indexes {
        log.blocking_append([entry(index, size)]).await.unwrap();
    }
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    log.try_get_log_entries(..).await.unwrap().iter().map(RaftEntry::index).collect()
}

#[tokio::test]
async fn entries_and_vote_come_back() {
    let disk = SimDisk::new();
    let mut log = open(&disk).unwrap();
    log.save_vote(&Vote::new_committed(1, 7)).await.unwrap();
    append(&mut log, 0..40, 600).await;
    log.truncate_after(Some(LogId::new_term_index(1, 30))).await.unwrap();
    append(&mut log, 31..35, 10).await;
    log.close();
    drop(log);

    let mut log = open(&disk).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 7)));
    assert_eq!(indexes(&mut log).await, (0..35).collect::<Vec<_>>());
    let read = log.try_get_log_entries(33..34).await.unwrap();
    assert_eq!(read, [entry(33, 10)], "what replaced the entry that was taken back");
    assert_eq!(log.try_get_log_entries(7..9).await.unwrap(), [entry(7, 600), entry(8, 600)]);
}

#[tokio::test]
async fn purged_segments_are_reused_and_their_old_frames_are_not_read() {
    let disk = SimDisk::new();
    let mut log = open(&disk).unwrap();
    for round in 0..20 {
        append(&mut log, round * 20..(round + 1) * 20, 500).await;
        log.purge(LogId::new_term_index(1, round * 20 + 15)).await.unwrap();
    }
    log.close();
    drop(log);
    let files = disk.list().unwrap();
    assert!(files.len() <= 4, "{files:?}");
    let mut log = open(&disk).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id.map(|log_id| log_id.index()), Some(399));
    let purged = state.last_purged_log_id.unwrap().index();
    assert!(purged <= 395);
    assert_eq!(indexes(&mut log).await, (purged + 1..400).collect::<Vec<_>>());
}

/// Appends one entry a frame and returns the name and content of the newest segment.
async fn written(disk: &Arc<SimDisk>, count: u64) -> (String, Vec<u8>) {
    let mut log = open(disk).unwrap();
    append(&mut log, 0..count, 100).await;
    log.close();
    drop(log);
    let name = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".log")).max().unwrap();
    let content = disk.content(&name);
    (name, content)
}

fn end_of_data(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_damage_before_it_is_refused() {
    for back in [2, 50, 120] {
        let disk = SimDisk::new();
        let (name, content) = written(&disk, 10).await;
        // Bytes that were not written.
        let end = end_of_data(&content);
        disk.open(&name, false).unwrap().write_at((end - back) as u64, &vec![0; back]).unwrap();
        let mut log = open(&disk).unwrap();
        assert_eq!(indexes(&mut log).await, (0..9).collect::<Vec<_>>(), "{back}");
        // What is appended now takes the torn frame's place.
        append(&mut log, 9..12, 30).await;
        log.close();
        drop(log);
        assert_eq!(indexes(&mut open(&disk).unwrap()).await, (0..12).collect::<Vec<_>>());
    }
    let disk = SimDisk::new();
    let (name, content) = written(&disk, 10).await;
    let end = end_of_data(&content);
    // Also in the last frame: a write that is cut short does not leave one bit wrong.
    for at in [4, 40, end / 2, end - 1, end - 50, end - 120] {
        disk.damage(&name, at);
        let error = open(&disk).err().unwrap();
        let LogDamage::Corrupt { file, detail } = error else { panic!("{error}") };
        assert!(file == name && detail.contains("checksum"), "{file}: {detail}");
        assert_ne!(disk.content(&name), content);
        disk.damage(&name, at);
    }
    assert_eq!(disk.content(&name), content, "nothing was changed");
    assert!(open(&disk).is_ok());
}

#[tokio::test]
async fn a_missing_segment_is_noticed() {
    let disk = SimDisk::new();
    written(&disk, 200).await;
    let mut names: Vec<_> = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".log")).collect();
    names.sort();
    assert!(names.len() > 2, "{names:?}");
    disk.remove(&names[1]).unwrap();
    assert!(matches!(open(&disk), Err(LogDamage::Corrupt { .. })));
}

#[tokio::test]
async fn nothing_is_written_behind_what_the_closing_log_could_not_write() {
    use futures::FutureExt as _;
    for round in 0..200 {
        let disk = SimDisk::new();
        let mut log = open(&disk).unwrap();
        append(&mut log, 0..1, 10).await;
        disk.fail_at(1 + round % 4);
        for index in 1..30 {
            // Queued, not waited for.
            let _ = log.blocking_append([entry(index, 10)]).now_or_never();
            std::thread::yield_now();
        }
        log.close();
        drop(log);
        // Everything may have gone in one frame, before the fault.
        disk.no_faults();
        let mut log = open(&disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found = indexes(&mut log).await;
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>(), "round {round}");
    }
}
