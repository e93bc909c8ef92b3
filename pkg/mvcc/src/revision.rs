use std::fmt;

/// A point in the history of the store. It cannot be made from a number outside of this crate: what carries a
/// `Revision` was read from a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a store that was never written. Not 0, which clients take for "any".
    pub(crate) const FIRST: Revision = Revision(1);

    pub(crate) const fn new(value: u64) -> Self {
        Self(value)
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number, for comparing with what a client sent.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
