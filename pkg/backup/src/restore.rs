//! A cluster begins anew: from a snapshot, or from what one of its servers has.
//!
//! The new store is made beside the old one and takes its place in one step; what was there stays beside it, and is named,
//! until the next time.
//! Servers of before are told that they are, and end; they come back with `--resync`.

use std::fs::{self, DirBuilder, File};
use std::io::BufReader;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft::offline::{self, Other};

use crate::archive::{self, Archive, ArchiveError, Header};
use crate::error::Error;
pub use crate::place::Aside;
use crate::place::{kept, move_aside, take_place};
use crate::revision;

/// The file in a snapshot, and in a server's folder, that holds the server token.
pub const TOKEN: &str = "token";
/// The file in a server's folder that holds the settings of the snapshot until the first start.
pub const SETTINGS: &str = "settings.json";
/// Says that the folder's server was reset, until it is started without being asked to.
pub const RESET_FLAG: &str = "reset-flag";

/// Leases in which servers and their loops say that they are alive. Those who held them are no more.
const STALE: &str = "/registry/coordination.k8s.io/leases/kube-system/";
const STALE_NAMES: [&str; 2] = ["kube-scheduler", "kube-controller-manager"];
const STALE_PREFIX: &str = "apiserver-";

/// What came of restoring or reviving.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where revisions go on.
    pub revision: u64,
    /// How many objects there are.
    pub objects: usize,
    /// The new cluster.
    pub owner: offline::Owner,
    /// What was there.
    pub aside: Option<Aside>,
    /// The names of the servers that were members beside the one that was revived.
    pub others: Vec<String>,
    /// The one that was revived had not caught up yet.
    pub learner: bool,
}

/// Reads a snapshot whole and checks it.
pub fn open(path: &Path) -> Result<Archive, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    archive::read(BufReader::with_capacity(1 << 20, file)).map_err(Error::archive(path))
}

/// Makes the cluster of a snapshot that was read from `path` the one of a data folder, on which no server may run. `now` is
/// in Unix seconds; `done` hears of each step.
pub fn restore(
    (path, archive): (&Path, Archive),
    data_dir: &Path,
    now: u64,
    done: &mut dyn FnMut(String),
) -> Result<Restored, Error> {
    let server = data_dir.join("server");
    // Nobody else has the old store until all is done.
    let db = server.join("db");
    let held = if db.exists() { Some(raft::DataDirectory::open(&db)?) } else { None };
    let new = data_dir.join("server.new");
    remove_folder(&new)?;
    let built = build((path, archive), &new, now, done).and_then(|restored| {
        // What an earlier restore made and no server has used is not worth the place of what was there before that.
        let aside = take_place(&new, &server, now, server.join(SETTINGS).exists())?;
        Ok(Restored { aside, ..restored })
    });
    if built.is_err() {
        remove_folder(&new)?;
    }
    drop(held);
    built
}

/// A server's folder with what a snapshot holds.
fn build(
    (path, archive): (&Path, Archive),
    new: &Path,
    now: u64,
    done: &mut dyn FnMut(String),
) -> Result<Restored, Error> {
    let Archive { header, mut files, state } = archive;
    let Some(token) = files.iter().position(|(name, _)| name == TOKEN) else {
        let detail = "it holds no server token".to_owned();
        return Err(Error::archive(path)(ArchiveError::Damaged { offset: 0, detail }));
    };
    let (_, token) = files.swap_remove(token);
    DirBuilder::new().recursive(true).mode(0o700).create(new).map_err(Error::io(new))?;
    pki::Pki::write_shared(&new.join("tls"), &files)?;
    pki::write_private(&new.join(TOKEN), token.as_bytes())?;
    let settings = serde_json::to_vec(&header.settings).map_err(|error| Error::io(new)(error.into()))?;
    pki::write_private(&new.join(SETTINGS), &settings)?;
    done("wrote the keys, the token and the settings of the cluster".to_owned());
    let restored = begin_anew(&new.join("db"), &state, before(&header), now)?;
    done(format!("wrote {} objects at revision {}", restored.objects, restored.revision));
    Ok(restored)
}

