//! A hash of a state that is kept up as the state changes.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

/// The sum of the hashes of a set's members, modulo 2^128: the same for equal sets, in whatever order they came about,
/// and almost surely another for others. It guards against faults, not against somebody who looks for two sets with one
/// digest. Written to disk and compared between servers: it never changes for the same content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// Bytes of its encoded form.
    pub const BYTES: usize = 16;

    /// The digest of one member: of these numbers and bytes.
    pub fn of(numbers: [u64; 3], bytes: &[u8]) -> Self {
        let mut state = Lanes::new(bytes.len() as u64);
        state.mix(numbers[0], numbers[1]);
        state.mix(numbers[2], bytes.len() as u64);
        let (words, rest) = bytes.as_chunks();
        for word in words {
            state.mix_word(*word);
        }
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            state.mix_word(last);
        }
        Self(state.finish())
    }

    /// Its encoded form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    /// What [`to_bytes`](Self::to_bytes) gave; `None` for anything of another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_le_bytes(bytes)))
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl SubAssign for Digest {
    fn sub_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The first digits of pi, as numbers without a pattern.
const KEYS: [u64; 4] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// Two halves that see every word in another way, by products of which both halves count.
struct Lanes(u64, u64);

impl Lanes {
    fn new(length: u64) -> Self {
        Self(length ^ KEYS[0], length ^ KEYS[1])
    }

    #[inline]
    fn mix_word(&mut self, word: [u8; 16]) {
        let word = u128::from_le_bytes(word);
        self.mix(word as u64, (word >> 64) as u64);
    }

    #[inline]
    fn mix(&mut self, first: u64, second: u64) {
        self.0 = fold(self.0 ^ first, second ^ KEYS[2]).wrapping_add(second);
        self.1 = fold(self.1 ^ second.rotate_left(32), first ^ KEYS[3]).wrapping_add(first);
    }

    fn finish(self) -> u128 {
        let left = fold(self.0 ^ KEYS[2], self.1 | 1);
        let right = fold(self.1 ^ KEYS[3], self.0 | 1);
        u128::from(left) << 64 | u128::from(right)
    }
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_flipped_bit_and_every_moved_byte_is_another_digest() {
        for length in [0, 1, 7, 8, 15, 16, 17, 31, 32, 100, 1000] {
            for content in [vec![0; length], (0..length).map(|at| at as u8).collect::<Vec<_>>()] {
                let mut seen = HashSet::from([Digest::of([1, 2, 3], &content)]);
                for numbers in [[0, 2, 3], [1, 3, 3], [1, 2, 2], [2, 1, 3], [1 << 63, 2, 3]] {
                    assert!(seen.insert(Digest::of(numbers, &content)), "{length}: {numbers:?}");
                }
                for bit in 0..length * 8 {
                    let mut flipped = content.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    assert!(seen.insert(Digest::of([1, 2, 3], &flipped)), "{length}: bit {bit}");
                }
                for longer in [[&content[..], &[0]].concat(), [&[0], &content[..]].concat()] {
                    let moved = Digest::of([1, 2, 3], &longer);
                    assert!(seen.insert(moved) || content.iter().all(|byte| *byte == 0), "{length}");
                }
            }
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_order_and_come_back() {
        let digests: Vec<_> = (0..100).map(|number| Digest::of([number, 0, 0], b"x")).collect();
        let (mut up, mut down) = (Digest::default(), Digest::default());
        digests.iter().for_each(|digest| up += *digest);
        digests.iter().rev().for_each(|digest| down += *digest);
        assert_eq!(up, down);
        assert_eq!(Digest::from_bytes(&up.to_bytes()), Some(up));
        digests.iter().for_each(|digest| up -= *digest);
        assert_eq!(up, Digest::default());
        assert_eq!(Digest::from_bytes(&[0; 15]), None);
    }

    #[test]
    fn what_is_on_disks_already_keeps_its_digest() {
        let text = Digest::of([7, 9, 4], b"/registry/pods/default/a and more than one word").to_string();
        assert_eq!(text, "671021947f8a76e6b18ac5557453b480");
    }
}
