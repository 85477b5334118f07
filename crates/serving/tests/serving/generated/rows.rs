//! Random tables: which columns there are, and rows in order of arrival, out of order in time by less than the watermark's
//! patience.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::array::{
    BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use mulgil_engine::deterministic::Random;

use super::case::batch_of;
use super::relation::{Column, Type};

/// A table with all its rows.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    rows: RecordBatch,
}

impl Table {
    pub(crate) fn random(number: usize, random: &mut Random) -> Self {
        const TYPES: [Type; 6] = [Type::Text, Type::Big, Type::Small, Type::Double, Type::Boolean, Type::Date];
        // A text and a number, so that tables can be joined, and whatever else.
        let mut types = vec![Type::Text, Type::Big];
        types.extend((0..random.below(4)).map(|_| TYPES[random.below(TYPES.len())]));
        let column =
            |(place, data_type): (usize, &Type)| Column { name: format!("x{number}_{place}"), data_type: *data_type };
        let mut columns: Vec<Column> = types.iter().enumerate().map(column).collect();
        columns.push(Column { name: "ts".to_owned(), data_type: Type::Time });
        let count = [0, 1, 5, 40, 40, 80][random.below(6)];
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(&column.name, arrow_type(column.data_type), true)).collect();
        let null_one_in = [3, 8, usize::MAX][random.below(3)];
        let arrays = columns.iter().map(|column| array(column.data_type, count, null_one_in, random)).collect();
        let rows = batch_of(&Arc::new(Schema::new(fields)), arrays);
        Self { name: format!("t{number}"), columns, rows }
    }

    /// The table that the stream reads; [`Table::name`] is a view of it.
    pub(crate) fn source(&self) -> String {
        format!("{}_source", self.name)
    }

    /// The statements that declare it.
    pub(crate) fn ddl(&self) -> String {
        let column = |column: &Column| format!("{} {}", column.name, sql_type(column.data_type));
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let (name, source, columns) = (&self.name, self.source(), columns.join(", "));
        format!(
            "CREATE TABLE {source} ({columns}, WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
             WITH ('connector' = 'log', 'topic' = '{source}', 'format' = 'json');
             CREATE MATERIALIZED TABLE {name} REFRESH_MODE = CONTINUOUS AS SELECT * FROM {source};\n"
        )
    }

    pub(crate) fn row_count(&self) -> usize {
        self.rows.num_rows()
    }

    /// Some of the rows.
    pub(crate) fn batch(&self, kept: &[usize]) -> RecordBatch {
        let indices: UInt32Array = kept.iter().map(|row| *row as u32).collect();
        take_record_batch(&self.rows, &indices).unwrap()
    }
}

fn arrow_type(data_type: Type) -> DataType {
    match data_type {
        Type::Text => DataType::Utf8,
        Type::Big => DataType::Int64,
        Type::Small => DataType::Int32,
        Type::Double | Type::Ratio => DataType::Float64,
        Type::Boolean => DataType::Boolean,
        Type::Date => DataType::Date32,
        Type::Time => DataType::Timestamp(TimeUnit::Millisecond, None),
    }
}

fn sql_type(data_type: Type) -> &'static str {
    match data_type {
        Type::Text => "VARCHAR",
        Type::Big => "BIGINT",
        Type::Small => "INT",
        Type::Double | Type::Ratio => "DOUBLE",
        Type::Boolean => "BOOLEAN",
        Type::Date => "DATE",
        Type::Time => "TIMESTAMP(3)",
    }
}

fn array(data_type: Type, count: usize, null_one_in: usize, random: &mut Random) -> ArrayRef {
    let start_ms = [-60_000, 0, 1_709_164_740_000][random.below(3)];
    let mut number = |bound: usize, row: usize| {
        let is_null = random.below(null_one_in) == 0 && null_one_in < usize::MAX;
        let disorder = random.below(20_000);
        (!is_null).then(|| (random.below(bound), row as i64 * 1_000 - disorder as i64))
    };
    let mut numbers = |bound: usize| (0..count).map(|row| number(bound, row)).collect::<Vec<_>>();
    match data_type {
        Type::Text => Arc::new(numbers(4).iter().map(|n| n.map(|(n, _)| format!("k{n}"))).collect::<StringArray>()),
        Type::Big => Arc::new(numbers(12).iter().map(|n| n.map(|(n, _)| n as i64 - 3)).collect::<Int64Array>()),
        Type::Small => Arc::new(numbers(5).iter().map(|n| n.map(|(n, _)| n as i32)).collect::<Int32Array>()),
        Type::Double | Type::Ratio => {
            Arc::new(numbers(40).iter().map(|n| n.map(|(n, _)| n as f64 / 2.0)).collect::<Float64Array>())
        }
        Type::Boolean => Arc::new(numbers(2).iter().map(|n| n.map(|(n, _)| n == 1)).collect::<BooleanArray>()),
        // Around a leap day, and before 1970.
        Type::Date => Arc::new(
            numbers(4).iter().map(|n| n.map(|(n, _)| [19_781, 19_782, 19_783, -365][n])).collect::<Date32Array>(),
        ),
        Type::Time => {
            let times = numbers(2);
            Arc::new(times.iter().map(|n| n.map(|(_, ms)| start_ms + ms)).collect::<TimestampMillisecondArray>())
        }
    }
}
