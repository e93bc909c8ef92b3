//! Costs and sizes as ranges from the best case to the worst. What is too large for 64 bits stays the largest number.

/// From the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

impl Range {
    pub(crate) const ZERO: Self = Self::fixed(0);
    pub(crate) const ONE: Self = Self::fixed(1);
    /// Of what nothing is known.
    pub(crate) const UNKNOWN: Self = Self::new(0, u64::MAX);
    /// Where a union of none begins.
    pub(crate) const EMPTY: Self = Self::new(u64::MAX, 0);

    pub(crate) const fn new(min: u64, max: u64) -> Self {
        Self { min, max }
    }

    pub(crate) const fn fixed(value: u64) -> Self {
        Self::new(value, value)
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self::new(self.min.saturating_add(other.min), self.max.saturating_add(other.max))
    }

    pub(crate) const fn times(self, other: Self) -> Self {
        Self::new(self.min.saturating_mul(other.min), self.max.saturating_mul(other.max))
    }

    /// Both ends times a factor, rounded up.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        // Conversions from floating point saturate.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self::new(scale(self.min), scale(self.max))
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self::new(self.min.min(other.min), self.max.max(other.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overflows() {
        let huge = Range::new(1, u64::MAX);
        assert_eq!(huge.plus(huge), Range::new(2, u64::MAX));
        assert_eq!(huge.times(Range::fixed(3)), Range::new(3, u64::MAX));
        assert_eq!(huge.times(Range::ZERO), Range::ZERO);
        assert_eq!(huge.scaled(2.0), Range::new(2, u64::MAX));
        assert_eq!(huge.scaled(0.1).min, 1);
    }

    #[test]
    fn parts_are_rounded_up() {
        assert_eq!(Range::new(10, 11).scaled(0.1), Range::new(1, 2));
        assert_eq!(Range::new(0, 7).scaled(0.25), Range::new(0, 2));
    }
}
