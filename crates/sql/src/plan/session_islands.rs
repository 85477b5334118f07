//! Batch's way to sessions, known as *gaps and islands*: the rows of a key in order of time, of which those begin a session
//! that come more than a gap after the one before; how many have begun so far numbers the sessions.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::lead_lag::lag_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, WindowFrame, cast, lit, when,
};
use mulgil_dataflow::time::event_times;

use super::window::WINDOW_COLUMNS;

// Columns on the way; users cannot name columns so.
const TIME: &str = "row's time in milliseconds";
const BEFORE: &str = "time of the row before";
const SESSION: &str = "number of the session";
const START: &str = "first time of the session";
const LAST: &str = "last time of the session";

/// The rows of `input`, with the bounds of their sessions.
pub(crate) fn expand(input: LogicalPlan, time: &Expr, keys: &[Expr], gap_ms: i64) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let bound = bound_type(time, input.schema())?;
    let milliseconds = ScalarUDF::new_from_impl(Milliseconds::default()).call(vec![time.clone()]);
    let with_time = columns.iter().cloned().chain([milliseconds.alias(TIME)]);
    let plan = LogicalPlanBuilder::from(input)
        .filter(time.clone().is_not_null())?
        .project(with_time.collect::<Vec<Expr>>())?
        .build()?;

    let before = over(WindowFunction::new(lag_udwf(), vec![named(TIME)]), keys, true);
    let plan = with_column(plan, before, BEFORE)?;
    let follows = (named(TIME) - named(BEFORE)).lt_eq(lit(gap_ms));
    let begins = when(follows, lit(0_i64)).otherwise(lit(1_i64))?;
    let number = over(WindowFunction::new(sum_udaf(), vec![begins]), keys, true);
    let plan = with_column(plan, number, SESSION)?;

    let session: Vec<Expr> = keys.iter().cloned().chain([named(SESSION)]).collect();
    let plan = with_column(plan, over(WindowFunction::new(min_udaf(), vec![named(TIME)]), &session, false), START)?;
    let plan = with_column(plan, over(WindowFunction::new(max_udaf(), vec![named(TIME)]), &session, false), LAST)?;
    let bounds = [named(START), named(LAST) + lit(gap_ms), named(LAST) + lit(gap_ms - 1)];
    let bounds = bounds.into_iter().zip(WINDOW_COLUMNS).map(|(ms, name)| cast(ms, bound.clone()).alias(name));
    LogicalPlanBuilder::from(plan).project(columns.into_iter().chain(bounds).collect::<Vec<Expr>>())?.build()
}

fn named(column: &str) -> Expr {
    Expr::Column(Column::new_unqualified(column))
}

/// A function over all rows of the same keys, or over those up to this one in order of time.
fn over(mut function: WindowFunction, keys: &[Expr], in_order: bool) -> Expr {
    function.params.partition_by = keys.to_vec();
    if in_order {
        function.params.order_by = vec![named(TIME).sort(true, false)];
        function.params.window_frame = WindowFrame::new(Some(true));
    }
    Expr::from(function)
}

fn bound_type(time: &Expr, schema: &DFSchema) -> Result<DataType> {
    match time.get_type(schema)? {
        DataType::Timestamp(_, zone) => Ok(DataType::Timestamp(TimeUnit::Millisecond, zone)),
        other => plan_err!("a session needs a timestamp, not {other}"),
    }
}

/// Appends what an OVER window computes.
fn with_column(plan: LogicalPlan, window: Expr, name: &str) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    columns.push(Expr::Column(Column::new_unqualified(window.schema_name().to_string())).alias(name));
    LogicalPlanBuilder::from(plan).window(vec![window])?.project(columns)?.build()
}

/// `event_milliseconds(time)`: the time in milliseconds since 1970, rounded down.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Milliseconds {
    signature: Signature,
}

impl Default for Milliseconds {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Milliseconds {
    fn name(&self) -> &str {
        "event_milliseconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(ColumnarValue::Scalar(ScalarValue::Null)) | None => exec_err!("a session needs a time"),
            Some(time) => Ok(ColumnarValue::Array(Arc::new(event_times(&time.into_array(args.number_rows)?)?))),
        }
    }
}
