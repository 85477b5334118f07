//! Event time: milliseconds since 1970-01-01T00:00:00, and the watermark that says how far it has come.
//!
//! A watermark `w` promises that no more rows with an event time `< w` are expected; rows that come all the same are
//! *late*. The words are those of the Dataflow Model (Akidau et al., VLDB 2015) and of Flink.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;

/// A point in event time, in milliseconds since the epoch. Negative before 1970.
pub type EventTimeMs = i64;

/// How far event time has come: rows with an event time below it are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub EventTimeMs);

impl Watermark {
    /// Nothing is known yet: no row can be late.
    pub const UNKNOWN: Watermark = Watermark(i64::MIN);
    /// The input has ended: every window closes.
    pub const END: Watermark = Watermark(i64::MAX);
}

/// Reads a column of timestamps, of any unit, as event times. Finer units are rounded down, also before 1970.
///
/// # Errors
/// The column is no timestamp, or a time in seconds is further from 1970 than milliseconds can say.
pub fn event_times(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Ok(column.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Int64Type>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Ok(column.as_primitive::<TimestampMicrosecondType>().unary(|time| time.div_euclid(1_000)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Ok(column.as_primitive::<TimestampNanosecondType>().unary(|time| time.div_euclid(1_000_000)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => column.as_primitive::<TimestampSecondType>().try_unary(|time| {
            time.checked_mul(1_000)
                .ok_or_else(|| ArrowError::ComputeError(format!("timestamp out of range: {time} s since 1970")))
        }),
        other => Err(ArrowError::ComputeError(format!("an event-time column must be a timestamp, not {other}"))),
    }
}

/// Writes event times as timestamps of the type that a schema asks for.
///
/// # Errors
/// `data_type` is no timestamp, or cannot hold the time: nanoseconds end in 2262.
pub fn timestamps(times: Vec<EventTimeMs>, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(_, zone) = data_type else {
        return Err(ArrowError::ComputeError(format!("a window's bound must be a timestamp, not {data_type}")));
    };
    // The zone is set, not cast to: a cast would read the times as local.
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(times).with_timezone_opt(zone.clone()));
    if times.data_type() == data_type {
        return Ok(times);
    }
    cast_with_options(&times, data_type, &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests;
