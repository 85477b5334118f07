//! Time units and rounding, before 1970 too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use arrow::array::{StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray};

use super::*;

#[test]
fn every_unit_becomes_milliseconds_rounded_down() {
    let columns: [(ArrayRef, Vec<Option<i64>>); 4] = [
        (Arc::new(TimestampSecondArray::from(vec![Some(2), Some(-2), None])), vec![Some(2000), Some(-2000), None]),
        (Arc::new(TimestampMillisecondArray::from(vec![Some(2), Some(-2), None])), vec![Some(2), Some(-2), None]),
        (Arc::new(TimestampMicrosecondArray::from(vec![Some(1999), Some(-1), None])), vec![Some(1), Some(-1), None]),
        (
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_999_999), Some(-1), None]).with_timezone("+09:00")),
            vec![Some(1), Some(-1), None],
        ),
    ];
    for (column, expected) in columns {
        assert_eq!(event_times(&column).unwrap(), Int64Array::from(expected), "{}", column.data_type());
    }
}

#[test]
fn what_is_no_time_or_out_of_range_is_an_error() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["noon"]));
    assert!(event_times(&text).unwrap_err().to_string().contains("must be a timestamp"));
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    assert!(event_times(&seconds).unwrap_err().to_string().contains("out of range"));
}

#[test]
fn timestamps_have_the_type_asked_for_and_mean_the_same_moment() {
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        for zone in [None, Some("America/New_York".into())] {
            let data_type = DataType::Timestamp(unit, zone);
            let column = timestamps(vec![-1000, 0, 3_600_000], &data_type).unwrap();
            assert_eq!(column.data_type(), &data_type);
            assert_eq!(event_times(&column).unwrap(), Int64Array::from(vec![-1000, 0, 3_600_000]));
        }
    }
    assert!(timestamps(vec![i64::MAX / 2], &DataType::Timestamp(TimeUnit::Nanosecond, None)).is_err());
    assert!(timestamps(vec![0], &DataType::Int64).is_err());
}
