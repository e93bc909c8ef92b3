//! The ranges that Services get addresses from: what the ServiceCIDR objects say.

use std::net::{IpAddr, Ipv4Addr};

use apimachinery::ApiResult;
use apimachinery::meta::ObjectExt as _;
use apis::addresses::sloppy_cidr;
use apis::conditions;
use ipnet::{IpNet, Ipv4Net};
use rand::Rng as _;
use serde_json::Value;
use storage::{ListOptions, Storage};

use super::{DEFAULT_CIDR, ServiceOptions};

const SERVICE_CIDRS: &str = "/registry/networking.k8s.io/servicecidrs/";

/// All ranges at one time.
pub(super) struct Ranges {
    /// Those that new addresses come from.
    ready: Vec<Ipv4Net>,
    /// All others, of both families.
    other: Vec<IpNet>,
}

impl Ranges {
    /// Reads them. Until somebody wrote the object of the default range, that is one too.
    pub fn read(storage: &Storage, options: &ServiceOptions) -> ApiResult<Self> {
        let page = storage.list(SERVICE_CIDRS, &ListOptions::default()).map_err(crate::errors::from_storage)?;
        let mut ranges = Self { ready: Vec::new(), other: Vec::new() };
        let mut has_default = false;
        for object in page.items.iter().map(storage::StoredObject::decode) {
            has_default |= object.name() == DEFAULT_CIDR;
            let ready = !object.is_deleting() && is_ready(&object);
            for cidr in object.array_at("spec/cidrs").iter().filter_map(Value::as_str).filter_map(sloppy_cidr) {
                match cidr {
                    IpNet::V4(range) if ready => ranges.ready.push(range.trunc()),
                    other => ranges.other.push(other),
                }
            }
        }
        if !has_default {
            ranges.ready.extend(Ipv4Net::new(options.network, options.prefix_length).ok());
        }
        Ok(ranges)
    }

    /// True if a Service may be given `address` now.
    pub fn may_give(&self, address: Ipv4Addr) -> bool {
        self.ready.iter().any(|range| has_host(*range, address))
    }

    /// True if `address` is of any range, whatever becomes of that.
    pub fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) if self.may_give(address) => true,
            _ => self.other.iter().any(|range| match (range, address) {
                (IpNet::V4(range), IpAddr::V4(address)) => has_host(*range, address),
                (range, address) => range.contains(&address) && range.network() != address,
            }),
        }
    }

    /// The addresses to try for a Service that wants any, best first. As KEP-3070 says, the lower part of each range is
    /// left to those who ask for a certain one; each part is tried from a random place on, so that an address just freed
    /// is not handed out next.
    pub fn candidates(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.ready.iter().filter_map(|range| hosts(*range)).flat_map(|(first, last)| {
            let upper = first.saturating_add(static_band(first, last));
            from_anywhere(upper, last).chain(from_anywhere(first, upper.saturating_sub(1))).map(Ipv4Addr::from)
        })
    }
}

/// Nobody may have judged the range yet: then it is ready, so that Services do not wait for controllers.
fn is_ready(object: &Value) -> bool {
    let conditions = object.array_at("status/conditions");
    let judged = conditions.iter().any(|condition| condition.str_at("type") == "Ready");
    !judged || conditions::is_true(conditions, "Ready")
}

/// The first and the last address for hosts: neither the network's own address nor that of broadcasts.
fn hosts(range: Ipv4Net) -> Option<(u32, u32)> {
    let (first, last) = (u32::from(range.network()).checked_add(1)?, u32::from(range.broadcast()).checked_sub(1)?);
    (first <= last).then_some((first, last))
}

fn has_host(range: Ipv4Net, address: Ipv4Addr) -> bool {
    hosts(range).is_some_and(|(first, last)| (first..=last).contains(&address.into()))
}

/// How many addresses of a range make up its lower part: a sixteenth, but 16 at least and 256 at most; none of a range
/// that has no more than 16.
fn static_band(first: u32, last: u32) -> u32 {
    // With the two that are not for hosts.
    let size = (last - first).saturating_add(3);
    if size <= 16 { 0 } else { (size / 16).clamp(16, 256) }
}

/// All of `first..=last`, from a random one on.
fn from_anywhere(first: u32, last: u32) -> impl Iterator<Item = u32> {
    let start = if first < last { rand::rng().random_range(first..=last) } else { first };
    (start..=last).chain(first..start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(ready: &[&str], other: &[&str]) -> Ranges {
        let ready = ready.iter().map(|text| text.parse().unwrap()).collect();
        Ranges { ready, other: other.iter().map(|text| text.parse().unwrap()).collect() }
    }

    #[test]
    fn offers_each_host_of_a_range_once_and_its_lower_band_last() {
        for (range, hosts, band) in [
            ("10.0.0.0/16", 65_534, 256),
            ("10.0.0.0/24", 254, 16),
            ("10.0.0.0/27", 30, 16),
            ("10.0.0.0/28", 14, 0),
            ("10.0.0.0/30", 2, 0),
            ("10.0.0.0/31", 0, 0),
            ("10.0.0.0/32", 0, 0),
        ] {
            let all: Vec<u32> = ranges(&[range], &[]).candidates().map(u32::from).collect();
            let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
            let upper = hosts - band;
            assert!(all.iter().take(upper).all(|n| *n >= first + band as u32), "{range}");
            let mut sorted = all;
            sorted.sort_unstable();
            assert_eq!(sorted, (first..first + hosts as u32).collect::<Vec<_>>(), "{range}");
        }
    }

    #[test]
    fn goes_on_in_the_next_range_when_one_is_full() {
        let all: Vec<Ipv4Addr> = ranges(&["10.0.0.0/30", "10.9.0.0/30"], &["10.8.0.0/30"]).candidates().collect();
        let thirds: Vec<u8> = all.iter().map(|address| address.octets()[1]).collect();
        assert_eq!(thirds, [0, 0, 9, 9]);
    }

    #[test]
    fn knows_the_hosts_of_ready_and_of_other_ranges() {
        let ranges = ranges(&["10.0.0.0/24"], &["10.1.0.0/24", "fd00::/112"]);
        for (address, gives, contains) in [
            ("10.0.0.0", false, false),
            ("10.0.0.1", true, true),
            ("10.0.0.254", true, true),
            ("10.0.0.255", false, false),
            ("10.1.0.0", false, false),
            ("10.1.0.1", false, true),
            ("10.2.0.1", false, false),
            ("fd00::", false, false),
            ("fd00::1", false, true),
            ("fd00::ffff", false, true),
            ("fd01::1", false, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let given = matches!(address, IpAddr::V4(address) if ranges.may_give(address));
            assert_eq!((given, ranges.contain(address)), (gives, contains), "{address}");
        }
    }
}
