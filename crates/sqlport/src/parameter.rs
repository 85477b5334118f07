//! Parameters as clients send them, as Arrow arrays of one value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options, concat};
use arrow::datatypes::{DataType, Decimal128Type, IntervalMonthDayNano};
use bytes::Buf;
use pgwire::api::Type;

use crate::encode::time::{EPOCH_DAYS, EPOCH_MICROS};
use crate::numeric;
use crate::service::QueryError;
use crate::types::{array_item, data_type};

/// The digits that a decimal number may have.
const DIGITS_MAX: usize = 38;
/// The items that an array may have.
const ITEMS_MAX: usize = 1 << 24;

/// A value of a type; nothing for null. Types that are not known are texts.
pub(crate) fn value(kind: &Type, bytes: Option<&[u8]>, binary: bool) -> Result<ArrayRef, QueryError> {
    let data_type = data_type(kind).unwrap_or(DataType::Utf8);
    let Some(bytes) = bytes else { return Ok(new_null_array(&data_type, 1)) };
    match (array_item(kind), binary) {
        (Some(item), true) => binary_array(&item, &data_type, bytes),
        (Some(item), false) => text_array(&item, &data_type, utf8(bytes)?),
        (None, true) => binary_value(kind, bytes),
        (None, false) => text_value(kind, &data_type, utf8(bytes)?),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, QueryError> {
    std::str::from_utf8(bytes).map_err(|_| QueryError::new("22021", "a text is not UTF-8"))
}

fn garbled(kind: &Type) -> QueryError {
    QueryError::new("22P03", format!("a binary value of type {} is garbled", kind.name()))
}

fn refused(kind: &Type, text: &str) -> QueryError {
    QueryError::new(QueryError::INVALID_TEXT, format!("invalid input syntax for type {}: \"{text}\"", kind.name()))
}

fn text_value(kind: &Type, data_type: &DataType, text: &str) -> Result<ArrayRef, QueryError> {
    match *kind {
        Type::BYTEA => {
            let hex = text.strip_prefix("\\x").and_then(unhex).ok_or_else(|| refused(kind, text))?;
            Ok(Arc::new(BinaryArray::from_iter_values([hex])))
        }
        Type::NUMERIC => decimal(text.trim()).ok_or_else(|| refused(kind, text)),
        _ if *data_type == DataType::Utf8 => Ok(Arc::new(StringArray::from(vec![text]))),
        _ => {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            let texts = StringArray::from(vec![text.trim()]);
            cast_with_options(&texts, data_type, &strict).map_err(|_| refused(kind, text))
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

/// A decimal number with as many digits behind the point as are written; one with an exponent is a float.
fn decimal(text: &str) -> Option<ArrayRef> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.chars().any(|c| !(c.is_ascii_digit() || c == '.')) {
        return Some(Arc::new(Float64Array::from(vec![text.parse::<f64>().ok()?])));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() > DIGITS_MAX {
        return Some(Arc::new(Float64Array::from(vec![text.parse::<f64>().ok()?])));
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let value = if text.starts_with('-') { -value } else { value };
    let precision = u8::try_from((whole.len() + fraction.len()).max(1)).ok()?;
    let number = arrow::array::PrimitiveArray::<Decimal128Type>::from(vec![value]);
    Some(Arc::new(number.with_precision_and_scale(precision, i8::try_from(fraction.len()).ok()?).ok()?))
}

fn binary_value(kind: &Type, mut bytes: &[u8]) -> Result<ArrayRef, QueryError> {
    let sized = |size: usize| if bytes.len() == size { Ok(()) } else { Err(garbled(kind)) };
    Ok(match *kind {
        Type::BOOL => {
            sized(1)?;
            Arc::new(BooleanArray::from(vec![bytes.get_u8() != 0]))
        }
        Type::INT2 => {
            sized(2)?;
            Arc::new(Int16Array::from(vec![bytes.get_i16()]))
        }
        Type::INT4 => {
            sized(4)?;
            Arc::new(Int32Array::from(vec![bytes.get_i32()]))
        }
        Type::OID => {
            sized(4)?;
            Arc::new(Int64Array::from(vec![i64::from(bytes.get_u32())]))
        }
        Type::INT8 => {
            sized(8)?;
            Arc::new(Int64Array::from(vec![bytes.get_i64()]))
        }
        Type::FLOAT4 => {
            sized(4)?;
            Arc::new(Float32Array::from(vec![bytes.get_f32()]))
        }
        Type::FLOAT8 => {
            sized(8)?;
            Arc::new(Float64Array::from(vec![bytes.get_f64()]))
        }
        Type::NUMERIC => {
            let text = numeric::read(bytes)?;
            decimal(&text).ok_or_else(|| refused(kind, &text))?
        }
        Type::BYTEA => Arc::new(BinaryArray::from_iter_values([bytes])),
        Type::UUID => {
            sized(16)?;
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
            Arc::new(StringArray::from(vec![parts.join("-")]))
        }
        // The version of the form stands before the text.
        Type::JSONB => Arc::new(StringArray::from(vec![utf8(bytes.get(1..).ok_or_else(|| garbled(kind))?)?])),
        _ => return binary_time(kind, bytes),
    })
}

/// Times; and texts, which are the same in both forms.
fn binary_time(kind: &Type, mut bytes: &[u8]) -> Result<ArrayRef, QueryError> {
    let sized = |size: usize| if bytes.len() == size { Ok(()) } else { Err(garbled(kind)) };
    Ok(match *kind {
        Type::DATE => {
            sized(4)?;
            Arc::new(Date32Array::from(vec![bytes.get_i32().checked_add(EPOCH_DAYS).ok_or_else(|| garbled(kind))?]))
        }
        Type::TIME => {
            sized(8)?;
            Arc::new(Time64MicrosecondArray::from(vec![bytes.get_i64()]))
        }
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            sized(8)?;
            let micros = bytes.get_i64().checked_add(EPOCH_MICROS).ok_or_else(|| garbled(kind))?;
            let moment = TimestampMicrosecondArray::from(vec![micros]);
            if *kind == Type::TIMESTAMP { Arc::new(moment) } else { Arc::new(moment.with_timezone("+00:00")) }
        }
        Type::INTERVAL => {
            sized(16)?;
            let nanoseconds = bytes.get_i64().checked_mul(1_000).ok_or_else(|| garbled(kind))?;
            let days = bytes.get_i32();
            let span = IntervalMonthDayNano { months: bytes.get_i32(), days, nanoseconds };
            Arc::new(IntervalMonthDayNanoArray::from(vec![span]))
        }
        _ => Arc::new(StringArray::from(vec![utf8(bytes)?])),
    })
}

/// One list of items.
fn list(items: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef, QueryError> {
    let failed = |error: arrow::error::ArrowError| QueryError::new(QueryError::INTERNAL, error.to_string());
    let DataType::List(item) = data_type else { return Ok(new_null_array(data_type, 1)) };
    // Items of `numeric` have each their own digits.
    let items =
        items.iter().map(|value| cast(value, item.data_type())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let items: Vec<&dyn Array> = items.iter().map(AsRef::as_ref).collect();
    let values = if items.is_empty() { new_null_array(item.data_type(), 0) } else { concat(&items).map_err(failed)? };
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, None).map_err(failed)?))
}

fn binary_array(item: &Type, data_type: &DataType, mut bytes: &[u8]) -> Result<ArrayRef, QueryError> {
    let wrong = || garbled(item);
    if bytes.len() < 12 {
        return Err(wrong());
    }
    let dimensions = bytes.get_i32();
    let (_has_nulls, kind) = (bytes.get_i32(), bytes.get_u32());
    let kind = Type::from_oid(kind).ok_or_else(wrong)?;
    if dimensions == 0 {
        return list(&[], data_type);
    }
    if dimensions != 1 || bytes.len() < 8 {
        return Err(QueryError::new(QueryError::UNSUPPORTED, "arrays of more than one dimension are not taken"));
    }
    let length = usize::try_from(bytes.get_i32()).ok().filter(|length| *length <= ITEMS_MAX).ok_or_else(wrong)?;
    let _first = bytes.get_i32();
    let mut items = Vec::new();
    for _ in 0..length {
        if bytes.len() < 4 {
            return Err(wrong());
        }
        let size = bytes.get_i32();
        let Ok(size) = usize::try_from(size) else {
            items.push(value(&kind, None, true)?);
            continue;
        };
        let (own, rest) = bytes.split_at_checked(size).ok_or_else(wrong)?;
        items.push(value(&kind, Some(own), true)?);
        bytes = rest;
    }
    list(&items, data_type)
}

/// `{1,NULL,"a b"}`.
fn text_array(item: &Type, data_type: &DataType, text: &str) -> Result<ArrayRef, QueryError> {
    let wrong = || QueryError::new(QueryError::INVALID_TEXT, format!("malformed array literal: \"{text}\""));
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(wrong)?;
    let mut items = Vec::new();
    let mut characters = inner.chars().peekable();
    while characters.peek().is_some() {
        let (mut own, mut was_quoted, mut in_quotes) = (String::new(), false, false);
        loop {
            match characters.next() {
                Some('\\') => own.push(characters.next().ok_or_else(wrong)?),
                Some('"') => (in_quotes, was_quoted) = (!in_quotes, true),
                Some(',') if !in_quotes => break,
                Some('{' | '}') if !in_quotes => return Err(wrong()),
                Some(other) => own.push(other),
                None if in_quotes => return Err(wrong()),
                None => break,
            }
        }
        let trimmed = own.trim();
        let own = match was_quoted {
            false if trimmed.eq_ignore_ascii_case("null") => None,
            false if trimmed.is_empty() => return Err(wrong()),
            false => Some(trimmed),
            true => Some(own.as_str()),
        };
        items.push(value(item, own.map(str::as_bytes), false)?);
    }
    list(&items, data_type)
}

#[cfg(test)]
mod tests;
