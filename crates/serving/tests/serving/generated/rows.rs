//! Random tables: which columns there are, and rows in order of arrival, out of order in time by less than the watermark's
//! patience. Few different values, so that rows meet; among them those that are easily got wrong.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMillisecondArray,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use mulgil_engine::deterministic::Random;

use super::relation::{Column, Type};
use crate::modes::declaration;

/// A table with all its rows.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    rows: RecordBatch,
}

impl Table {
    pub(crate) fn random(number: usize, random: &mut Random) -> Self {
        const TYPES: [Type; 8] =
            [Type::Text, Type::Big, Type::Small, Type::Decimal, Type::Double, Type::Odd, Type::Boolean, Type::Date];
        // A text and a number, so that tables can be joined, and whatever else.
        let mut types = vec![Type::Text, Type::Big];
        types.extend((0..random.below(4)).map(|_| TYPES[random.below(TYPES.len())]));
        let column = |(place, data_type): (usize, &Type)| Column::new(format!("x{number}_{place}"), *data_type);
        let mut columns: Vec<Column> = types.iter().enumerate().map(column).collect();
        columns.push(Column::new("ts", Type::Time));
        let count = [0, 1, 5, 15, 30, 30, 45, 60][random.below(8)];
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(&column.name, arrow_type(column.data_type), true)).collect();
        let null_one_in = [3, 8, usize::MAX][random.below(3)];
        let arrays = columns.iter().map(|column| array(column.data_type, count, null_one_in, random)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        Self { name: format!("t{number}"), columns, rows }
    }

    /// The statements that declare it.
    pub(crate) fn ddl(&self) -> String {
        let column = |column: &Column| format!("{} {}", column.name, sql_type(column.data_type));
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        declaration(&self.name, &columns.join(", "))
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
        Type::Decimal => DataType::Decimal128(12, 2),
        Type::Double | Type::Ratio | Type::Odd => DataType::Float64,
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
        Type::Decimal => "DECIMAL(12, 2)",
        Type::Double | Type::Ratio | Type::Odd => "DOUBLE",
        Type::Boolean => "BOOLEAN",
        Type::Date => "DATE",
        Type::Time => "TIMESTAMP(3)",
    }
}

/// Texts that are easily cut, quoted, folded or ordered wrong.
const TEXTS: [&str; 10] = ["k0", "k1", "k2", "k3", "", " ", "K1", "물길", "a\nb\t\"'\\", "e\u{301}\u{0}"];
const ODD_NUMBERS: [f64; 7] = [f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 0.1, f64::MIN_POSITIVE];

fn array(data_type: Type, count: usize, null_one_in: usize, random: &mut Random) -> ArrayRef {
    // Around the epoch, before a leap day, and long ago.
    let start_ms = [-60_000, 0, 1_709_164_740_000, -2_208_988_800_000][random.below(4)];
    let mut number = |bound: usize, row: usize| {
        let is_null = random.below(null_one_in) == 0 && null_one_in < usize::MAX;
        let disorder = random.below(20_000);
        (!is_null).then(|| (random.below(bound), row as i64 * 1_000 - disorder as i64))
    };
    let mut numbers = |bound: usize| (0..count).map(|row| number(bound, row)).collect::<Vec<_>>();
    match data_type {
        Type::Text => {
            let count = [4, 4, TEXTS.len()][count % 3];
            Arc::new(numbers(count).iter().map(|n| n.map(|(n, _)| TEXTS[n])).collect::<StringArray>())
        }
        Type::Big => Arc::new(numbers(12).iter().map(|n| n.map(|(n, _)| n as i64 - 3)).collect::<Int64Array>()),
        Type::Small => Arc::new(numbers(5).iter().map(|n| n.map(|(n, _)| n as i32)).collect::<Int32Array>()),
        Type::Decimal => {
            let hundredths = numbers(30).into_iter().map(|n| n.map(|(n, _)| n as i128 * 25 - 200));
            Arc::new(hundredths.collect::<Decimal128Array>().with_precision_and_scale(12, 2).unwrap())
        }
        Type::Odd => {
            let numbers = numbers(ODD_NUMBERS.len());
            Arc::new(numbers.iter().map(|n| n.map(|(n, _)| ODD_NUMBERS[n])).collect::<Float64Array>())
        }
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
