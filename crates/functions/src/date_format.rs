//! `DATE_FORMAT(timestamp, 'yyyy-MM-dd')`: a time as text, by a pattern of letters as Java has them.

use std::fmt::Write;

use arrow::array::{StringArray, StringBuilder, TimestampMillisecondArray};
use arrow::temporal_conversions::timestamp_ms_to_datetime;

use crate::FunctionError;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// All times by one pattern.
///
/// # Errors
/// The pattern has unknown letters, or a time is out of range.
pub fn same_for_all(times: &TimestampMillisecondArray, pattern: &str) -> Result<StringArray, FunctionError> {
    Pattern::read(pattern)?.all(times)
}

/// To each time its own pattern.
///
/// # Errors
/// A pattern has unknown letters, or a time is out of range.
pub fn each_its_own(times: &TimestampMillisecondArray, patterns: &StringArray) -> Result<StringArray, FunctionError> {
    let text = |(time, pattern): (Option<i64>, Option<&str>)| match (time, pattern) {
        (Some(time_ms), Some(pattern)) => Pattern::read(pattern)?.one(time_ms).map(Some),
        _ => Ok(None),
    };
    times.iter().zip(patterns).map(text).collect()
}

/// A pattern, ready for use.
struct Pattern {
    /// The same in the letters of C.
    format: String,
    /// All times of a span of this length have the same text.
    unit_ms: i64,
}

impl Pattern {
    fn read(pattern: &str) -> Result<Self, FunctionError> {
        let mut read = Self { format: String::new(), unit_ms: DAY_MS };
        let mut letters = pattern.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter == '\'' {
                // Two quotes are a quote, wherever they are.
                if letters.next_if_eq(&'\'').is_some() {
                    read.literal('\'');
                    continue;
                }
                while let Some(quoted) = letters.next() {
                    if quoted == '\'' && letters.next_if_eq(&'\'').is_none() {
                        break;
                    }
                    read.literal(quoted);
                }
            } else if letter.is_ascii_alphabetic() {
                let mut count = 1;
                while letters.next_if_eq(&letter).is_some() {
                    count += 1;
                }
                let (code, unit_ms) = code(letter, count).ok_or_else(|| FunctionError::Pattern {
                    letters: letter.to_string().repeat(count),
                    pattern: pattern.to_owned(),
                })?;
                read.format.push_str(code);
                read.unit_ms = read.unit_ms.min(unit_ms);
            } else {
                read.literal(letter);
            }
        }
        Ok(read)
    }

    fn literal(&mut self, letter: char) {
        self.format.push(letter);
        if letter == '%' {
            self.format.push('%');
        }
    }

    fn all(&self, times: &TimestampMillisecondArray) -> Result<StringArray, FunctionError> {
        let mut texts = StringBuilder::with_capacity(times.len(), times.len() * self.format.len() * 2);
        let mut unit = None;
        let mut text = String::new();
        for time in times {
            let Some(time_ms) = time else {
                texts.append_null();
                continue;
            };
            // Rows near each other are mostly near in time too.
            let unit_now = time_ms.div_euclid(self.unit_ms);
            if unit != Some(unit_now) {
                text = self.one(time_ms)?;
                unit = Some(unit_now);
            }
            texts.append_value(&text);
        }
        Ok(texts.finish())
    }

    fn one(&self, time_ms: i64) -> Result<String, FunctionError> {
        let out_of_range = || FunctionError::Time { time_ms };
        let time = timestamp_ms_to_datetime(time_ms).ok_or_else(out_of_range)?;
        let mut text = String::new();
        write!(text, "{}", time.format(&self.format)).map_err(|_| out_of_range())?;
        Ok(text)
    }
}

/// C's letters for Java's, and how long a text stays the same.
fn code(letter: char, count: usize) -> Option<(&'static str, i64)> {
    Some(match (letter, count) {
        ('y' | 'u', 2) => ("%y", DAY_MS),
        ('y' | 'u', 1 | 3 | 4) => ("%Y", DAY_MS),
        ('M' | 'L', 1) => ("%-m", DAY_MS),
        ('M' | 'L', 2) => ("%m", DAY_MS),
        ('M' | 'L', 3) => ("%b", DAY_MS),
        ('M' | 'L', 4) => ("%B", DAY_MS),
        ('d', 1) => ("%-d", DAY_MS),
        ('d', 2) => ("%d", DAY_MS),
        ('D', 1) => ("%-j", DAY_MS),
        ('D', 3) => ("%j", DAY_MS),
        ('E', 1..=3) => ("%a", DAY_MS),
        ('E', 4) => ("%A", DAY_MS),
        ('a', 1) => ("%p", HOUR_MS),
        ('H', 1) => ("%-H", HOUR_MS),
        ('H', 2) => ("%H", HOUR_MS),
        ('h', 1) => ("%-I", HOUR_MS),
        ('h', 2) => ("%I", HOUR_MS),
        ('m', 1) => ("%-M", MINUTE_MS),
        ('m', 2) => ("%M", MINUTE_MS),
        ('s', 1) => ("%-S", SECOND_MS),
        ('s', 2) => ("%S", SECOND_MS),
        ('S', 3) => ("%3f", 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn patterns_are_java_s() {
        // 1969-12-31 23:59:58.007
        let time_ms = -1_993;
        for (pattern, expected) in [
            ("yyyy-MM-dd", "1969-12-31"),
            ("HH:mm", "23:59"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "1969-12-31T23:59:58.007"),
            ("d MMM yy, h a", "31 Dec 69, 11 PM"),
            ("EEEE 'o''clock' 100%", "Wednesday o'clock 100%"),
            ("''yyyy''", "'1969'"),
        ] {
            assert_eq!(Pattern::read(pattern).unwrap().one(time_ms).unwrap(), expected, "{pattern}");
        }
        let error = Pattern::read("yyyy-QQ").err().unwrap();
        assert_eq!(error.to_string(), "DATE_FORMAT does not know QQ in the pattern 'yyyy-QQ'");
    }

    #[test]
    fn rows_of_one_unit_share_their_text() {
        let times = TimestampMillisecondArray::from(vec![Some(-1), Some(0), None, Some(59_999), Some(60_000)]);
        let texts = Pattern::read("HH:mm").unwrap().all(&times).unwrap();
        let expected = [Some("23:59"), Some("00:00"), None, Some("00:00"), Some("00:01")];
        assert_eq!(texts.iter().collect::<Vec<_>>(), expected);
    }
}
