//! `mulgil log consume`: prints records, one a line, from an offset or a time on, up to what is there now.

use anyhow::Result;
use jiff::Timestamp;
use mulgil_log::{RecordRef, StartAt, Topic};
use serde_json::json;

use crate::arguments::{Arguments, Format};
use crate::output::write_out;

/// How much is read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Which records are printed.
pub(crate) struct Which {
    /// From this offset on.
    pub(crate) offset: Option<u64>,
    /// From this time on.
    pub(crate) since: Option<Timestamp>,
    /// At most so many a partition.
    pub(crate) limit: Option<u64>,
    /// Only this partition.
    pub(crate) partition: Option<u32>,
}

/// Prints the values; as JSON with offset, time and key.
pub(crate) fn execute(arguments: &Arguments, topic: &str, which: &Which) -> Result<()> {
    let log = super::read_log(arguments)?;
    let topic = log.topic(topic)?;
    let partitions = match which.partition {
        Some(partition) => partition..partition + 1,
        None => 0..topic.partitions(),
    };
    for partition in partitions {
        print_partition(&topic, partition, which, arguments.format)?;
    }
    Ok(())
}

fn print_partition(topic: &Topic, partition: u32, which: &Which, format: Format) -> Result<()> {
    let from = match (which.offset, which.since) {
        (Some(offset), _) => StartAt::Offset(offset),
        (None, Some(since)) => StartAt::Time(since.as_millisecond()),
        (None, None) => StartAt::Earliest,
    };
    let mut reader = topic.reader(partition, from)?;
    let first = reader.offset();
    let mut left = which.limit.unwrap_or(u64::MAX);
    loop {
        let frames = reader.read(READ_BYTES)?;
        if frames.is_empty() || left == 0 {
            return Ok(());
        }
        let mut text = String::new();
        for record in frames.iter().flat_map(|frame| frame.records()).filter(|record| record.offset >= first) {
            if left == 0 {
                break;
            }
            left -= 1;
            text.push_str(&line(partition, &record, format));
        }
        write_out(&text)?;
    }
}

fn line(partition: u32, record: &RecordRef<'_>, format: Format) -> String {
    let value = String::from_utf8_lossy(record.value);
    if format != Format::Json {
        return format!("{value}\n");
    }
    let object = json!({
        "partition": partition,
        "offset": record.offset,
        "timestamp": Timestamp::from_millisecond(record.timestamp_ms).map(|time| time.to_string()).ok(),
        "key": record.key.map(String::from_utf8_lossy),
        "value": serde_json::from_str(&value).unwrap_or_else(|_| json!(value)),
    });
    format!("{object}\n")
}
