//! Sums of floats from which values can be taken back: each is a fixed-point number wide enough for every float, so that
//! adding and subtracting lose nothing and the order of rows does not matter (Kulisch's accumulator, "Computer Arithmetic
//! and Validity").
//!
//! A sum is digits of 32 bits, kept in 64, so that two thousand million additions need no carry. Digits that no value has
//! touched yet are not stored: prices need three digits, not the sixty-six of all floats. The digits of all groups lie in
//! one vector.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, UInt32Type};

/// Bits of a digit.
const DIGIT_BITS: u32 = 32;
const DIGIT_MASK: i64 = (1 << DIGIT_BITS) - 1;
/// A digit beyond this is about to overflow.
const DIGIT_MAX: u64 = 1 << 62;
/// The exponent of the least bit of a float.
const LEAST_EXPONENT: i32 = -1074;

/// One exact sum a group.
#[derive(Default)]
pub(crate) struct ExactSums {
    /// The number of the first digit that is stored.
    first_digit: usize,
    /// How many digits a sum has.
    width: usize,
    /// The digits of all sums, least first.
    digits: Vec<i64>,
    group_bound: usize,
    /// How many values that are no numbers each sum has.
    special: HashMap<usize, Special>,
}

#[derive(Clone, Copy, Default)]
struct Special {
    nan: i64,
    positive_infinity: i64,
    negative_infinity: i64,
}

impl ExactSums {
    /// Makes room for groups below `group_bound`.
    pub(crate) fn grow(&mut self, group_bound: usize) {
        if group_bound > self.group_bound {
            self.group_bound = group_bound;
            self.digits.resize(group_bound * self.width, 0);
        }
    }

    /// Adds a value `times` times: 1 to add it, -1 to take it back.
    pub(crate) fn add(&mut self, group: usize, value: f64, times: i64) {
        if !value.is_finite() {
            let special = self.special.entry(group).or_default();
            let count = match value {
                f64::INFINITY => &mut special.positive_infinity,
                f64::NEG_INFINITY => &mut special.negative_infinity,
                _ => &mut special.nan,
            };
            *count += times;
            return;
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7FF) as u32;
        let fraction = bits & ((1 << 52) - 1);
        // Numbers without a leading one have the least exponent too.
        let (mantissa, position) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        if mantissa == 0 {
            return;
        }
        let sign = if value.is_sign_negative() { -times } else { times };
        let digit = (position / DIGIT_BITS) as usize;
        self.widen(digit, digit + 3);
        let shifted = u128::from(mantissa) << (position % DIGIT_BITS);
        let begin = group * self.width + digit - self.first_digit;
        let mut is_full = false;
        if let Some(places) = self.digits.get_mut(begin..begin + 3) {
            for (number, place) in (0_u32..).zip(places) {
                *place += sign * ((shifted >> (DIGIT_BITS * number)) as i64 & DIGIT_MASK);
                is_full |= place.unsigned_abs() > DIGIT_MAX;
            }
        }
        if is_full {
            self.carry(group);
        }
    }

    /// Stores digits `first..end` too.
    fn widen(&mut self, first: usize, end: usize) {
        let (known_first, known_end) = (self.first_digit, self.first_digit + self.width);
        if self.width > 0 && first >= known_first && end <= known_end {
            return;
        }
        let (first, end) = if self.width == 0 { (first, end) } else { (first.min(known_first), end.max(known_end)) };
        let width = end - first;
        let mut digits = vec![0; self.group_bound * width];
        if self.width > 0 {
            let offset = known_first - first;
            for (to, from) in digits.chunks_exact_mut(width).zip(self.digits.chunks_exact(self.width)) {
                for (to, from) in to.iter_mut().skip(offset).zip(from) {
                    *to = *from;
                }
            }
        }
        (self.first_digit, self.width, self.digits) = (first, width, digits);
    }

    /// Brings the digits of a sum back into 32 bits, all but the greatest, which keeps the sign.
    fn carry(&mut self, group: usize) {
        if self.digits_of(group).last().is_some_and(|greatest| greatest.unsigned_abs() > DIGIT_MAX / 2) {
            self.widen(self.first_digit, self.first_digit + self.width + 1);
        }
        let begin = group * self.width;
        if let Some(digits) = self.digits.get_mut(begin..begin + self.width) {
            carry(digits);
        }
    }

