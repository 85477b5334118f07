//! What happens with rows that cannot be read: they stop the statement, are left out, or go to a topic of the event log as
//! *dead letters*. Whatever it is, they are counted, the first few are shown in the log, and the last few to whoever looks.
//!
//! Dead letters are durable before the rows behind them go on. What is read again after a crash is put aside again: the place
//! of a dead letter tells one that came twice.

mod sample;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mulgil_log::{EventLog, Record, TopicOptions};
use serde_json::json;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::{Options, refusal};

pub use sample::{BadRowSample, SampledRow};

/// The options.
pub(crate) const OPTIONS: [&str; 2] = ["bad-rows", "dead-letter.topic"];

/// How many of a table's bad rows are shown in the log.
const SHOWN_MAX: u64 = 10;

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BadRow {
    /// Where it is: `landing/b.csv:4`.
    pub(crate) place: String,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// The row as it stands there; `None` where it is not text of its own.
    pub(crate) raw: Option<Vec<u8>>,
}

/// What happens with the bad rows of one table.
#[derive(Clone, Debug)]
pub(crate) struct BadRows {
    table: Arc<str>,
    policy: Policy,
    left_out: Arc<LeftOut>,
    sample: BadRowSample,
}

/// How many rows of a table were left out. Whoever is done with them last says so in the log: a statement in batch has no other
/// place to show it.
#[derive(Debug)]
struct LeftOut {
    table: Arc<str>,
    rows: AtomicU64,
}

impl Drop for LeftOut {
    fn drop(&mut self) {
        let rows = self.rows.load(Ordering::Relaxed);
        if rows > 0 {
            tracing::warn!(table = %self.table, rows, "rows that cannot be read were left out, in all");
        }
    }
}

#[derive(Clone, Debug)]
enum Policy {
    Fail,
    Skip,
    DeadLetter { topic: String, log: Option<EventLog> },
}

#[derive(Clone, Copy)]
enum Word {
    Fail,
    Skip,
    DeadLetter,
}

impl BadRows {
    /// Reads the options; `skips` is what the format's own `ignore-parse-errors` says.
    pub(crate) fn new(
        table: &TableDefinition,
        options: &Options<'_>,
        skips: bool,
        log: Option<&EventLog>,
    ) -> Result<Self, ConnectError> {
        let words = [("fail", Word::Fail), ("skip", Word::Skip), ("dead-letter", Word::DeadLetter)];
        let default = if skips { Word::Skip } else { Word::Fail };
        let word = options.one_of("bad-rows", &words, default)?;
        let topic = options.optional("dead-letter.topic");
        let policy = match word {
            Word::DeadLetter => {
                let topic = options.required("dead-letter.topic", "rejects")?.to_owned();
                Policy::DeadLetter { topic, log: log.cloned() }
            }
            _ if topic.is_some() => {
                return Err(refusal(table, "'dead-letter.topic' does nothing without 'bad-rows' = 'dead-letter'"));
            }
            Word::Skip => Policy::Skip,
            Word::Fail if skips => {
                return Err(refusal(
                    table,
                    "'bad-rows' = 'fail' and 'ignore-parse-errors' = 'true' contradict each other",
                ));
            }
            Word::Fail => Policy::Fail,
        };
        let table: Arc<str> = table.name.to_string().into();
        let left_out = Arc::new(LeftOut { table: Arc::clone(&table), rows: AtomicU64::new(0) });
        Ok(Self { table, policy, left_out, sample: BadRowSample::default() })
    }

    /// Whether the first bad row stops everything.
    pub(crate) fn are_fatal(&self) -> bool {
        matches!(self.policy, Policy::Fail)
    }

    /// Where to see the last few.
    pub(crate) fn sample(&self) -> BadRowSample {
        self.sample.clone()
    }

    /// Keeps a row that stops everything where it can be seen.
    pub(crate) fn show(&self, row: BadRow) {
        self.sample.take(&[row]);
    }

    /// Deals with rows that are left out. Blocks: not for tokio's own threads.
    pub(crate) fn put_aside(&self, bad: &[BadRow]) -> Result<(), ConnectError> {
        let before = self.left_out.rows.fetch_add(bad.len() as u64, Ordering::Relaxed);
        let left = usize::try_from(SHOWN_MAX.saturating_sub(before)).unwrap_or_default();
        for row in bad.iter().take(left) {
            let raw = sample::printable(row.raw.as_deref().unwrap_or_default(), sample::RAW_BYTES_MAX);
            tracing::warn!(table = %self.table, place = %row.place, reason = %row.reason, raw, "a row cannot be read; it is left out");
        }
        self.sample.take(bad);
        let Policy::DeadLetter { topic, log } = &self.policy else { return Ok(()) };
        if bad.is_empty() {
            return Ok(());
        }
        let Some(log) = log else {
            let reason = "there is no event log here for its dead letters; open the project with one".to_owned();
            return Err(ConnectError::Definition { table: self.table.to_string(), reason });
        };
        let records: Vec<Record> = bad.iter().map(|row| self.letter(row)).collect();
        log.topic_or_create(topic, TopicOptions::default())?.append_blocking(0, &records)?;
        Ok(())
    }

    fn letter(&self, row: &BadRow) -> Record {
        let now = jiff::Timestamp::now();
        let hex = row.raw.as_ref().map(|raw| {
            raw.iter().fold(String::with_capacity(raw.len() * 2), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        });
        let letter = json!({
            "source_table": &*self.table,
            "place": row.place,
            "reason": row.reason,
            "raw": row.raw.as_ref().map(|raw| String::from_utf8_lossy(raw)),
            "raw_bytes": hex,
            "time": now.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string(),
        });
        Record { timestamp_ms: now.as_millisecond(), key: None, value: letter.to_string().into() }
    }
}
