//! Tells the columns of a file from its beginning.

use std::fs::File;
use std::io::BufReader;

use anyhow::{Result, bail};
use arrow::csv::reader::Format as CsvFormat;
use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::json::reader::infer_json_schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::Kind;
use super::fetch::{Fetched, open};

/// How many rows are looked at.
const ROWS_LOOKED_AT: usize = 10_000;

/// The statement that declares a file as a table.
pub(super) fn declaration(table: &str, file: &Fetched) -> Result<String> {
    let schema = schema(file)?;
    let name = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns = schema.fields().iter();
    let columns = columns.filter_map(|field| Some(format!("{} {}", name(field.name()), sql_type(field.data_type())?)));
    let columns: Vec<String> = columns.collect();
    if columns.is_empty() {
        bail!("it has no column that SQL can read");
    }
    let format = match file.kind {
        Kind::Csv => "'csv'",
        Kind::Tsv => "'csv', 'csv.field-delimiter' = '\t'",
        Kind::Json => "'json'",
        Kind::Parquet => "'parquet'",
    };
    let path = file.path.display().to_string().replace('\'', "''");
    let columns = columns.join(", ");
    Ok(format!(
        "CREATE TABLE {table} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = {format});"
    ))
}

fn schema(file: &Fetched) -> Result<Schema> {
    let csv = |delimiter: u8| -> Result<Schema> {
        let format = CsvFormat::default().with_header(true).with_delimiter(delimiter);
        Ok(format.infer_schema(open(&file.sample)?, Some(ROWS_LOOKED_AT))?.0)
    };
    match file.kind {
        Kind::Csv => csv(b','),
        Kind::Tsv => csv(b'\t'),
        Kind::Json => Ok(infer_json_schema(BufReader::new(open(&file.sample)?), Some(ROWS_LOOKED_AT))?.0),
        Kind::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&file.sample)?)?;
            Ok(reader.schema().as_ref().clone())
        }
    }
}

/// The SQL type of a column; `None` where SQL has no column for it, as for objects and lists.
fn sql_type(data_type: &DataType) -> Option<String> {
    let digits = |unit: &TimeUnit| match unit {
        TimeUnit::Second | TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    Some(match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 | DataType::UInt8 => "SMALLINT".to_owned(),
        DataType::Int32 | DataType::UInt16 => "INT".to_owned(),
        DataType::Int64 | DataType::UInt32 => "BIGINT".to_owned(),
        DataType::UInt64 => "DECIMAL(20, 0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            format!("DECIMAL({precision}, {scale})")
        }
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(unit)),
        DataType::Timestamp(unit, Some(_)) => format!("TIMESTAMP_LTZ({})", digits(unit)),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "BYTES".to_owned()
        }
        DataType::Dictionary(_, value) => return sql_type(value),
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        _ => return None,
    })
}
