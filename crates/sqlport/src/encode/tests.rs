//! Every type of Arrow, written as PostgreSQL writes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    DurationMillisecondArray, Float32Array, Float64Array, Int8Array, Int32Array, IntervalMonthDayNanoArray, ListArray,
    NullArray, StringArray, StructArray, Time64NanosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, IntervalMonthDayNano};

use super::*;

/// All values of an array; `None` for null.
fn values(array: &ArrayRef, binary: bool, zone: &str) -> Vec<Option<Vec<u8>>> {
    let look = Look { binary, zone: TimeZone::get(zone).unwrap() };
    let column = Column::new(array, &look).unwrap();
    let value = |row| {
        let mut out = BytesMut::new();
        column.put(row, &mut out).unwrap();
        let length = i32::from_be_bytes(out[..4].try_into().unwrap());
        assert_eq!(out.len() - 4, usize::try_from(length.max(0)).unwrap());
        (length >= 0).then(|| out[4..].to_vec())
    };
    (0..array.len()).map(value).collect()
}

fn texts(array: impl Array + 'static, zone: &str) -> Vec<String> {
    let values = values(&(Arc::new(array) as ArrayRef), false, zone);
    values.into_iter().map(|value| value.map_or("null".to_owned(), |value| String::from_utf8(value).unwrap())).collect()
}

#[test]
fn single_values_look_as_postgres_writes_them() {
    assert_eq!(texts(BooleanArray::from(vec![Some(true), Some(false), None]), "UTC"), ["t", "f", "null"]);
    assert_eq!(texts(Int8Array::from(vec![Some(-128), None]), "UTC"), ["-128", "null"]);
    assert_eq!(texts(UInt64Array::from(vec![u64::MAX]), "UTC"), ["18446744073709551615"]);
    assert_eq!(
        texts(Float64Array::from(vec![0.1, -0.0, 1e14, 1e15, 1e-4, 1e-5, f64::NAN, f64::INFINITY, 1.5e300]), "UTC"),
        ["0.1", "-0", "100000000000000", "1e+15", "0.0001", "1e-05", "NaN", "Infinity", "1.5e+300"]
    );
    assert_eq!(texts(Float32Array::from(vec![0.1, 1e5, 1e6, -2.5e-7]), "UTC"), ["0.1", "100000", "1e+06", "-2.5e-07"]);
    let decimals = Decimal128Array::from(vec![12_345, -5, 0]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(texts(decimals, "UTC"), ["123.45", "-0.05", "0.00"]);
    assert_eq!(texts(StringArray::from(vec!["물길", ""]), "UTC"), ["물길", ""]);
    assert_eq!(texts(BinaryArray::from_vec(vec![b"\x00\xffa"]), "UTC"), ["\\x00ff61"]);
    assert_eq!(texts(NullArray::new(2), "UTC"), ["null", "null"]);
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    assert_eq!(texts(words, "UTC"), ["a", "null", "a"]);
}

#[test]
fn times_look_as_postgres_writes_them() {
    assert_eq!(
        texts(Date32Array::from(vec![0, -1, 15_736, 2_932_897, -719_163, -735_160]), "UTC"),
        ["1970-01-01", "1969-12-31", "2013-01-31", "10000-01-01", "0001-12-31 BC", "0044-03-15 BC"]
    );
    assert_eq!(
        texts(Time64NanosecondArray::from(vec![0, 22_500_250_000_000, 86_399_999_999_000]), "UTC"),
        ["00:00:00", "06:15:00.25", "23:59:59.999999"]
    );
    assert_eq!(
        texts(TimestampNanosecondArray::from(vec![1_359_612_900_123_456_789, -1]), "UTC"),
        ["2013-01-31 06:15:00.123456", "1969-12-31 23:59:59.999999"]
    );
    let moments = || TimestampMillisecondArray::from(vec![1_372_636_800_500]).with_timezone("+00:00");
    assert_eq!(texts(moments(), "UTC"), ["2013-07-01 00:00:00.5+00"]);
    assert_eq!(texts(moments(), "America/New_York"), ["2013-06-30 20:00:00.5-04"]);
    assert_eq!(texts(moments(), "Asia/Kolkata"), ["2013-07-01 05:30:00.5+05:30"]);
    let span = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
    assert_eq!(
        texts(
            IntervalMonthDayNanoArray::from(vec![
                span(14, 3, 14_706_789_000_000),
                span(0, 0, 0),
                span(-1, 1, -1_000_000_000),
                span(0, 2, 0),
            ]),
            "UTC"
        ),
        ["1 year 2 mons 3 days 04:05:06.789", "00:00:00", "-1 mons +1 day -00:00:01", "2 days"]
    );
    assert_eq!(texts(DurationMillisecondArray::from(vec![90_061_500]), "UTC"), ["25:01:01.5"]);
}

#[test]
fn a_time_that_postgres_cannot_hold_is_an_error() {
    let look = Look { binary: false, zone: TimeZone::UTC };
    let array: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    let column = Column::new(&array, &look).unwrap();
    assert_eq!(column.put(0, &mut BytesMut::new()).unwrap_err().code, "22008");
}

#[test]
fn lists_are_arrays_and_records_are_json() {
    let numbers =
        ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), Some(vec![]), None]);
    assert_eq!(texts(numbers.clone(), "UTC"), ["{1,NULL,3}", "{}", "null"]);
    let binary = values(&(Arc::new(numbers) as ArrayRef), true, "UTC");
    let expected: Vec<u8> = [1, 1, 23, 3, 1, 4, 1, -1, 4, 3].into_iter().flat_map(i32::to_be_bytes).collect();
    assert_eq!(binary, [Some(expected), Some([0, 0, 23].into_iter().flat_map(i32::to_be_bytes).collect()), None]);

    let words = StringArray::from(vec![Some("a b"), Some(""), Some("null"), Some("q\"\\"), Some("물"), None]);
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([6]);
    let words = ListArray::new(item, offsets, Arc::new(words), None);
    assert_eq!(texts(words, "UTC"), ["{\"a b\",\"\",\"null\",\"q\\\"\\\\\",물,NULL}"]);

    let record = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef),
    ]);
    assert_eq!(texts(record, "UTC"), ["{\"a\":1,\"b\":\"x\"}", "{\"a\":null,\"b\":\"y\"}"]);
}
