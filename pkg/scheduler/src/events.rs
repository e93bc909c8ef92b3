//! What happens in the cluster that may make a waiting pod schedulable, as a set of flags.

/// A set of happenings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u16);

impl Events {
    pub const NONE: Self = Self(0);
    pub const NODE_ADDED: Self = Self(1);
    pub const NODE_LABELS: Self = Self(1 << 1);
    pub const NODE_TAINTS: Self = Self(1 << 2);
    pub const NODE_ALLOCATABLE: Self = Self(1 << 3);
    /// A pod left a node, ended, or now asks for less.
    pub const POD_GONE: Self = Self(1 << 4);
    /// A pod came to a node or changed its labels there.
    pub const POD_PLACED: Self = Self(1 << 5);
    pub const VOLUMES: Self = Self(1 << 6);
    /// The waiting pod itself changed.
    pub const POD_CHANGED: Self = Self(1 << 7);

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
