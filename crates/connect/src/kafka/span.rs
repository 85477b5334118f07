//! From where to where a topic is read: `scan.startup.*` and `scan.bounded.*`, and the offsets they mean now.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::link::{ANSWER_TIMEOUT, LinkContext};
use super::properties::Properties;
use crate::error::ConnectError;
use crate::options::Options;

/// Where reading begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Start {
    /// At the first record that is still there.
    Earliest,
    /// Behind the last one.
    Latest,
    /// Where the group has committed; elsewhere where this says.
    Group(Reset),
    /// At the first record that is not older than this.
    Time(i64),
    /// At an offset a partition; partitions that are not named, at the first record.
    Offsets(BTreeMap<i32, i64>),
}

/// Where a group that has committed nothing begins: `properties.auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reset {
    Earliest,
    Latest,
    /// Nowhere: it is an error.
    None,
}

/// Where reading ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stop {
    /// Behind the record that is the last one when reading begins.
    Latest,
    /// Where the group has committed.
    Group,
    /// Before the first record that is not older than this.
    Time(i64),
    /// Before an offset a partition; partitions that are not named, at their last record.
    Offsets(BTreeMap<i32, i64>),
}

/// The records that a partition has now: `[first, end)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) first: i64,
    pub(super) end: i64,
}

impl Start {
    /// Reads `scan.startup.*`. Without a mode, a table with a group goes on where the group is, as in Flink; others begin at the
    /// first record.
    pub(super) fn new(options: &Options<'_>, properties: &Properties) -> Result<Self, ConnectError> {
        let reset = match properties.get("auto.offset.reset") {
            None | Some("earliest" | "beginning" | "smallest") => Reset::Earliest,
            Some("latest" | "end" | "largest") => Reset::Latest,
            Some("none" | "error") => Reset::None,
            Some(other) => {
                let reason = format!("'properties.auto.offset.reset' = '{other}'; allowed: earliest, latest, none");
                return Err(options.refusal(reason));
            }
        };
        let modes = ["earliest-offset", "latest-offset", "group-offsets", "timestamp", "specific-offsets"];
        let modes: Vec<(&str, usize)> = modes.into_iter().zip(0..).collect();
        let has_group = properties.get("group.id").is_some();
        Ok(match options.one_of("scan.startup.mode", &modes, if has_group { 2 } else { 0 })? {
            0 => Self::Earliest,
            1 => Self::Latest,
            2 if !has_group => {
                return Err(options.refusal("'group-offsets' needs 'properties.group.id' = 'a name'"));
            }
            2 => Self::Group(reset),
            3 => Self::Time(time(options, "scan.startup.timestamp-millis")?),
            _ => Self::Offsets(offsets(options, "scan.startup.specific-offsets")?),
        })
    }

    /// The offset that this means now.
    pub(super) fn resolve(
        &self,
        consumer: &BaseConsumer<LinkContext>,
        topic: &str,
        partition: i32,
        extent: Extent,
    ) -> KafkaResult<Option<i64>> {
        Ok(Some(match self {
            Self::Earliest => extent.first,
            Self::Latest => extent.end,
            Self::Time(time_ms) => at_time(consumer, topic, partition, *time_ms)?.unwrap_or(extent.end),
            Self::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(extent.first),
            Self::Group(reset) => match (committed(consumer, topic, partition)?, reset) {
                (Some(offset), _) => offset,
                (None, Reset::Earliest) => extent.first,
                (None, Reset::Latest) => extent.end,
                (None, Reset::None) => return Ok(None),
            },
        }))
    }
}

impl Stop {
    /// Reads `scan.bounded.*`.
    pub(super) fn new(options: &Options<'_>) -> Result<Option<Self>, ConnectError> {
        let modes = ["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"];
        let modes: Vec<(&str, usize)> = modes.into_iter().zip(0..).collect();
        Ok(match options.one_of("scan.bounded.mode", &modes, 0)? {
            0 => None,
            1 => Some(Self::Latest),
            2 => Some(Self::Group),
            3 => Some(Self::Time(time(options, "scan.bounded.timestamp-millis")?)),
            _ => Some(Self::Offsets(offsets(options, "scan.bounded.specific-offsets")?)),
        })
    }

    /// The offset that this means now.
    pub(super) fn resolve(
        &self,
        consumer: &BaseConsumer<LinkContext>,
        topic: &str,
        partition: i32,
        extent: Extent,
    ) -> KafkaResult<i64> {
        Ok(match self {
            Self::Latest => extent.end,
            Self::Time(time_ms) => at_time(consumer, topic, partition, *time_ms)?.unwrap_or(extent.end),
            Self::Offsets(offsets) => offsets.get(&partition).copied().unwrap_or(extent.end),
            Self::Group => committed(consumer, topic, partition)?.unwrap_or(extent.end),
        })
    }
}

fn time(options: &Options<'_>, name: &str) -> Result<i64, ConnectError> {
    options.required(name, "1357016400000")?;
    Ok(options.number(name)?.unwrap_or_default())
}

/// `partition:0,offset:42;partition:1,offset:300`.
fn offsets(options: &Options<'_>, name: &str) -> Result<BTreeMap<i32, i64>, ConnectError> {
    let example = "partition:0,offset:42;partition:1,offset:300";
    let text = options.required(name, example)?;
    let pair = |text: &str| {
        let (partition, offset) = text.trim().strip_prefix("partition:")?.split_once(",offset:")?;
        Some((partition.trim().parse().ok()?, offset.trim().parse().ok()?))
    };
    let pairs: Option<BTreeMap<i32, i64>> = text.split(';').map(pair).collect();
    pairs.ok_or_else(|| options.refusal(format!("'{name}' = '{text}' cannot be read; write for example '{example}'")))
}

/// The first offset whose record is not older than `time_ms`, if there is one.
fn at_time(
    consumer: &BaseConsumer<LinkContext>,
    topic: &str,
    partition: i32,
    time_ms: i64,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(time_ms))?;
    let found = consumer.offsets_for_times(asked, ANSWER_TIMEOUT)?;
    offset_of(&found, topic, partition)
}

/// Where the group has committed, if it has.
fn committed(consumer: &BaseConsumer<LinkContext>, topic: &str, partition: i32) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let found = consumer.committed_offsets(asked, ANSWER_TIMEOUT)?;
    offset_of(&found, topic, partition)
}

fn offset_of(list: &TopicPartitionList, topic: &str, partition: i32) -> KafkaResult<Option<i64>> {
    let Some(found) = list.find_partition(topic, partition) else { return Ok(None) };
    found.error()?;
    match found.offset() {
        Offset::Offset(offset) => Ok(Some(offset)),
        Offset::End | Offset::Invalid => Ok(None),
        other => Err(KafkaError::Seek(format!("unexpected offset {other:?}"))),
    }
}
