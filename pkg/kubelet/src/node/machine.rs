//! What this machine has.

use std::fs;
use std::path::Path;

/// Amounts of a node: CPU in thousandths, the rest in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    pub capacity: u64,
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// Facts read once at start.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub cpus: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel_version: String,
    pub os_image: String,
    /// Page size in bytes → amount in bytes.
    pub hugepages: Vec<(u64, i64)>,
}

impl Machine {
    pub fn read(root_dir: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).map(|t| t.trim().to_owned()).unwrap_or_default();
        let boot_id = text("/proc/sys/kernel/random/boot_id");
        let machine_id = [text("/etc/machine-id"), boot_id.replace('-', "")].into_iter().find(|t| !t.is_empty());
        let machine_id = machine_id.unwrap_or_default();
        let system_uuid = [text("/sys/class/dmi/id/product_uuid"), machine_id.clone()];
        Self {
            cpus: count_cpus(&text("/sys/devices/system/cpu/online")),
            memory: meminfo(&text("/proc/meminfo"), "MemTotal"),
            ephemeral_storage: file_system(root_dir).map_or(0, |f| i64::try_from(f.capacity).unwrap_or(i64::MAX)),
            system_uuid: system_uuid.into_iter().find(|t| !t.is_empty()).unwrap_or_default(),
            machine_id,
            boot_id,
            kernel_version: text("/proc/sys/kernel/osrelease"),
            os_image: os_image(&text("/etc/os-release")),
            hugepages: hugepages(),
        }
    }

    pub fn capacity(&self) -> Resources {
        Resources { cpu_milli: self.cpus * 1000, memory: self.memory, ephemeral_storage: self.ephemeral_storage }
    }

    pub fn allocatable(&self, reserved: (i64, i64)) -> Resources {
        let capacity = self.capacity();
        Resources {
            cpu_milli: (capacity.cpu_milli - reserved.0).max(0),
            memory: (capacity.memory - reserved.1).max(0),
            ephemeral_storage: capacity.ephemeral_storage,
        }
    }
}

/// `0-3,8` → 5
fn count_cpus(ranges: &str) -> i64 {
    let count = |part: &str| -> Option<i64> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.trim().parse::<i64>().ok()? - first.trim().parse::<i64>().ok()? + 1)
    };
    ranges.split(',').filter_map(count).sum::<i64>().max(1)
}

/// A line of /proc/meminfo in bytes.
pub fn meminfo(text: &str, field: &str) -> i64 {
    let line = text.lines().find(|l| l.split(':').next() == Some(field));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|v| v.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn os_image(text: &str) -> String {
    let pretty = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn hugepages() -> Vec<(u64, i64)> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count: i64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((kib * 1024, count * i64::try_from(kib * 1024).ok()?))
        })
        .collect()
}

/// The file system that `path` (or its nearest existing parent) is on.
pub fn file_system(path: &Path) -> Option<FileSystem> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(FileSystem {
        capacity: stat.f_blocks * stat.f_frsize,
        available: stat.f_bavail * stat.f_frsize,
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_the_kernel() {
        for (text, count) in [("0-3", 4), ("0", 1), ("0-1,4-5,7", 5), ("", 1)] {
            assert_eq!(count_cpus(text), count, "{text}");
        }
        assert_eq!(meminfo("MemFree:  1 kB\nMemTotal:       16 kB\n", "MemTotal"), 16384);
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
