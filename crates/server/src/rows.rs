//! Rows on their way out: Arrow batches as JSON values, as CSV and as JSON lines; Arrow types as SQL types.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::error::ApiError;
use crate::sql::Column;

/// Integers beyond this lose digits in JavaScript, so they go out as text.
const EXACT_MAX: i64 = 1 << 53;

/// The columns of a schema.
pub(crate) fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &std::sync::Arc<Field>| Column {
        name: field.name().clone(),
        sql_type: sql_type(field.data_type()),
        nullable: field.is_nullable(),
    };
    schema.fields().iter().map(column).collect()
}

/// The name that SQL has for an Arrow type.
pub(crate) fn sql_type(data_type: &DataType) -> String {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Float16 | DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTES".to_owned()
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("TIME({})", digits(unit)),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("ARRAY<{}>", sql_type(item.data_type()))
        }
        DataType::Dictionary(_, value) => sql_type(value),
        other => other.to_string(),
    }
}

/// The rows of a batch as JSON, one value a column, at most `limit` of them.
pub(crate) fn json_rows(batch: &RecordBatch, limit: usize) -> Result<Vec<Vec<Value>>, ArrowError> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows().min(limit)];
    for column in batch.columns() {
        let cell = Cell::of(column.as_ref())?;
        for (index, row) in rows.iter_mut().enumerate() {
            row.push(if column.is_null(index) { Value::Null } else { cell.json(index) });
        }
    }
    Ok(rows)
}

/// Reads single values of a column.
enum Cell<'a> {
    Boolean(&'a arrow::array::BooleanArray),
    Whole(Box<dyn Fn(usize) -> i128 + 'a>),
    Number(Box<dyn Fn(usize) -> f64 + 'a>),
    Text(ArrayFormatter<'a>),
}

impl<'a> Cell<'a> {
    fn of(column: &'a dyn Array) -> Result<Self, ArrowError> {
        macro_rules! whole {
            ($kind:ty) => {{
                let values = column.as_primitive::<$kind>();
                Self::Whole(Box::new(move |index| i128::from(values.value(index))))
            }};
        }
        Ok(match column.data_type() {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int8 => whole!(Int8Type),
            DataType::Int16 => whole!(Int16Type),
            DataType::Int32 => whole!(Int32Type),
            DataType::Int64 => whole!(Int64Type),
            DataType::UInt8 => whole!(UInt8Type),
            DataType::UInt16 => whole!(UInt16Type),
            DataType::UInt32 => whole!(UInt32Type),
            DataType::UInt64 => whole!(UInt64Type),
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>();
                Self::Number(Box::new(|index| f64::from(values.value(index))))
            }
            DataType::Float64 => {
                let values = column.as_primitive::<Float64Type>();
                Self::Number(Box::new(|index| values.value(index)))
            }
            // The default options print timestamps and dates as ISO 8601.
            _ => Self::Text(ArrayFormatter::try_new(column, &FormatOptions::default())?),
        })
    }

    fn json(&self, index: usize) -> Value {
        match self {
            Self::Boolean(values) => Value::Bool(values.value(index)),
            Self::Whole(value) => match i64::try_from(value(index)) {
                Ok(whole) if whole.abs() <= EXACT_MAX => Value::from(whole),
                _ => Value::String(value(index).to_string()),
            },
            // JSON has no word for NaN and the infinities.
            Self::Number(value) => serde_json::Number::from_f64(value(index))
                .map_or_else(|| Value::String(value(index).to_string()), Value::Number),
            Self::Text(text) => Value::String(text.value(index).to_string()),
        }
    }
}

/// An identifier as SQL writes it, whatever is in it.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// `-window_start,origin` as an `ORDER BY`.
pub(crate) fn order_by(order: &str, known: &[Column]) -> Result<String, ApiError> {
    let mut terms = Vec::new();
    for term in order.split(',').map(str::trim).filter(|term| !term.is_empty()) {
        let name = term.strip_prefix('-').unwrap_or(term);
        if !known.iter().any(|column| column.name == name) {
            let names: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
            return Err(ApiError::invalid(format!("there is no column {name} to order by"))
                .with_hint(format!("the columns are: {}", names.join(", "))));
        }
        terms.push(format!("{}{}", quoted(name), if term.starts_with('-') { " DESC" } else { "" }));
    }
    Ok(if terms.is_empty() { String::new() } else { format!("ORDER BY {}", terms.join(", ")) })
}

/// A batch as CSV lines; `header` begins with the line of names.
pub(crate) fn csv(batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    arrow::csv::WriterBuilder::new().with_header(header).build(&mut bytes).write(batch)?;
    Ok(bytes)
}

/// A batch as JSON lines: an object a row, nulls left out.
pub(crate) fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray, UInt64Array,
    };
    use serde_json::json;

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("whole", Arc::new(Int64Array::from(vec![Some(1), None, Some(EXACT_MAX + 1)]))),
            ("large", Arc::new(UInt64Array::from(vec![0, 1, u64::MAX]))),
            ("number", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("a,\"b\""), None, Some("물길")]))),
            ("time", Arc::new(TimestampMillisecondArray::from(vec![Some(1_357_016_400_000), None, Some(1)]))),
            ("day", Arc::new(Date32Array::from(vec![Some(15_706), None, Some(0)]))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)))
            .unwrap()
    }

    #[test]
    fn values_keep_their_meaning_in_json() {
        let rows = json_rows(&batch(), 10).unwrap();
        assert_eq!(json!(rows[0]), json!([1, 0, 0.5, "a,\"b\"", "2013-01-01T05:00:00", "2013-01-01"]));
        assert_eq!(json!(rows[1]), json!([null, 1, "NaN", null, null, null]));
        assert_eq!(
            json!(rows[2]),
            json!(["9007199254740993", "18446744073709551615", null, "물길", "1970-01-01T00:00:00.001", "1970-01-01"])
        );
        assert_eq!(json_rows(&batch(), 2).unwrap().len(), 2);
    }

    #[test]
    fn csv_has_one_header_and_json_lines_an_object_a_row() {
        let text = String::from_utf8(csv(&batch(), true).unwrap()).unwrap();
        let expected = "whole,large,number,text,time,day\n1,0,0.5,\"a,\"\"b\"\"\",2013-01-01T05:00:00,2013-01-01\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(String::from_utf8(csv(&batch(), false).unwrap()).unwrap().starts_with("1,0,"));
        let text = String::from_utf8(json_lines(&batch()).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(
            text.lines().next().unwrap(),
            r#"{"whole":1,"large":0,"number":0.5,"text":"a,\"b\"","time":"2013-01-01T05:00:00","day":"2013-01-01"}"#
        );
    }

    #[test]
    fn types_have_sql_names() {
        for (arrow, sql) in [
            (DataType::Int64, "BIGINT"),
            (DataType::Timestamp(TimeUnit::Millisecond, None), "TIMESTAMP(3)"),
            (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), "TIMESTAMP_LTZ(6)"),
            (DataType::Decimal128(10, 2), "DECIMAL(10, 2)"),
            (DataType::new_list(DataType::Utf8View, true), "ARRAY<VARCHAR>"),
        ] {
            assert_eq!(sql_type(&arrow), sql);
        }
    }
}