    fn digits_of(&self, group: usize) -> &[i64] {
        let begin = group * self.width;
        self.digits.get(begin..begin + self.width).unwrap_or_default()
    }

    /// The sum, rounded once.
    pub(crate) fn sum(&self, group: usize) -> f64 {
        if let Some(special) = self.special.get(&group) {
            match (special.nan, special.positive_infinity, special.negative_infinity) {
                (0, 0, 0) => {}
                (0, _, 0) => return f64::INFINITY,
                (0, 0, _) => return f64::NEG_INFINITY,
                _ => return f64::NAN,
            }
        }
        let mut digits = self.digits_of(group).to_vec();
        // Room for what the greatest digit carries.
        digits.extend([0, 0]);
        carry(&mut digits);
        let is_negative = digits.last().is_some_and(|greatest| *greatest < 0);
        if is_negative {
            digits.iter_mut().for_each(|digit| *digit = -*digit);
            carry(&mut digits);
        }
        let Some(greatest) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // Three digits hold at least 65 bits: enough to round to 53, with a last bit for all that is below.
        let least = greatest.saturating_sub(2);
        let (below, shown) = digits.split_at(least);
        let shown =
            shown.iter().take(3).rev().fold(0_u128, |sum, digit| (sum << DIGIT_BITS) | digit.unsigned_abs() as u128);
        let sticky = u128::from(below.iter().any(|digit| *digit != 0));
        let exponent = LEAST_EXPONENT + ((self.first_digit + least) as i32) * DIGIT_BITS as i32;
        // In two steps, since the power alone may be too small for a float.
        let half = exponent / 2;
        let magnitude = (shown | sticky) as f64 * 2_f64.powi(half) * 2_f64.powi(exponent - half);
        if is_negative { -magnitude } else { magnitude }
    }

    /// The columns of [`ExactSums::seal`].
    pub(crate) fn sealed_fields() -> Vec<Field> {
        let special = ["nan", "positive_infinity", "negative_infinity"];
        let special = special.map(|name| Field::new(name, DataType::Int64, false));
        let digits = Field::new("digits", DataType::new_list(DataType::Int64, true), false);
        [Field::new("first_digit", DataType::UInt32, false), digits].into_iter().chain(special).collect()
    }

    /// The sums of some groups: the number of the first digit that is not 0, the digits from there, and the counts of
    /// values that are no numbers.
    pub(crate) fn seal(&self, groups: &[usize]) -> Vec<ArrayRef> {
        let mut firsts = Vec::with_capacity(groups.len());
        let mut lists = ListBuilder::new(Int64Builder::new());
        for group in groups {
            let digits = shortest(self.digits_of(*group));
            let begin = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len());
            let end = digits.iter().rposition(|digit| *digit != 0).map_or(begin, |last| last + 1);
            firsts.push(if begin < end { (self.first_digit + begin) as u32 } else { 0 });
            lists.values().append_slice(digits.get(begin..end).unwrap_or_default());
            lists.append(true);
        }
        let special = |count: fn(&Special) -> i64| -> ArrayRef {
            let counts = groups.iter().map(|group| self.special.get(group).map_or(0, count));
            Arc::new(Int64Array::from_iter_values(counts))
        };
        vec![
            Arc::new(UInt32Array::from(firsts)),
            Arc::new(lists.finish()),
            special(|special| special.nan),
            special(|special| special.positive_infinity),
            special(|special| special.negative_infinity),
        ]
    }

    /// Takes over sealed sums of groups that have had no value yet; `None` if these are none.
    pub(crate) fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize]) -> Option<()> {
        let [firsts, lists, special @ ..] = sealed else { return None };
        let (firsts, lists) = (firsts.as_primitive_opt::<UInt32Type>()?, lists.as_list_opt::<i32>()?);
        let special: Vec<&Int64Array> =
            special.iter().map(|counts| counts.as_primitive_opt::<Int64Type>()).collect::<Option<_>>()?;
        let [nan, positive_infinity, negative_infinity] = special.as_slice() else { return None };
        for (row, (group, first)) in groups.iter().zip(firsts.values()).enumerate() {
            let digits = lists.value(row);
            let digits = digits.as_primitive_opt::<Int64Type>()?.values();
            let first = *first as usize;
            if !digits.is_empty() {
                self.widen(first, first + digits.len());
                let begin = group * self.width + first - self.first_digit;
                self.digits.get_mut(begin..begin + digits.len())?.copy_from_slice(digits);
            }
            let special = Special {
                nan: nan.value(row),
                positive_infinity: positive_infinity.value(row),
                negative_infinity: negative_infinity.value(row),
            };
            if (special.nan, special.positive_infinity, special.negative_infinity) != (0, 0, 0) {
                self.special.insert(*group, special);
            }
        }
        Some(())
    }

    /// Makes sums 0 again.
    pub(crate) fn forget(&mut self, group: usize) {
        self.special.remove(&group);
        let begin = group * self.width;
        if let Some(digits) = self.digits.get_mut(begin..begin + self.width) {
            digits.fill(0);
        }
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.digits.capacity() * size_of::<i64>() + self.special.capacity() * size_of::<(usize, Special)>()
    }
}

