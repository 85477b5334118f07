//! Decimal numbers on the wire: their digits as text, or in groups of four.

use std::fmt::Write as _;

use bytes::{Buf, BufMut, BytesMut};

use crate::service::QueryError;

const GROUP: usize = 4;
const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;
/// A number of more digits is none of ours.
const GROUPS_MAX: usize = 4_096;

/// Digits such as `1.25` with an exponent of ten, without one.
pub(crate) fn plain(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX) + i64::from(exponent);
    let length = i64::try_from(all.len()).unwrap_or(i64::MAX);
    if point <= 0 {
        let zeros = "0".repeat(usize::try_from(-point).unwrap_or_default());
        return format!("{sign}0.{zeros}{all}");
    }
    if point >= length {
        let zeros = "0".repeat(usize::try_from(point - length).unwrap_or_default());
        return format!("{sign}{all}{zeros}");
    }
    let (whole, fraction) = all.split_at(usize::try_from(point).unwrap_or_default());
    format!("{sign}{whole}.{fraction}")
}

/// Writes a number that is given as text, such as `-12.50`.
pub(crate) fn write(text: &str, binary: bool, out: &mut BytesMut) -> Result<(), QueryError> {
    if !binary {
        out.put_slice(text.as_bytes());
        return Ok(());
    }
    let (sign, digits) = text.strip_prefix('-').map_or((POSITIVE, text), |digits| (NEGATIVE, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let wrong = || QueryError::new(QueryError::INTERNAL, format!("{text} is no decimal number"));
    // Whole groups of four on both sides of the point.
    let missing = |length: usize| (GROUP - length % GROUP) % GROUP;
    let mut all = "0".repeat(missing(whole.len()));
    all.push_str(whole);
    let whole_groups = all.len() / GROUP;
    all.push_str(fraction);
    all.push_str(&"0".repeat(missing(fraction.len())));
    let groups = all.as_bytes().chunks(GROUP).map(|group| std::str::from_utf8(group).ok()?.parse::<i16>().ok());
    let groups = groups.collect::<Option<Vec<i16>>>().ok_or_else(wrong)?;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let trailing = groups.iter().skip(leading).rev().take_while(|group| **group == 0).count();
    let kept = groups.get(leading..groups.len() - trailing).unwrap_or_default();
    let weight = if kept.is_empty() { 0 } else { signed(whole_groups)? - signed(leading)? - 1 };
    out.put_i16(signed(kept.len())?);
    out.put_i16(weight);
    out.put_u16(if kept.is_empty() { POSITIVE } else { sign });
    out.put_i16(signed(fraction.len())?);
    kept.iter().for_each(|group| out.put_i16(*group));
    Ok(())
}

fn signed(count: usize) -> Result<i16, QueryError> {
    i16::try_from(count).map_err(|_| QueryError::new(QueryError::OUT_OF_RANGE, "a number has too many digits"))
}

/// Reads a binary number as text.
pub(crate) fn read(mut bytes: &[u8]) -> Result<String, QueryError> {
    let wrong = || QueryError::new("22P03", "a binary number is garbled");
    if bytes.len() < 8 {
        return Err(wrong());
    }
    let count = usize::try_from(bytes.get_i16()).map_err(|_| wrong())?;
    let (weight, sign, scale) = (i64::from(bytes.get_i16()), bytes.get_u16(), bytes.get_i16());
    if count > GROUPS_MAX || bytes.len() != count * 2 || !matches!(sign, POSITIVE | NEGATIVE) {
        return Err(wrong());
    }
    let groups: Vec<i16> = (0..count).map(|_| bytes.get_i16()).collect();
    let group = |place: i64| {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or_default()
    };
    let mut text = String::new();
    for place in (0..=weight.max(0)).rev() {
        write!(text, "{:04}", group(place)).map_err(|_| wrong())?;
    }
    let whole = text.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let scale = usize::try_from(scale).map_err(|_| wrong())?;
    let mut fraction = String::new();
    for place in 1..=i64::try_from(scale.div_ceil(GROUP)).unwrap_or_default() {
        write!(fraction, "{:04}", group(-place)).map_err(|_| wrong())?;
    }
    fraction.truncate(scale);
    let sign = if sign == NEGATIVE { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn numbers_come_back_from_their_binary_form() {
        let numbers = [
            "0",
            "1",
            "-1",
            "0.00",
            "12.50",
            "-0.0001",
            "9999",
            "10000",
            "10000.0001",
            "123456789012345678.90",
            "0.00000000000000000000000000000000000001",
            "99999999999999999999999999999999999999",
            "100000000",
        ];
        for number in numbers {
            let mut bytes = BytesMut::new();
            write(number, true, &mut bytes).unwrap();
            assert_eq!(read(&bytes).unwrap(), number);
        }
    }

    #[test]
    fn the_binary_form_is_that_of_postgres() {
        // `SELECT 12345.678::numeric` of PostgreSQL 15, sent in binary.
        let mut bytes = BytesMut::new();
        write("12345.678", true, &mut bytes).unwrap();
        assert_eq!(bytes[..], [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
    }

    #[test]
    fn garbled_numbers_are_refused() {
        for bytes in [&[][..], &[0; 7], &[0, 1, 0, 0, 0, 0, 0, 0], &[0xff, 0xff, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(read(bytes).unwrap_err().code, "22P03", "{bytes:?}");
        }
    }

    #[test]
    fn exponents_are_written_out() {
        for (digits, exponent, expected) in
            [("1.25", 0, "1.25"), ("1.25", 1, "12.5"), ("-1", 3, "-1000"), ("5", -4, "0.0005"), ("0", 0, "0")]
        {
            assert_eq!(plain(digits, exponent), expected);
        }
    }
}
