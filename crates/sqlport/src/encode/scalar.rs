//! Single values: truth values, numbers, texts, bytes, times.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType,
    IntervalUnit, IntervalYearMonthType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use bytes::{BufMut, BytesMut};

use super::time::{self, Span};
use super::{Look, Write};
use crate::numeric;
use crate::service::QueryError;

/// Looks at an array of single values.
pub(super) fn writer(array: &ArrayRef, look: &Look) -> Result<Write, QueryError> {
    let binary = look.binary;
    Ok(match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                out.put_u8(if binary {
                    u8::from(value)
                } else if value {
                    b't'
                } else {
                    b'f'
                });
                Ok(())
            })
        }
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => {
            number::<Int16Type>(&widened(array, &DataType::Int16)?, binary, |value, out| out.put_i16(value))
        }
        DataType::UInt16 | DataType::Int32 => {
            number::<Int32Type>(&widened(array, &DataType::Int32)?, binary, |value, out| out.put_i32(value))
        }
        DataType::UInt32 | DataType::Int64 => {
            number::<Int64Type>(&widened(array, &DataType::Int64)?, binary, |value, out| out.put_i64(value))
        }
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>().clone();
            Box::new(move |row, out| numeric::write(&values.value(row).to_string(), binary, out))
        }
        DataType::Float16 | DataType::Float32 => {
            let values = widened(array, &DataType::Float32)?.as_primitive::<Float32Type>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                if binary {
                    out.put_f32(value)
                } else {
                    float(f64::from(value), &format!("{value:e}"), 6, out)?
                }
                Ok(())
            })
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                if binary {
                    out.put_f64(value)
                } else {
                    float(value, &format!("{value:e}"), 15, out)?
                }
                Ok(())
            })
        }
        DataType::Decimal32(..) => decimal::<Decimal32Type>(array, binary),
        DataType::Decimal64(..) => decimal::<Decimal64Type>(array, binary),
        DataType::Decimal128(..) => decimal::<Decimal128Type>(array, binary),
        DataType::Decimal256(..) => decimal::<Decimal256Type>(array, binary),
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => {
            of_clock_or_calendar(array, binary)?
        }
        DataType::Timestamp(unit, zone) => moments(array, *unit, zone.is_some(), look),
        DataType::Interval(unit) => spans(array, *unit, binary),
        DataType::Duration(unit) => durations(array, *unit, binary),
        _ => return texts(array, binary),
    })
}

fn failed(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::new(QueryError::INTERNAL, error.to_string())
}

