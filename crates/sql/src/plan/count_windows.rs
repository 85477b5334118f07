//! Windows of so many rows: `COUNT_TUMBLE(TABLE t PARTITION BY k, DESCRIPTOR(ts), 100)` and `COUNT_HOP(..., slide, size)`.
//!
//! The rows of a key are numbered in the order of event time, as `ROW_NUMBER()` does it; which windows a row is in follows
//! from its number. Window `w` (from 0) holds the `size` rows from number `w * slide` on.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, UInt64Type};
use datafusion::common::{Column, Result, ScalarValue, UnnestOptions, exec_err, plan_err};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};

/// The column that says which window a row is in.
pub(crate) const WINDOW_NUMBER: &str = "window_number";

/// The rows of `input` that have a time, each with the number of its window; once for each of its windows.
pub(crate) fn plan(input: LogicalPlan, time: Column, keys: Vec<Expr>, slide: i64, size: i64) -> Result<LogicalPlan> {
    if input.schema().has_column_with_unqualified_name(WINDOW_NUMBER) {
        return plan_err!(
            "there is a column {WINDOW_NUMBER} already; name it otherwise in a subquery: {WINDOW_NUMBER} AS ..."
        );
    }
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
    number.params.partition_by = keys;
    number.params.order_by = vec![Expr::Column(time.clone()).sort(true, false)];
    let number = Expr::from(number);
    let row = Expr::Column(Column::new_unqualified(number.schema_name().to_string()));
    let windows = ScalarUDF::new_from_impl(CountWindows::new(slide != size)).call(vec![row, lit(slide), lit(size)]);
    let with_windows = columns.into_iter().chain([windows.alias(WINDOW_NUMBER)]);
    let plan = LogicalPlanBuilder::from(input)
        .filter(Expr::Column(time).is_not_null())?
        .window(vec![number])?
        .project(with_windows.collect::<Vec<Expr>>())?;
    if slide == size {
        return plan.build();
    }
    let options = UnnestOptions::new().with_preserve_nulls(false);
    plan.unnest_column_with_options(Column::new_unqualified(WINDOW_NUMBER), options)?.build()
}

/// The row's number and the size of the windows, where an expression is the windows of a row.
pub(crate) fn windows_of(expression: &Expr) -> Option<(&Expr, i64)> {
    let Expr::ScalarFunction(call) = expression else { return None };
    if ![TUMBLING, HOPPING].contains(&call.func.name()) {
        return None;
    }
    match call.args.as_slice() {
        [row, _, Expr::Literal(ScalarValue::Int64(Some(size)), _)] => Some((row, *size)),
        _ => None,
    }
}

const TUMBLING: &str = "count_window";
const HOPPING: &str = "count_windows";

/// `count_window(row, size, size)`: of a row's number, from 1, that of its window, from 0. `count_windows(row, slide,
/// size)`: those of all its windows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CountWindows {
    is_hopping: bool,
    signature: Signature,
}

impl CountWindows {
    fn new(is_hopping: bool) -> Self {
        Self { is_hopping, signature: Signature::any(3, Volatility::Immutable) }
    }
}

/// The windows of row `row`, from 0.
fn windows(row: i64, slide: i64, size: i64) -> std::ops::RangeInclusive<i64> {
    let first = if row < size { 0 } else { (row - size) / slide + 1 };
    first..=row / slide
}

impl ScalarUDFImpl for CountWindows {
    fn name(&self) -> &str {
        if self.is_hopping { HOPPING } else { TUMBLING }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        let number = DataType::Int64;
        Ok(if self.is_hopping { DataType::List(Arc::new(Field::new_list_field(number, true))) } else { number })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [row, slide, size] = args.args.as_slice() else {
            return exec_err!("{} needs three arguments", self.name());
        };
        let number = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(number))) if *number > 0 => Some(*number),
            _ => None,
        };
        let (Some(slide), Some(size)) = (number(slide), number(size)) else {
            return exec_err!("{} needs two positive numbers", self.name());
        };
        let rows = row.to_array(args.number_rows)?;
        let Some(rows) = rows.as_primitive_opt::<UInt64Type>() else {
            return exec_err!("{} needs the number of a row, not {}", self.name(), rows.data_type());
        };
        let rows = rows.values().iter().map(|row| i64::try_from(row.saturating_sub(1)).unwrap_or(i64::MAX));
        if !self.is_hopping {
            let windows: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.map(|row| row / size)));
            return Ok(ColumnarValue::Array(windows));
        }
        let (mut all, mut lengths) = (Vec::new(), Vec::new());
        for row in rows {
            let before = all.len();
            all.extend(windows(row, slide, size));
            lengths.push(all.len() - before);
        }
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let list =
            ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), Arc::new(Int64Array::from(all)), None)?;
        Ok(ColumnarValue::Array(Arc::new(list)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_row_is_in_the_windows_that_hold_it() {
        for (slide, size) in [(1, 1), (3, 3), (1, 4), (2, 3), (2, 6), (5, 2), (7, 7)] {
            for row in 0..40 {
                let holds = |window: &i64| (window * slide..window * slide + size).contains(&row);
                let expected: Vec<i64> = (0..60).filter(holds).collect();
                assert_eq!(windows(row, slide, size).collect::<Vec<i64>>(), expected, "row {row}, {slide}, {size}");
            }
        }
    }
}
