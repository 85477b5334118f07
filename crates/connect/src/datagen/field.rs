//! A made-up column: its value in each row, from the row's number alone.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field as Column};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::ConnectError;
use crate::format::sql_type;
use crate::options::Options;

/// As in Flink.
const TEXT_CHARS: usize = 100;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What may be said of a column.
pub(super) fn options_of(column: &str) -> impl Iterator<Item = String> + use<'_> {
    ["kind", "min", "max", "length", "start", "end", "null-rate", "max-past", "seed"]
        .into_iter()
        .map(move |option| format!("fields.{column}.{option}"))
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Field {
    data_type: DataType,
    kind: Kind,
    seed: u64,
    null_rate: f64,
}

#[derive(Clone, Debug)]
enum Kind {
    /// One after the other from here on, up to there.
    Sequence(i64, i64),
    /// Whole numbers between two, both included.
    Whole(i64, i64),
    Fraction(f64, f64),
    Truth,
    /// So many hexadecimal letters, or bytes.
    Text(usize),
    /// A time at most so many microseconds before that of the row's making.
    Past(i64),
}

impl Field {
    pub(super) fn new(options: &Options<'_>, column: &Column, seed: u64, place: u64) -> Result<Self, ConnectError> {
        let name = |option: &str| format!("fields.{}.{option}", column.name());
        let data_type = column.data_type().clone();
        let is_sequence = options.one_of(&name("kind"), &[("random", false), ("sequence", true)], false)?;
        let kind = if is_sequence {
            Self::sequence(options, &name, &data_type)?
        } else {
            Self::random(options, &name, &data_type, column)?
        };
        let others: &[&str] = match kind {
            Kind::Sequence(..) => &["min", "max", "length", "null-rate", "max-past", "seed"],
            Kind::Whole(..) | Kind::Fraction(..) => &["start", "end", "length", "max-past"],
            Kind::Truth => &["start", "end", "length", "max-past", "min", "max"],
            Kind::Text(_) => &["start", "end", "max-past", "min", "max"],
            Kind::Past(..) => &["start", "end", "length", "min", "max"],
        };
        if let Some(other) = others.iter().find(|other| options.optional(&name(other)).is_some()) {
            return Err(
                options.refusal(format!("'{}' says nothing about a column of this kind; remove it", name(other)))
            );
        }
        let null_rate: f64 = options.number(&name("null-rate"))?.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&null_rate) || (null_rate > 0.0 && !column.is_nullable()) {
            let reason = format!("'{}' must be between 0 and 1, and 0 for a NOT NULL column", name("null-rate"));
            return Err(options.refusal(reason));
        }
        let own_seed = options.number::<u64>(&name("seed"))?;
        let seed = own_seed.unwrap_or_else(|| xxh3_64_with_seed(&place.to_le_bytes(), seed));
        Ok(Self { data_type, kind, seed, null_rate })
    }

    fn sequence(
        options: &Options<'_>,
        name: &dyn Fn(&str) -> String,
        data_type: &DataType,
    ) -> Result<Kind, ConnectError> {
        if !data_type.is_integer() && !matches!(data_type, DataType::Utf8 | DataType::Float32 | DataType::Float64) {
            let reason =
                format!("'{}': a sequence is of numbers or STRINGs, not {}", name("kind"), sql_type(data_type));
            return Err(options.refusal(reason));
        }
        options.required(&name("start"), "1")?;
        options.required(&name("end"), "1000")?;
        let (start, end) = (options.number(&name("start"))?, options.number(&name("end"))?);
        match (start.unwrap_or(0), end.unwrap_or(0)) {
            (start, end) if start <= end && fits(start, end, data_type) => Ok(Kind::Sequence(start, end)),
            _ => Err(options.refusal(format!("'{}' and '{}' are no range of the column", name("start"), name("end")))),
        }
    }

    fn random(
        options: &Options<'_>,
        name: &dyn Fn(&str) -> String,
        data_type: &DataType,
        column: &Column,
    ) -> Result<Kind, ConnectError> {
        let wrong = || options.refusal(format!("'{}' and '{}' are no range of the column", name("min"), name("max")));
        match data_type {
            DataType::Boolean => Ok(Kind::Truth),
            DataType::Utf8 | DataType::Binary => Ok(Kind::Text(options.number(&name("length"))?.unwrap_or(TEXT_CHARS))),
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => {
                let (low, high) = range_of(data_type);
                let (min, max) = (options.number(&name("min"))?, options.number(&name("max"))?);
                let (min, max) = (min.unwrap_or(low), max.unwrap_or(high));
                if min <= max && min >= low && max <= high { Ok(Kind::Fraction(min, max)) } else { Err(wrong()) }
            }
            DataType::Date32 | DataType::Timestamp(..) => {
                let past = options.duration(&name("max-past"))?.unwrap_or_default();
                Ok(Kind::Past(i64::try_from(past.as_micros()).unwrap_or(i64::MAX)))
            }
            data_type if data_type.is_integer() => {
                let (low, high) = limits(data_type);
                let (min, max) = (options.number(&name("min"))?, options.number(&name("max"))?);
                let (min, max) = (min.unwrap_or(low), max.unwrap_or(high));
                if min <= max && fits(min, max, data_type) { Ok(Kind::Whole(min, max)) } else { Err(wrong()) }
            }
            other => {
                let reason = format!("column {} is {}, which cannot be made up", column.name(), sql_type(other));
                Err(options.refusal(reason))
            }
        }
    }

    /// How many rows it has, if it ends.
    pub(super) fn end(&self) -> Option<u64> {
        match self.kind {
            Kind::Sequence(start, end) => u64::try_from(i128::from(end) - i128::from(start) + 1).ok(),
            _ => None,
        }
    }

    /// Its values in these rows, which are made at `now` (microseconds since 1970-01-01T00:00Z).
    pub(super) fn values(&self, rows: Range<u64>, now: i64) -> ArrayRef {
        let null_below = (self.null_rate * 2_f64.powi(64)) as u64;
        let is_null = |row: u64| self.null_rate > 0.0 && self.draw(row, 1) <= null_below;
        let rows = rows.map(|row| (!is_null(row)).then_some(row));
        let made: ArrayRef = match self.kind {
            Kind::Sequence(start, _) => {
                Arc::new(Int64Array::from_iter(rows.map(|row| row.map(|row| start.wrapping_add_unsigned(row)))))
            }
            Kind::Whole(min, max) => {
                Arc::new(Int64Array::from_iter(rows.map(|row| row.map(|row| between(min, max, self.draw(row, 0))))))
            }
            Kind::Fraction(min, max) => Arc::new(Float64Array::from_iter(rows.map(|row| {
                let part = |row| (self.draw(row, 0) >> 11) as f64 / (1_u64 << 53) as f64;
                row.map(|row| (min * (1.0 - part(row)) + max * part(row)).clamp(min, max))
            }))),
            Kind::Truth => {
                Arc::new(rows.map(|row| row.map(|row| self.draw(row, 0) & 1 == 1)).collect::<BooleanArray>())
            }
            Kind::Text(length) if self.data_type == DataType::Binary => {
                Arc::new(rows.map(|row| row.map(|row| self.text(row, length).into_bytes())).collect::<BinaryArray>())
            }
            Kind::Text(length) => {
                Arc::new(rows.map(|row| row.map(|row| self.text(row, length))).collect::<StringArray>())
            }
            Kind::Past(past) => {
                let micros = |row| now - between(0, past, self.draw(row, 0));
                if self.data_type == DataType::Date32 {
                    let day = |row| i32::try_from(micros(row).div_euclid(MICROS_PER_DAY)).unwrap_or(i32::MAX);
                    return Arc::new(rows.map(|row| row.map(day)).collect::<Date32Array>());
                }
                let zone = match &self.data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                Arc::new(rows.map(|row| row.map(micros)).collect::<TimestampMicrosecondArray>().with_timezone_opt(zone))
            }
        };
        // What does not fit was refused with the options.
        let options = CastOptions { safe: true, ..CastOptions::default() };
        cast_with_options(&made, &self.data_type, &options)
            .unwrap_or_else(|_| arrow::array::new_null_array(&self.data_type, made.len()))
    }

    /// A number of all that there are, for a row.
    fn draw(&self, row: u64, turn: u64) -> u64 {
        let mut bytes = [0; 16];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&row.to_le_bytes());
        back.copy_from_slice(&turn.to_le_bytes());
        xxh3_64_with_seed(&bytes, self.seed)
    }

    fn text(&self, row: u64, length: usize) -> String {
        let mut text = String::with_capacity(length + 16);
        let mut turn = 2;
        while text.len() < length {
            text.push_str(&format!("{:016x}", self.draw(row, turn)));
            turn += 1;
        }
        text.truncate(length);
        text
    }
}

/// A number between two, both included, from one of all that there are.
fn between(min: i64, max: i64, drawn: u64) -> i64 {
    let count = (i128::from(max) - i128::from(min) + 1).unsigned_abs();
    let offset = (u128::from(drawn) * count) >> 64;
    i64::try_from(i128::from(min) + i128::try_from(offset).unwrap_or(0)).unwrap_or(max)
}

/// The least and the greatest whole number of a type.
fn limits(data_type: &DataType) -> (i64, i64) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

fn fits(min: i64, max: i64, data_type: &DataType) -> bool {
    let (low, high) = limits(data_type);
    min >= low && max <= high
}

/// The least and the greatest number of a type with a fraction.
fn range_of(data_type: &DataType) -> (f64, f64) {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            // A little less: what is rounded must fit too.
            let digits = i32::from(*precision) - i32::from(*scale);
            let high = (10_f64.powi(digits) - 1.0).min(1e15);
            (-high, high)
        }
        DataType::Float32 => (f32::MIN.into(), f32::MAX.into()),
        _ => (f64::MIN, f64::MAX),
    }
}