/// What the cluster of a snapshot was, the last one first.
fn before(header: &Header) -> Vec<u64> {
    header.cluster.into_iter().chain(header.earlier.iter().copied()).collect()
}

fn begin_anew(db: &Path, state: &mvcc::Snapshot, before: Vec<u64>, now: u64) -> Result<Restored, Error> {
    let state = state.moved_on(revision::after(state.revision().get(), now), &stale(state));
    let owner = offline::create(db, &state, before)?;
    let (revision, objects) = (state.revision().get(), state.len());
    Ok(Restored { revision, objects, owner, aside: None, others: Vec::new(), learner: false })
}

fn stale(state: &mvcc::Snapshot) -> Vec<Vec<u8>> {
    let leases = state.range(STALE.as_bytes(), None).map(|record| record.key().to_vec());
    let of_server = |key: &Vec<u8>| {
        let name = key.get(STALE.len()..).unwrap_or_default();
        name.starts_with(STALE_PREFIX.as_bytes()) || STALE_NAMES.iter().any(|stale| stale.as_bytes() == name)
    };
    leases.filter(of_server).collect()
}

/// How long another server may take to be seen to run.
const DIAL_LIMIT: Duration = Duration::from_millis(500);

/// Refuses while others of the cluster run: what they acknowledge would be lost, and they would end.
fn refuse_others(others: &[Other]) -> Result<(), Error> {
    let answers = |other: &&Other| {
        let addresses = other.address.to_socket_addrs().into_iter().flatten();
        addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, DIAL_LIMIT).is_ok())
    };
    let running: Vec<String> =
        others.iter().filter(answers).map(|other| format!("{} ({})", other.name, other.address)).collect();
    if running.is_empty() { Ok(()) } else { Err(Error::Running(running.join(", "))) }
}

/// Makes the server of a data folder, which may not run, the only one of its cluster, with all that it has. Refused while
/// another server of the cluster answers.
pub fn reset(data_dir: &Path, now: u64, done: &mut dyn FnMut(String)) -> Result<Restored, Error> {
    let server = data_dir.join("server");
    let db = server.join("db");
    if offline::owner(&db)?.is_none_or(|owner| owner.cluster.is_none()) {
        return Err(Error::NoServer(data_dir.to_owned()));
    }
    let found = offline::read(&db)?;
    refuse_others(&found.others)?;
    done(format!("read {} objects at revision {}", found.state.len(), found.state.revision()));
    let new = server.join("db.new");
    remove_folder(&new)?;
    let before = found.owner.cluster.into_iter().chain(found.owner.earlier.clone()).collect();
    let built = begin_anew(&new, &found.state, before, now).and_then(|restored| {
        let aside = take_place(&new, &db, now, false)?;
        let others = found.others.into_iter().map(|other| other.name).collect();
        Ok(Restored { aside, others, learner: found.learner, ..restored })
    });
    let restored = match built {
        Ok(restored) => restored,
        Err(error) => {
            remove_folder(&new)?;
            return Err(error);
        }
    };
    pki::write_private(&server.join(RESET_FLAG), b"")?;
    done(format!("wrote {} objects at revision {}", restored.objects, restored.revision));
    Ok(restored)
}

/// Moves the folder of a server aside that is to join its cluster anew. No server may run on it.
pub fn set_aside(data_dir: &Path, now: u64) -> Result<Aside, Error> {
    let server = data_dir.join("server");
    let db = server.join("db");
    let held = if db.exists() { Some(raft::DataDirectory::open(&db)?) } else { None };
    let aside = move_aside(&server, now);
    drop(held);
    aside
}

/// Folders with keys and data of before that lie beside those of the server.
pub fn left_over(data_dir: &Path) -> Vec<PathBuf> {
    let server = data_dir.join("server");
    [kept(&server), kept(&server.join("db"))].concat()
}

/// Where a restore that was cut short has left its work instead of a server's folder.
pub fn half_done(data_dir: &Path) -> Option<PathBuf> {
    let new = data_dir.join("server.new");
    (new.exists() && !data_dir.join("server").exists()).then_some(new)
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
