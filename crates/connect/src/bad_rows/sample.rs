//! The last few rows of a table that could not be read, for people to look at: bounded in number and in size, and as text
//! that does nothing where it is shown.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BadRow;

/// How many are kept.
const ROWS_MAX: usize = 10;
/// How much of a row is kept.
pub(super) const RAW_BYTES_MAX: usize = 300;
/// How much of its place and of the reason.
const TEXT_BYTES_MAX: usize = 1_000;

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledRow {
    /// Where it is: `landing/b.csv:4`, or `topic t, partition 0, offset 7`.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
    /// How it begins, with escapes for what cannot be printed; `None` where it is not text of its own.
    pub raw: Option<String>,
    /// Whether it goes on behind `raw`.
    pub is_cut: bool,
    /// When it was read, on the machine's clock, in milliseconds since the epoch.
    pub read_ms: i64,
}

/// See the module. Clones hold the same rows.
#[derive(Clone, Debug, Default)]
pub struct BadRowSample(Arc<Mutex<VecDeque<SampledRow>>>);

impl BadRowSample {
    /// The rows, the latest last.
    pub fn rows(&self) -> Vec<SampledRow> {
        self.lock().iter().cloned().collect()
    }

    /// Takes the last of these rows in place of the oldest there are.
    pub(super) fn take(&self, bad: &[BadRow]) {
        let last = bad.get(bad.len().saturating_sub(ROWS_MAX)..).unwrap_or_default();
        let read_ms = jiff::Timestamp::now().as_millisecond();
        let mut rows = self.lock();
        for row in last {
            if rows.len() == ROWS_MAX {
                rows.pop_front();
            }
            rows.push_back(SampledRow {
                place: printable(row.place.as_bytes(), TEXT_BYTES_MAX),
                reason: printable(row.reason.as_bytes(), TEXT_BYTES_MAX),
                raw: row.raw.as_deref().map(|raw| printable(raw, RAW_BYTES_MAX)),
                is_cut: row.raw.as_ref().is_some_and(|raw| raw.len() > RAW_BYTES_MAX),
                read_ms,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<SampledRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How some bytes begin, as text: what is not UTF-8, steers a terminal or turns the direction of writing is escaped.
pub(super) fn printable(bytes: &[u8], bytes_max: usize) -> String {
    let begin = bytes.get(..bytes_max).unwrap_or(bytes);
    let is_cut = begin.len() < bytes.len();
    let mut text = String::with_capacity(begin.len());
    let mut chunks = begin.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' | '\\' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        // Half a letter at the end is the fault of the cut.
        if !is_cut || chunks.peek().is_some() {
            for byte in chunk.invalid() {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        let cases: [(&[u8], &str); 8] = [
            (br#"{"a": "it's \u0041"}"#, r#"{"a": "it's \u0041"}"#),
            ("물길, ñ".as_bytes(), "물길, ñ"),
            (b"a\tb\r\nc\0", r"a\tb\r\nc\0"),
            (b"\x1b[2Jgone", r"\u{1b}[2Jgone"),
            ("a\u{202e}b\u{2066}".as_bytes(), r"a\u{202e}b\u{2066}"),
            (b"\xff\xfeA", r"\xff\xfeA"),
            ("ab물".as_bytes().split_at(4).0, r"ab\xeb\xac"),
            (b"<script>", "<script>"),
        ];
        for (bytes, text) in cases {
            assert_eq!(printable(bytes, 100), text);
        }
        assert_eq!(printable("ab물길".as_bytes(), 6), "ab물", "a letter that the cut goes through is left out");
    }

    #[test]
    fn the_last_rows_stay_and_long_ones_are_cut() {
        let sample = BadRowSample::default();
        let row = |number: usize| BadRow {
            place: format!("a.csv:{number}"),
            reason: "x".repeat(5_000),
            raw: number.is_multiple_of(2).then(|| vec![b'y'; 1_000]),
        };
        sample.take(&(0..25).map(row).collect::<Vec<_>>());
        sample.take(&[row(25), row(26)]);
        let rows = sample.rows();
        let places: Vec<String> = (17..27).map(|number| format!("a.csv:{number}")).collect();
        assert_eq!(rows.iter().map(|row| row.place.clone()).collect::<Vec<_>>(), places);
        let last = rows.last().unwrap();
        assert_eq!((last.reason.len(), last.raw.as_ref().unwrap().len()), (TEXT_BYTES_MAX, RAW_BYTES_MAX));
        assert!(last.is_cut && !rows[0].is_cut && rows[0].raw.is_none());
    }
}
