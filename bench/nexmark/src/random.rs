//! Random numbers of one event: they depend on the seed and the event's number alone, so that any part of the stream can
//! be made without the part before it.

/// The numbers of one event, one after the other (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// The numbers of event `number`.
    pub(crate) fn of_event(seed: u64, number: u64) -> Self {
        Self(mixed(seed.wrapping_add(GOLDEN)) ^ mixed(number.wrapping_mul(GOLDEN)))
    }

    /// Any number.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed(self.0)
    }

    /// A number below `bound`, which is at least 1: the upper half of a product, so without a division.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// As [`Random::below`], for ids.
    pub(crate) fn below_id(&mut self, bound: i64) -> i64 {
        self.below(bound.max(1).unsigned_abs()).cast_signed()
    }

    /// A number from 0 up to, but not including, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the words.
    pub(crate) fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words.get(self.below(words.len() as u64) as usize).copied().unwrap_or_default()
    }

    /// Appends `count` letters.
    pub(crate) fn letters(&mut self, count: usize, text: &mut String) {
        let mut left = count;
        while left > 0 {
            // Thirteen letters are in one number, as digits to the base 26.
            let mut digits = self.next_u64();
            for _ in 0..left.min(13) {
                text.push(char::from(b'a' + (digits % 26) as u8));
                digits /= 26;
            }
            left -= left.min(13);
        }
    }
}

fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
