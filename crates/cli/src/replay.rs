//! Replays a query's rows into a topic, at the pace of one of its time columns.
//!
//! The rows come in the order of the query. A row whose time lies `d` seconds behind the first one's is appended `d /
//! speed` seconds after the replay began. A replay that was stopped goes on behind the last record that it wrote: it
//! counts what the topic holds and leaves that many rows out, which is right as long as nobody else writes the topic.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use futures::{Stream, StreamExt};
use mulgil_log::{Record, Topic};

use crate::arguments::Speed;

/// Rows that are due within this time go into one append: a batch a tick, however fast the replay.
const TICK: Duration = Duration::from_millis(20);

/// Says how far the replay has come: records in the topic, and the time column's value of the last one.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, i64) + Send + Sync);

/// Appends the rows of `batches`, without the column `pace`, to partition 0 of `topic` as JSON objects.
///
/// `ordered` tells when the next row is due; returns how many records were appended.
pub(crate) async fn replay<E: std::error::Error + Send + Sync + 'static>(
    topic: &Topic,
    mut batches: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
    pace: &str,
    speed: Speed,
    progress: Progress<'_>,
) -> Result<u64> {
    let mut skip = topic.offsets(0)?.end;
    let mut clock = PaceClock::new(speed);
    let mut appended = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch.context("failed to read the replay's rows")?;
        let left_out = usize::try_from(skip).unwrap_or(usize::MAX).min(batch.num_rows());
        skip -= left_out as u64;
        let batch = batch.slice(left_out, batch.num_rows() - left_out);
        let times = pace_times(&batch, pace)?;
        let lines = json_lines(&batch, pace)?;
        let mut next = 0;
        while next < lines.len() {
            let due = clock.wait_for(times.get(next).copied().unwrap_or_default()).await;
            let end = next + times.iter().skip(next).take_while(|time| **time <= due).count().max(1);
            let records: Vec<Record> = (next..end)
                .filter_map(|row| {
                    Some(Record { timestamp_ms: *times.get(row)?, key: None, value: lines.get(row)?.clone() })
                })
                .collect();
            let offsets = topic.append(0, &records).await?;
            appended += records.len() as u64;
            progress(offsets.end, times.get(end - 1).copied().unwrap_or_default());
            next = end;
        }
    }
    Ok(appended)
}

/// Turns the time column into moments of waiting.
struct PaceClock {
    speed: Speed,
    /// When the first row was due, and its time.
    origin: Option<(Instant, i64)>,
}

impl PaceClock {
    fn new(speed: Speed) -> Self {
        Self { speed, origin: None }
    }

    /// Waits until a row of this time is due. Returns the time up to which rows may go along with it.
    async fn wait_for(&mut self, time_ms: i64) -> i64 {
        let Speed::Times(speed) = self.speed else { return i64::MAX };
        let (began, first_ms) = *self.origin.get_or_insert_with(|| (Instant::now(), time_ms));
        let due = Duration::from_secs_f64(((time_ms - first_ms).max(0) as f64) / 1000.0 / speed);
        tokio::time::sleep_until((began + due).into()).await;
        let passed = began.elapsed() + TICK;
        first_ms + (passed.as_secs_f64() * speed * 1000.0) as i64
    }
}

fn pace_times(batch: &RecordBatch, pace: &str) -> Result<Vec<i64>> {
    let Some(column) = batch.column_by_name(pace) else {
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        bail!("the query has no column {pace} to pace the replay: it has {}", names.join(", "));
    };
    let times = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))
        .with_context(|| format!("the column {pace} is no time: it cannot pace the replay"))?;
    if times.null_count() > 0 {
        bail!("the column {pace} is null in some rows: leave them out of the query");
    }
    Ok(times.as_primitive::<TimestampMillisecondType>().values().to_vec())
}

/// Each row as one JSON object, without the column that paces it.
fn json_lines(batch: &RecordBatch, pace: &str) -> Result<Vec<bytes::Bytes>> {
    let kept: Vec<usize> =
        batch.schema().fields().iter().enumerate().filter(|(_, field)| field.name() != pace).map(|(i, _)| i).collect();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(&batch.project(&kept)?)?;
    writer.finish()?;
    let text = bytes::Bytes::from(writer.into_inner());
    let mut lines = Vec::with_capacity(batch.num_rows());
    let mut start = 0;
    while start < text.len() {
        let end = text
            .get(start..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
            .map_or(text.len(), |at| start + at);
        lines.push(text.slice(start..end));
        start = end + 1;
    }
    Ok(lines)
}
