//! Functions about sizes: nobody counts the bytes of a table here, and a number of bytes can be written for people.

use std::sync::Arc;

use arrow::array::{AsArray, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use mulgil_sql::function::Function;

use super::function;

/// The functions; they are the same for everybody.
pub(super) fn all() -> Vec<Function> {
    let unknown = ["pg_table_size", "pg_relation_size", "pg_total_relation_size", "pg_database_size"]
        .map(|name| function(name, (1, 2), DataType::Int64, |_, rows| Ok(new_null_array(&DataType::Int64, rows))));
    unknown.into_iter().chain([pretty()]).collect()
}

/// `pg_size_pretty(123456)` is `121 kB`.
fn pretty() -> Function {
    function("pg_size_pretty", (1, 1), DataType::Utf8, |arguments, _| {
        let sizes = arguments.first().ok_or("it takes a number of bytes")?;
        let sizes = cast(sizes, &DataType::Int64).map_err(|error| error.to_string())?;
        let sizes = sizes.as_primitive::<Int64Type>().iter();
        Ok(Arc::new(sizes.map(|bytes| bytes.map(written)).collect::<StringArray>()))
    })
}

/// In the smallest unit, from bytes on, of which there are fewer than 10,240; rounded.
fn written(bytes: i64) -> String {
    let bytes = i128::from(bytes);
    let mut unit: i128 = 1;
    for name in ["bytes", "kB", "MB", "GB", "TB"] {
        let half = if bytes < 0 { -unit / 2 } else { unit / 2 };
        let count = (bytes + half) / unit;
        if count.abs() < 10_240 || name == "TB" {
            return format!("{count} {name}");
        }
        unit *= 1_024;
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn sizes_are_written_as_postgres_writes_them() {
        let cases = [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (123_456, "121 kB"),
            (-10_485_760, "-10 MB"),
            (5 << 40, "5120 GB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(written(bytes), expected, "{bytes}");
        }
    }
}
