//! A part of a view: the rows whose time lies in an interval, which can be refreshed alone.
//!
//! An instant (`TIMESTAMP_LTZ`) is compared with the interval as it is, wall-clock time (`TIMESTAMP`, `DATE`) with the interval in a time zone. A day
//! that the interval touches is of the part as a whole, since its hours cannot be told apart. A row without a time is of no part.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::{gt_eq, lt};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, ident, lit};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use mulgil_sql::catalog::View;

/// Which part of a view is to be refreshed: half-open, so that neighbours share no row and leave none out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshInterval {
    /// Where it begins.
    pub start: Timestamp,
    /// Where it has ended.
    pub end: Timestamp,
    /// The time zone of wall-clock times.
    pub timezone: TimeZone,
}

/// Rows of a view by its partition column: from one value on, up to before another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    column: String,
    from: ScalarValue,
    to: ScalarValue,
}

impl Part {
    /// The part of a view that lies in an interval; `None` where the view has no parts.
    pub(super) fn of(view: &View, interval: &RefreshInterval) -> Result<Option<Self>> {
        let Some(column) = &view.partitioned_by else { return Ok(None) };
        let data_type = view.schema.field_with_name(column)?.data_type();
        let at = |time: Timestamp, rounds_up: bool| bound(data_type, time, &interval.timezone, rounds_up);
        let (from, to) = (at(interval.start, false)?, at(interval.end, true)?);
        Ok(Some(Self { column: column.clone(), from, to }))
    }

    /// What holds for its rows.
    pub(super) fn condition(&self) -> Expr {
        let column = || ident(&self.column);
        column().gt_eq(lit(self.from.clone())).and(column().lt(lit(self.to.clone())))
    }

    /// The rows that are not of it.
    pub(super) fn others(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let times = rows.column(rows.schema().index_of(&self.column)?);
        let (begun, ended) = (gt_eq(times, &self.from.to_scalar()?)?, lt(times, &self.to.to_scalar()?)?);
        let is_of_it = |row: usize| times.is_valid(row) && begun.value(row) && ended.value(row);
        let others = (0..rows.num_rows()).map(|row| Some(!is_of_it(row)));
        Ok(filter_record_batch(rows, &BooleanArray::from_iter(others))?)
    }
}

/// A moment as a value of such a column.
fn bound(data_type: &DataType, time: Timestamp, zone: &TimeZone, rounds_up: bool) -> Result<ScalarValue> {
    let local = time.to_zoned(zone.clone()).datetime();
    let instant = match data_type {
        DataType::Date32 => {
            let has_begun = rounds_up && local.time() != jiff::civil::Time::midnight();
            let day = local.date().saturating_add(i32::from(has_begun).days());
            let days = (day - Date::constant(1970, 1, 1)).get_days();
            return Ok(ScalarValue::Date32(Some(days)));
        }
        DataType::Timestamp(_, None) => local.to_zoned(TimeZone::UTC).map_or(time, |local| local.timestamp()),
        _ => time,
    };
    let nanos = i64::try_from(instant.as_nanosecond()).unwrap_or(if rounds_up { i64::MAX } else { i64::MIN });
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    ScalarValue::TimestampNanosecond(Some(nanos), zone).cast_to(data_type)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn a_bound_is_the_time_of_its_column_and_days_are_whole() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let of = |data_type: &DataType, time: &str, rounds_up| {
            bound(data_type, time.parse().unwrap(), &zone, rounds_up).unwrap().to_string()
        };
        let (midnight, noon) = ("2013-01-02T05:00:00Z", "2013-01-02T17:00:00Z");
        let day = DataType::Date32;
        assert_eq!([of(&day, midnight, false), of(&day, midnight, true)], ["2013-01-02", "2013-01-02"]);
        assert_eq!([of(&day, noon, false), of(&day, noon, true)], ["2013-01-02", "2013-01-03"]);
        let wall = DataType::Timestamp(TimeUnit::Millisecond, None);
        assert_eq!(of(&wall, noon, true), ScalarValue::TimestampMillisecond(Some(1_357_128_000_000), None).to_string());
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let expected = ScalarValue::TimestampMicrosecond(Some(1_357_146_000_000_000), Some("UTC".into()));
        assert_eq!(of(&instant, noon, false), expected.to_string());
    }
}
