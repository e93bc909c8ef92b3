//! Generated names: the prefix, then five characters that spell no words.

use rand::Rng as _;

/// No vowels, and nothing that is easily mistaken for something else.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const NAME_LENGTH_MAX: usize = 63;

/// How often a taken generated name is replaced by another.
pub const ATTEMPTS: usize = 8;

pub fn generate(prefix: &str) -> String {
    let mut keep = prefix.len().min(NAME_LENGTH_MAX - SUFFIX_LENGTH);
    while !prefix.is_char_boundary(keep) {
        keep -= 1;
    }
    let mut name = String::with_capacity(keep + SUFFIX_LENGTH);
    name.push_str(&prefix[..keep]);
    let mut random = rand::rng();
    name.extend((0..SUFFIX_LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])));
    name
}
