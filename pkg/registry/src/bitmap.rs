//! A set of small numbers from which free ones are taken. The lower part is left to those who ask for a certain number.

use rand::Rng as _;

pub struct Bitmap {
    words: Vec<u64>,
    size: u32,
    /// Numbers below are handed out only when all above are taken.
    static_band: u32,
}

impl Bitmap {
    pub fn new(size: u32, static_band: u32) -> Self {
        let words = vec![0; size.div_ceil(64) as usize];
        Self { words, size, static_band: static_band.min(size) }
    }

    /// False if `number` is taken already or too large.
    pub fn take(&mut self, number: u32) -> bool {
        if number >= self.size || self.contains(number) {
            return false;
        }
        self.words[(number / 64) as usize] |= 1 << (number % 64);
        true
    }

    pub fn free(&mut self, number: u32) {
        if number < self.size {
            self.words[(number / 64) as usize] &= !(1 << (number % 64));
        }
    }

    pub fn contains(&self, number: u32) -> bool {
        number < self.size && self.words[(number / 64) as usize] & (1 << (number % 64)) != 0
    }

    /// Takes any free number: from a random place upwards, so that a number just freed is not handed out next.
    pub fn take_any(&mut self) -> Option<u32> {
        self.take_between(self.static_band, self.size).or_else(|| self.take_between(0, self.static_band))
    }

    fn take_between(&mut self, low: u32, high: u32) -> Option<u32> {
        if low >= high {
            return None;
        }
        let start = rand::rng().random_range(low..high);
        let free = (start..high).chain(low..start).find(|number| !self.contains(*number))?;
        self.take(free);
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_each_number_once_and_the_lower_band_last() {
        let mut bitmap = Bitmap::new(70, 10);
        let mut upper: Vec<u32> = (0..60).filter_map(|_| bitmap.take_any()).collect();
        upper.sort_unstable();
        assert_eq!(upper, (10..70).collect::<Vec<_>>());
        assert!(bitmap.take_any().is_some_and(|n| n < 10));
        assert!(!bitmap.take(69) && !bitmap.take(70));
        bitmap.free(69);
        assert_eq!((bitmap.take_between(10, 70), bitmap.take_between(10, 70)), (Some(69), None));
    }
}
