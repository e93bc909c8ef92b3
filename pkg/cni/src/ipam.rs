//! Host-local address management: one file an address, named by it, holding the container id and the interface.
//!
//! All changes are made under a lock on the directory, so any number of plugin processes may run at once. Reservations
//! of an earlier boot are void: no network namespace outlives its kernel.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;
use rustix::fs::{FlockOperation, flock};

use crate::{Error, config};

const LOCK: &str = "lock";
const BOOT: &str = "boot_id";
const LAST: &str = "last_reserved_ip";

/// The reservations of one network, locked for as long as this lives.
pub struct Ipam {
    dir: PathBuf,
    subnet: Ipv4Net,
    _lock: File,
}

impl Ipam {
    /// Opens and locks the reservations under `dir`, creating it if needed.
    pub fn open(dir: &Path, subnet: Ipv4Net) -> Result<Self, Error> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::open_at_boot(dir, subnet, boot.trim())
    }

    fn open_at_boot(dir: &Path, subnet: Ipv4Net, boot: &str) -> Result<Self, Error> {
        let failed = |what: &str| Error::io(format!("{what} {}", dir.display()));
        fs::create_dir_all(dir).map_err(failed("creating"))?;
        let lock = File::create(dir.join(LOCK)).map_err(failed("locking"))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed("locking")(e.into()))?;
        let ipam = Self { dir: dir.to_owned(), subnet, _lock: lock };
        if fs::read_to_string(dir.join(BOOT)).unwrap_or_default() != boot {
            ipam.release_where(|_, _| true)?;
            fs::write(dir.join(BOOT), boot).map_err(failed("writing to"))?;
        }
        Ok(ipam)
    }

    /// Reserves the next free address after the one reserved last, so that an address rests for as long as possible
    /// before it is used again. A reservation that the same interface already has is handed out again.
    pub fn reserve(&self, container_id: &str, interface: &str) -> Result<Ipv4Addr, Error> {
        if let Some(address) = self.find(container_id, interface)? {
            return Ok(address);
        }
        let first = u32::from(config::gateway(self.subnet)) + 1;
        let last = u32::from(self.subnet.broadcast()) - 1;
        let count = last - first + 1;
        let previous = fs::read_to_string(self.dir.join(LAST)).ok().and_then(|text| text.trim().parse().ok());
        let start = previous.map_or(first, |ip: Ipv4Addr| u32::from(ip).wrapping_add(1));
        let start = if (first..=last).contains(&start) { start } else { first };
        for offset in 0..count {
            let address = Ipv4Addr::from(first + (start - first + offset) % count);
            if self.try_reserve(address, container_id, interface)? {
                fs::write(self.dir.join(LAST), address.to_string()).map_err(self.failed("writing to"))?;
                return Ok(address);
            }
        }
        Err(Error::Exhausted(self.subnet))
    }

    fn try_reserve(&self, address: Ipv4Addr, container_id: &str, interface: &str) -> Result<bool, Error> {
        let path = self.dir.join(address.to_string());
        match File::create_new(&path) {
            Ok(mut file) => {
                write!(file, "{container_id}\n{interface}").map_err(self.failed("writing to"))?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.failed("writing to")(error)),
        }
    }

    /// The address that is reserved for this interface.
    pub fn find(&self, container_id: &str, interface: &str) -> Result<Option<Ipv4Addr>, Error> {
        let mut found = None;
        self.each(|address, id, name| {
            if id == container_id && name == interface {
                found = Some(address);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Gives back what this interface holds; nothing to give back is no error.
    pub fn release(&self, container_id: &str, interface: &str) -> Result<Option<Ipv4Addr>, Error> {
        Ok(self.release_where(|id, name| id == container_id && name == interface)?.pop())
    }

    /// Gives back all that `stale` says of a container id and an interface; returns the freed addresses.
    pub fn release_where(&self, stale: impl Fn(&str, &str) -> bool) -> Result<Vec<Ipv4Addr>, Error> {
        self.release_addresses(|_, id, name| stale(id, name))
    }

    /// How long ago an address was reserved.
    pub fn age(&self, address: Ipv4Addr) -> Option<Duration> {
        let metadata = fs::metadata(self.dir.join(address.to_string())).ok()?;
        metadata.modified().ok()?.elapsed().ok()
    }

    /// The same as [`Self::release_where`], with the address at hand.
    pub fn release_addresses(&self, stale: impl Fn(Ipv4Addr, &str, &str) -> bool) -> Result<Vec<Ipv4Addr>, Error> {
        let mut freed = Vec::new();
        self.each(|address, id, name| {
            if stale(address, id, name) {
                fs::remove_file(self.dir.join(address.to_string())).map_err(self.failed("writing to"))?;
                freed.push(address);
            }
            Ok(())
        })?;
        Ok(freed)
    }

    fn each(&self, mut visit: impl FnMut(Ipv4Addr, &str, &str) -> Result<(), Error>) -> Result<(), Error> {
        for entry in fs::read_dir(&self.dir).map_err(self.failed("reading"))? {
            let entry = entry.map_err(self.failed("reading"))?;
            let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let text = fs::read_to_string(entry.path()).map_err(self.failed("reading"))?;
            let (id, name) = text.split_once('\n').unwrap_or((&text, ""));
            visit(address, id.trim(), name.trim())?;
        }
        Ok(())
    }

    fn failed(&self, what: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("{what} {}", self.dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_handed_out_in_turn_and_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let ipam = Ipam::open(dir.path(), subnet("10.1.0.0/29")).unwrap();
        let reserve = |id: &str| ipam.reserve(id, "eth0").map(|ip| ip.to_string());
        assert_eq!(reserve("a").unwrap(), "10.1.0.2", "the first is the gateway");
        assert_eq!(reserve("a").unwrap(), "10.1.0.2", "the same interface keeps its own");
        assert_eq!(reserve("b").unwrap(), "10.1.0.3");
        ipam.release("a", "eth0").unwrap();
        assert_eq!(reserve("c").unwrap(), "10.1.0.4", "a freed address rests");
        assert_eq!(reserve("d").unwrap(), "10.1.0.5");
        assert_eq!(reserve("e").unwrap(), "10.1.0.6");
        assert_eq!(reserve("f").unwrap(), "10.1.0.2", "then it wraps around");
        assert!(matches!(reserve("g"), Err(Error::Exhausted(_))));
        ipam.release_where(|id, _| id != "b").unwrap();
        assert_eq!(ipam.find("b", "eth0").unwrap().unwrap().to_string(), "10.1.0.3");
        assert!(ipam.release("never", "eth0").unwrap().is_none());
    }

    #[test]
    fn reservations_end_with_the_boot() {
        let dir = tempfile::tempdir().unwrap();
        let open = |boot: &str| Ipam::open_at_boot(dir.path(), subnet("10.1.0.0/24"), boot).unwrap();
        open("one").reserve("a", "eth0").unwrap();
        assert!(open("one").find("a", "eth0").unwrap().is_some());
        assert!(open("two").find("a", "eth0").unwrap().is_none());
    }

    #[test]
    fn processes_do_not_share_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let addresses: std::collections::HashSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..32)
                .map(|n| {
                    let dir = dir.path();
                    scope.spawn(move || {
                        Ipam::open(dir, subnet("10.1.0.0/24")).unwrap().reserve(&format!("c{n}"), "eth0").unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(addresses.len(), 32);
    }
}
