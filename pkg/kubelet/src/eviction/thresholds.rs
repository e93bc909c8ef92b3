//! When the node is short of something: the signals and thresholds of the kubelet's `evictionHard`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use apimachinery::quantity::{Format, Quantity};

use super::Shortage;
use crate::kubelet::Kubelet;
use crate::node::{FileSystem, file_system, meminfo};

/// What is watched. Names are those of upstream's eviction signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    MemoryAvailable,
    NodefsAvailable,
    NodefsInodesFree,
    ImagefsAvailable,
    ImagefsInodesFree,
    PidAvailable,
}

/// (signal, its name, the resource that pods use of it, the node's condition)
const SIGNALS: [(Signal, &str, &str, &str); 6] = [
    (Signal::MemoryAvailable, "memory.available", "memory", "MemoryPressure"),
    (Signal::NodefsAvailable, "nodefs.available", "ephemeral-storage", "DiskPressure"),
    (Signal::NodefsInodesFree, "nodefs.inodesFree", "inodes", "DiskPressure"),
    (Signal::ImagefsAvailable, "imagefs.available", "ephemeral-storage", "DiskPressure"),
    (Signal::ImagefsInodesFree, "imagefs.inodesFree", "inodes", "DiskPressure"),
    (Signal::PidAvailable, "pid.available", "pids", "PIDPressure"),
];

impl Signal {
    fn row(self) -> &'static (Signal, &'static str, &'static str, &'static str) {
        // The table is in the order of the variants, which a test checks.
        &SIGNALS[self as usize]
    }

    /// The resource that messages name.
    pub fn resource(self) -> &'static str {
        self.row().2
    }

    /// The type of the Node's condition.
    pub fn condition(self) -> &'static str {
        self.row().3
    }

    pub fn is_disk(self) -> bool {
        self.condition() == "DiskPressure"
    }

    pub fn counts_bytes(self) -> bool {
        matches!(self, Self::MemoryAvailable | Self::NodefsAvailable | Self::ImagefsAvailable)
    }
}

/// How much there should be at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Bytes, inodes or processes.
    Count(u64),
    /// Of the capacity.
    Percent(f64),
}

impl Amount {
    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            // Capacities are far below 2^53, where a float is exact; the result is between 0 and the capacity.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

/// Thresholds by signal; a signal that is not there is not watched.
///
/// As text: `memory.available<100Mi,nodefs.available<5%`, the form of the kubelet's `--eviction-hard`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(BTreeMap<Signal, Amount>);

impl Default for Thresholds {
    /// Memory as upstream; of disks the 5 % that a small machine can spare, as k3s.
    fn default() -> Self {
        let five = Amount::Percent(5.0);
        Self(BTreeMap::from([
            (Signal::MemoryAvailable, Amount::Count(100 << 20)),
            (Signal::NodefsAvailable, five),
            (Signal::NodefsInodesFree, five),
            (Signal::ImagefsAvailable, five),
            (Signal::ImagefsInodesFree, five),
        ]))
    }
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, amount) = part
                .split_once('<')
                .ok_or_else(|| format!("{part:?}: expected SIGNAL<AMOUNT such as nodefs.available<5%"))?;
            let names = || SIGNALS.map(|row| row.1).join(", ");
            let row = SIGNALS.iter().find(|row| row.1 == name);
            let signal = row.ok_or_else(|| format!("unknown signal {name:?}; there are {}", names()))?.0;
            let amount = amount.parse().map_err(|error| format!("{part}: {error}"))?;
            if all.insert(signal, amount).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(Self(all))
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| "not a number before %".to_owned())?;
            let sane = (0.0..100.0).contains(&percent);
            return if sane { Ok(Self::Percent(percent)) } else { Err("must be from 0 % to below 100 %".to_owned()) };
        }
        let quantity = Quantity::parse(text).map_err(|error| error.to_string())?;
        u64::try_from(quantity.value()).map(Self::Count).map_err(|_| "must not be negative".to_owned())
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (signal, amount)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match amount {
                Amount::Count(count) => {
                    let count = Quantity::new(i64::try_from(*count).unwrap_or(i64::MAX), Format::BinarySi);
                    write!(f, "{comma}{}<{count}", signal.row().1)?;
                }
                Amount::Percent(percent) => write!(f, "{comma}{}<{percent}%", signal.row().1)?,
            }
        }
        Ok(())
    }
}