/// The digits of a sum as nobody else writes it: however wide the sums beside it are.
fn shortest(digits: &[i64]) -> Vec<i64> {
    let mut digits = digits.to_vec();
    // Room for what the greatest digit carries.
    digits.extend([0, 0]);
    carry(&mut digits);
    while digits.len() > 1 && digits.last() == Some(&-1) {
        digits.pop();
        digits.iter_mut().last().into_iter().for_each(|greatest| *greatest -= DIGIT_MASK + 1);
    }
    digits
}

/// Brings all digits but the last into `0..2^32`.
fn carry(digits: &mut [i64]) {
    let mut carried = 0;
    let Some((greatest, lower)) = digits.split_last_mut() else { return };
    for digit in lower {
        let sum = *digit + carried;
        *digit = sum & DIGIT_MASK;
        carried = sum >> DIGIT_BITS;
    }
    *greatest += carried;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sums = ExactSums::default();
        sums.grow(2);
        for value in values {
            sums.add(1, *value, 1);
        }
        sums.sum(1)
    }

    #[test]
    fn sums_are_rounded_once() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![0.0, -0.0], 0.0),
            (vec![0.1], 0.1),
            (vec![-0.1, -0.2, 0.3], -2.7755575615628914e-17),
            (vec![1e100, 1.0, -1e100], 1.0),
            (vec![1e16, 1.0, 1.0], 10_000_000_000_000_002.0),
            (vec![1e16, 1.0, 1e-300], 10_000_000_000_000_002.0),
            (vec![1e16, 1.0], 1e16),
            (vec![f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (vec![f64::MAX, f64::MAX], f64::INFINITY),
            (vec![5e-324, 5e-324, 1.0, -1.0], 1e-323),
            (vec![-5e-324, 2.2250738585072014e-308], 2.225073858507201e-308),
            (vec![f64::INFINITY, 1.0], f64::INFINITY),
        ] {
            assert_eq!(sum(&values), expected, "{values:?}");
        }
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut sums = ExactSums::default();
        sums.grow(3);
        let values = [1e300, -3.7, f64::NAN, 1e-300, f64::INFINITY, 123_456.789];
        for value in values {
            sums.add(0, value, 1);
            sums.add(2, 1.5, 1);
        }
        for value in values {
            sums.add(0, value, -1);
        }
        assert_eq!((sums.sum(0), sums.sum(1), sums.sum(2)), (0.0, 0.0, 9.0));
    }

    #[test]
    fn a_full_digit_is_carried() {
        let mut sums = ExactSums::default();
        sums.grow(1);
        // Each of these puts 2^31 or more into a digit; scaled up so that the test need not add thousands of millions.
        for _ in 0..10 {
            sums.add(0, 4_294_967_295.0, 1 << 30);
        }
        assert_eq!(sums.sum(0), 4_294_967_295.0 * 10.0 * f64::from(1 << 30));
        for _ in 0..10 {
            sums.add(0, -4_294_967_295.0, 1 << 30);
        }
        assert_eq!(sums.sum(0), 0.0);
    }
}
