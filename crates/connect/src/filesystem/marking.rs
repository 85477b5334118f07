//! Which partitions of a folder are complete: a marker file says so, `_SUCCESS` as Hadoop has it. `sink.partition-commit.*`.
//!
//! With the trigger `process-time` a partition is marked as soon as it has rows; with `partition-time`, when the watermark has
//! passed the partition's time and the delay. When all input has ended, every partition is, and the table's folder too.

use std::time::Duration;

use mulgil_dataflow::time::Watermark;
use percent_encoding::percent_decode_str;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;

/// The options.
pub(super) const OPTIONS: [&str; 5] = [
    "sink.partition-commit.policy.kind",
    "sink.partition-commit.success-file.name",
    "sink.partition-commit.trigger",
    "sink.partition-commit.delay",
    "partition.time-extractor.timestamp-pattern",
];

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Marking {
    /// The name of the marker.
    pub(super) marker: String,
    /// `None` marks at once.
    time: Option<PartitionTime>,
}

/// When a partition is complete.
#[derive(Clone, Debug)]
struct PartitionTime {
    /// `$day $hour:00:00`.
    pattern: String,
    delay: Duration,
}

impl Marking {
    /// Reads the options; `None` where nothing is to be marked.
    pub(super) fn new(table: &TableDefinition, options: &Options<'_>) -> Result<Option<Self>, ConnectError> {
        if options.optional("sink.partition-commit.policy.kind").is_none() {
            let other = OPTIONS.iter().find(|name| options.optional(name).is_some());
            return match other {
                Some(other) => Err(options.refusal(format!(
                    "'{other}' does nothing without 'sink.partition-commit.policy.kind' = 'success-file'"
                ))),
                None => Ok(None),
            };
        }
        options.one_of("sink.partition-commit.policy.kind", &[("success-file", ())], ())?;
        let marker = options.optional("sink.partition-commit.success-file.name").unwrap_or("_SUCCESS").to_owned();
        if !marker.starts_with(['_', '.']) || marker.contains('/') {
            return Err(options.refusal(format!(
                "'sink.partition-commit.success-file.name' = '{marker}' would be read as data; let it begin with '_' or '.'"
            )));
        }
        let delay = options.duration("sink.partition-commit.delay")?;
        let triggers = [("process-time", false), ("partition-time", true)];
        let time = if options.one_of("sink.partition-commit.trigger", &triggers, false)? {
            let columns: Vec<String> = table.partitioned_by.iter().map(|column| format!("${column}")).collect();
            let pattern = options.optional("partition.time-extractor.timestamp-pattern");
            let pattern = pattern.map_or_else(|| columns.join(" "), str::to_owned);
            if !columns.iter().any(|column| pattern.contains(column.as_str())) {
                return Err(options.refusal(format!(
                    "'partition.time-extractor.timestamp-pattern' = '{pattern}' names no partition column; there are: {}",
                    columns.join(", ")
                )));
            }
            Some(PartitionTime { pattern, delay: delay.unwrap_or_default() })
        } else if delay.is_some_and(|delay| !delay.is_zero()) {
            return Err(options
                .refusal("'sink.partition-commit.delay' needs 'sink.partition-commit.trigger' = 'partition-time'"));
        } else {
            None
        };
        Ok(Some(Self { marker, time }))
    }

    /// Whether nothing more is expected in the partition with this folder (`day=2013-01-01/hour=7`; empty for the table's own).
    pub(super) fn is_complete(&self, folder: &str, watermark: Watermark) -> bool {
        if folder.is_empty() {
            // The table's own folder is complete when all is.
            return watermark == Watermark::END;
        }
        match &self.time {
            None => true,
            Some(_) if watermark == Watermark::END => true,
            // One whose time cannot be told waits for the end.
            Some(time) => time.of(folder).is_some_and(|time_ms| watermark.0 >= time_ms),
        }
    }
}

impl PartitionTime {
    /// The time at which the partition is complete, in milliseconds.
    fn of(&self, folder: &str) -> Option<i64> {
        let mut text = self.pattern.clone();
        let mut values: Vec<(&str, &str)> = folder.split('/').filter_map(|part| part.split_once('=')).collect();
        // A column whose name begins with another's comes first.
        values.sort_by_key(|(column, _)| std::cmp::Reverse(column.len()));
        for (column, value) in values {
            let value = percent_decode_str(value).decode_utf8().ok()?;
            text = text.replace(&format!("${column}"), &value);
        }
        let begin = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", &text)
            .or_else(|_| text.parse::<jiff::civil::DateTime>())
            .ok()?;
        let begin_ms = begin.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond();
        begin_ms.checked_add(i64::try_from(self.delay.as_millis()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_partition_is_complete_when_the_watermark_has_passed_its_time() {
        let hour = Duration::from_secs(3600);
        for (pattern, folder, ms) in [
            ("$day $hour:00:00", "day=1970-01-02/hour=03", Some((24 + 3 + 1) * 3_600_000)),
            ("$day", "day=1970-01-01", Some(3_600_000)),
            ("$d $d2:00:00", "d=1970-01-01/d2=02", Some(3 * 3_600_000)),
            ("$day", "day=soon", None),
            ("$day", "day=__HIVE_DEFAULT_PARTITION__", None),
        ] {
            let time = PartitionTime { pattern: pattern.to_owned(), delay: hour };
            assert_eq!(time.of(folder), ms, "{folder}");
            let marking = Marking { marker: "_SUCCESS".to_owned(), time: Some(time) };
            assert!(marking.is_complete(folder, Watermark::END), "{folder}");
            if let Some(ms) = ms {
                assert!(marking.is_complete(folder, Watermark(ms)), "{folder}");
                assert!(!marking.is_complete(folder, Watermark(ms - 1)), "{folder}");
            }
        }
    }
}