fn widened(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, QueryError> {
    if array.data_type() == to { Ok(Arc::clone(array)) } else { cast(array, to).map_err(|error| failed(&error)) }
}

fn print(out: &mut BytesMut, value: impl std::fmt::Display) -> Result<(), QueryError> {
    write!(out, "{value}").map_err(|error| failed(&error))
}

fn number<T: ArrowPrimitiveType>(array: &ArrayRef, binary: bool, put: fn(T::Native, &mut BytesMut)) -> Write
where
    T::Native: std::fmt::Display,
{
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Box::new(move |row, out| {
        let value = values.value(row);
        if binary {
            put(value, out);
            return Ok(());
        }
        print(out, value)
    })
}

/// The shortest digits; with an exponent below 10^-4 and from 10^`plain_digits` on. `scientific` is the number as Rust
/// writes it with an exponent, of the width that it has.
fn float(value: f64, scientific: &str, plain_digits: i32, out: &mut BytesMut) -> Result<(), QueryError> {
    if value.is_nan() {
        return print(out, "NaN");
    }
    if value.is_infinite() {
        return print(out, if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let Some((digits, exponent)) = scientific.split_once('e') else { return print(out, scientific) };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..plain_digits).contains(&exponent) {
        return print(out, numeric::plain(digits, exponent));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{digits}e{sign}{:02}", exponent.abs()).map_err(|error| failed(&error))
}

fn decimal<T: DecimalType>(array: &ArrayRef, binary: bool) -> Write {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    Box::new(move |row, out| numeric::write(&values.value_as_string(row), binary, out))
}

fn of_clock_or_calendar(array: &ArrayRef, binary: bool) -> Result<Write, QueryError> {
    if matches!(array.data_type(), DataType::Date32 | DataType::Date64) {
        let days = widened(array, &DataType::Date32)?.as_primitive::<Date32Type>().clone();
        return Ok(Box::new(move |row, out| {
            let days = days.value(row);
            if binary {
                out.put_i32(days.checked_sub(time::EPOCH_DAYS).ok_or_else(time::out_of_range)?);
                return Ok(());
            }
            time::write_date(i64::from(days), out)
        }));
    }
    let micros = widened(array, &DataType::Time64(TimeUnit::Microsecond))?;
    let micros = micros.as_primitive::<Time64MicrosecondType>().clone();
    Ok(Box::new(move |row, out| {
        if binary {
            out.put_i64(micros.value(row));
            return Ok(());
        }
        time::write_clock(micros.value(row), out)
    }))
}

/// A number of units as microseconds: what is finer is cut off towards the past.
fn micros(value: i64, unit: TimeUnit) -> Result<i64, QueryError> {
    let many = |factor: i64| value.checked_mul(factor).ok_or_else(time::out_of_range);
    match unit {
        TimeUnit::Second => many(1_000_000),
        TimeUnit::Millisecond => many(1_000),
        TimeUnit::Microsecond => Ok(value),
        TimeUnit::Nanosecond => Ok(value.div_euclid(1_000)),
    }
}

fn moments(array: &ArrayRef, unit: TimeUnit, has_zone: bool, look: &Look) -> Write {
    let values = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values().clone(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values().clone(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values().clone(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values().clone(),
    };
    let look = look.clone();
    Box::new(move |row, out| {
        let micros = micros(values.get(row).copied().unwrap_or_default(), unit)?;
        if look.binary {
            out.put_i64(micros.checked_sub(time::EPOCH_MICROS).ok_or_else(time::out_of_range)?);
            return Ok(());
        }
        if has_zone { time::write_moment(micros, &look.zone, out) } else { time::write_timestamp(micros, out) }
    })
}

fn spans(array: &ArrayRef, unit: IntervalUnit, binary: bool) -> Write {
    match unit {
        IntervalUnit::YearMonth => {
            let months = array.as_primitive::<IntervalYearMonthType>().clone();
            Box::new(move |row, out| Span { months: months.value(row), days: 0, micros: 0 }.write(binary, out))
        }
        IntervalUnit::DayTime => {
            let values = array.as_primitive::<IntervalDayTimeType>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                Span { months: 0, days: value.days, micros: i64::from(value.milliseconds) * 1_000 }.write(binary, out)
            })
        }
        IntervalUnit::MonthDayNano => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                let micros = value.nanoseconds.div_euclid(1_000);
                Span { months: value.months, days: value.days, micros }.write(binary, out)
            })
        }
    }
}

fn durations(array: &ArrayRef, unit: TimeUnit, binary: bool) -> Write {
    let values = match unit {
        TimeUnit::Second => array.as_primitive::<DurationSecondType>().values().clone(),
        TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().values().clone(),
        TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().values().clone(),
        TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().values().clone(),
    };
    Box::new(move |row, out| {
        let micros = micros(values.get(row).copied().unwrap_or_default(), unit)?;
        Span { months: 0, days: 0, micros }.write(binary, out)
    })
}

/// Texts and bytes.
fn texts(array: &ArrayRef, binary: bool) -> Result<Write, QueryError> {
    macro_rules! text {
        ($values:expr) => {{
            let values = $values.clone();
            Box::new(move |row, out: &mut BytesMut| {
                out.put_slice(values.value(row).as_bytes());
                Ok(())
            })
        }};
    }
    macro_rules! bytes {
        ($values:expr) => {{
            let values = $values.clone();
            Box::new(move |row, out: &mut BytesMut| put_bytes(values.value(row), binary, out))
        }};
    }
    Ok(match array.data_type() {
        DataType::Utf8 => text!(array.as_string::<i32>()),
        DataType::LargeUtf8 => text!(array.as_string::<i64>()),
        DataType::Utf8View => text!(array.as_string_view()),
        DataType::Binary => bytes!(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes!(array.as_binary::<i64>()),
        DataType::BinaryView => bytes!(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary()),
        // Only nulls are of this type.
        DataType::Null => Box::new(|_, _| Ok(())),
        other => return Err(failed(&format!("values of type {other} cannot be sent"))),
    })
}

fn put_bytes(value: &[u8], binary: bool, out: &mut BytesMut) -> Result<(), QueryError> {
    if binary {
        out.put_slice(value);
        return Ok(());
    }
    out.put_slice(b"\\x");
    value.iter().try_for_each(|byte| write!(out, "{byte:02x}").map_err(|error| failed(&error)))
}