/// What is there of a signal's resource.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    pub available: u64,
    pub capacity: u64,
}

/// What falls below its threshold, memory first: it is what runs out fastest.
pub fn shortages(thresholds: &Thresholds, observe: impl Fn(Signal) -> Option<Observation>) -> Vec<Shortage> {
    let short = |(signal, amount): (&Signal, &Amount)| {
        let Observation { available, capacity } = observe(*signal)?;
        let wanted = amount.of(capacity);
        (available < wanted).then_some(Shortage { signal: *signal, available, wanted })
    };
    thresholds.0.iter().filter_map(short).collect()
}

/// Measures. A machine that does not tell is not short.
pub fn observe(signal: Signal, kubelet: &Kubelet, image_fs: Option<&FileSystem>) -> Option<Observation> {
    let bytes = |fs: &FileSystem| Observation { available: fs.available, capacity: fs.capacity };
    // Some file systems have as many inodes as they have room, and count none.
    let inodes =
        |fs: &FileSystem| (fs.inodes > 0).then_some(Observation { available: fs.inodes_free, capacity: fs.inodes });
    match signal {
        Signal::MemoryAvailable => memory(),
        Signal::NodefsAvailable => file_system(&kubelet.config.root_dir).as_ref().map(bytes),
        Signal::NodefsInodesFree => file_system(&kubelet.config.root_dir).as_ref().and_then(inodes),
        Signal::ImagefsAvailable => image_fs.map(bytes),
        Signal::ImagefsInodesFree => image_fs.and_then(inodes),
        Signal::PidAvailable => processes(),
    }
}

fn memory() -> Option<Observation> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let read = |name| u64::try_from(meminfo(&text, name)).ok().filter(|bytes| *bytes > 0);
    Some(Observation { available: read("MemAvailable")?, capacity: read("MemTotal")? })
}

/// Processes and threads, which share one limit.
fn processes() -> Option<Observation> {
    let limit = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    let capacity = limit("pid_max")?.min(limit("threads-max")?);
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split(' ').nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Observation { available: capacity.saturating_sub(running), capacity })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_stand_in_the_order_of_their_table() {
        for (at, row) in SIGNALS.iter().enumerate() {
            assert_eq!(row.0 as usize, at, "{}", row.1);
        }
    }

    #[test]
    fn thresholds_are_read_as_the_kubelet_reads_them() {
        let read: Thresholds = "memory.available<1Gi,nodefs.available<2.5%".parse().expect("both are known");
        let expected =
            [(Signal::MemoryAvailable, Amount::Count(1 << 30)), (Signal::NodefsAvailable, Amount::Percent(2.5))];
        assert_eq!(read, Thresholds(expected.into()));
        assert_eq!(Thresholds::default().to_string().parse(), Ok(Thresholds::default()));
        for (wrong, why) in [
            ("nodefs.available", "expected SIGNAL<AMOUNT"),
            ("nodefs.free<1Gi", "unknown signal \"nodefs.free\"; there are memory.available, "),
            ("nodefs.available<5%,nodefs.available<1Gi", "given twice"),
            ("nodefs.available<100%", "below 100 %"),
            ("nodefs.available<x%", "not a number"),
            ("nodefs.available<-1Gi", "negative"),
            ("nodefs.available<1Gb", "nodefs.available<1Gb: "),
        ] {
            let error = wrong.parse::<Thresholds>().expect_err(wrong);
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_falls_below_its_threshold_is_short() {
        let thresholds = "memory.available<100,nodefs.available<10%,pid.available<10".parse().expect("known");
        let short = |available: u64| -> Vec<Signal> {
            let found = shortages(&thresholds, |signal| {
                let measured = signal != Signal::PidAvailable;
                measured.then_some(Observation { available, capacity: 500 })
            });
            found.iter().map(|shortage| shortage.signal).collect()
        };
        assert_eq!(short(100), []);
        assert_eq!(short(99), [Signal::MemoryAvailable]);
        assert_eq!(short(49), [Signal::MemoryAvailable, Signal::NodefsAvailable]);
    }
}
