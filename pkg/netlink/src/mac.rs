//! Hardware addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The hardware address of a link.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered hardware address made of the IP address: whoever gets an address next has the same hardware
    /// address as the one before, so no neighbour table is ever wrong about it.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x0a, 0x58, a, b, c, d])
    }

    /// `None` for links whose addresses are of another kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not a hardware address");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read_as_they_are_shown() {
        let mac = Mac::of(Ipv4Addr::new(10, 42, 1, 0));
        assert_eq!(mac.to_string(), "0a:58:0a:2a:01:00");
        assert_eq!("0a:58:0a:2a:01:00".parse(), Ok(mac));
        for wrong in [
            "",
            "0a:58:0a:2a:01",
            "0a:58:0a:2a:01:00:00",
            "0a:58:0a:2a:01:g0",
            "a:58:0a:2a:01:00",
            "+a:58:0a:2a:01:00x",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
