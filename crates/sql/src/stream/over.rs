//! OVER windows as a dataflow: DataFusion's window expressions as the dataflow's [`WindowFunction`]s.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, IntervalUnit, UInt64Type};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::WindowFunctionDefinition;
use datafusion::logical_expr::expr::WindowFunction as Call;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Accumulator, Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::window::{PlainAggregateWindowExpr, WindowExpr};
use datafusion::physical_planner::create_window_expr;
use mulgil_dataflow::definition::OperatorDefinition;
use mulgil_dataflow::expression::EvaluationError;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::over::OverDefinition;
use mulgil_dataflow::window_function::{Reach, RunningFunction, WindowFunction};

use super::expression::text_of;
use super::key::Key;
use super::time_attribute::{TimeAttribute, time_attribute};
use super::translate::{Rows, Translation, arrow_schema};
use crate::problem::SqlError;

impl Translation {
    /// Window functions of one partition and one order.
    pub(super) fn over(&mut self, window: &Window) -> Result<Rows, SqlError> {
        let calls: Vec<&Call> = window.window_expr.iter().filter_map(call_of).collect();
        let Some(params) = calls.first().map(|call| &call.params) else {
            return Err(SqlError::not_in_stream("a window function without OVER"));
        };
        let by =
            |call: &&Call| call.params.partition_by == params.partition_by && call.params.order_by == params.order_by;
        if !calls.iter().all(by) {
            return Err(SqlError::not_in_stream("window functions of several partitions or orders at once"));
        }
        let input = self.input(&window.input, true)?;
        let width = input.width;
        let own = Arc::clone(&input.rows.schema);
        let ordered = self.ordered(input.rows.clone(), &params.partition_by, &params.order_by)?;
        // Rows stay what they are, whatever a function finds about them; but some change their partition.
        let key = input.key_of_plan(&self.key_behind_exchange(&ordered.input, &ordered.partition));
        let functions = window
            .window_expr
            .iter()
            .map(|call| bind_window_function(call, &own))
            .collect::<Result<Vec<Arc<dyn WindowFunction>>, SqlError>>()?;
        let time = ordered.order.first().filter(|by| !by.descending && !by.nulls_first).map(|by| by.column);
        let time = time.filter(|column| time_attribute(&window.input, *column).is_some_and(comes_in_time));
        let definition = OverDefinition {
            input: arrow_schema(&ordered.input.schema),
            partition: ordered.partition,
            order: ordered.order,
            functions,
            time,
            time_to_live: self.time_to_live,
        };
        let appended = window.schema.iter().skip(width);
        let fields = ordered.input.schema.iter().chain(appended);
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        let schema: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        let was_computed = schema.fields().len() != window.schema.fields().len();
        let is_updating = definition.is_updating(&[self.graph.is_updating(ordered.input.node)]);
        let operator = LogicalOperator::Apply(Arc::new(definition));
        let rows = self.push(operator, vec![ordered.input.node], &schema, Key::none());
        let late_table = input.late_table.filter(|_| !is_updating);
        self.late_rows_of((rows.node, 0), &ordered.input.schema, late_table.as_deref())?;
        let rows = if was_computed {
            let columns: Vec<Expr> = window.schema.columns().into_iter().map(Expr::Column).collect();
            self.project(rows, &columns, &window.schema)?
        } else {
            Rows { schema: Arc::clone(&window.schema), ..rows }
        };
        Ok(Rows { key, ..rows })
    }
}

/// Whether no row is behind the watermark by such a column: not so by the start of a window, whose rows come at its end.
fn comes_in_time(attribute: TimeAttribute) -> bool {
    !matches!(attribute, TimeAttribute::WindowStart { .. })
}

/// The window function of an expression of a window node.
fn call_of(expression: &Expr) -> Option<&Call> {
    match expression {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::WindowFunction(call) => Some(call),
        _ => None,
    }
}

fn bind_window_function(expression: &Expr, schema: &DFSchema) -> Result<Arc<dyn WindowFunction>, SqlError> {
    let Some(call) = call_of(expression) else {
        return Err(SqlError::not_in_stream(text_of(expression)));
    };
    let context = PhysicalPlanningContext::default();
    let physical = create_window_expr(expression, schema, &ExecutionProps::new(), &context)?;
    let data_type = physical.field()?.data_type().clone();
    let text = text_of(&Expr::WindowFunction(Box::new(call.clone())));
    Ok(Arc::new(BoundWindowFunction {
        reach: reach_of(call),
        running: Running::of(call, &physical),
        physical,
        data_type,
        text,
    }))
}

/// How far from its row a call looks.
fn reach_of(call: &Call) -> Reach {
    if let WindowFunctionDefinition::WindowUDF(function) = &call.fun {
        match function.name() {
            "row_number" | "rank" | "dense_rank" => return Reach::Before,
            "lag" if call.params.null_treatment.is_none() => return lag_reach(&call.params.args),
            "first_value" | "last_value" | "nth_value" => {}
            _ => return Reach::Ahead,
        }
    }
    reach_of_frame(&call.params.window_frame)
}

/// `LAG(x [, n [, default]])` looks `n` rows back; forward, if `n` is negative.
fn lag_reach(arguments: &[Expr]) -> Reach {
    match arguments.get(1) {
        None => Reach::Rows(1),
        Some(Expr::Literal(number, _)) => match number.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(rows))) => usize::try_from(rows).map_or(Reach::Ahead, Reach::Rows),
            _ => Reach::Ahead,
        },
        Some(_) => Reach::Ahead,
    }
}

fn reach_of_frame(frame: &WindowFrame) -> Reach {
    let ends_here = match &frame.end_bound {
        WindowFrameBound::CurrentRow => true,
        WindowFrameBound::Preceding(bound) => !bound.is_null(),
        WindowFrameBound::Following(_) => false,
    };
    if !ends_here {
        return Reach::Ahead;
    }
    match (&frame.start_bound, frame.units) {
        (WindowFrameBound::CurrentRow, WindowFrameUnits::Rows) => Reach::Rows(0),
        (WindowFrameBound::CurrentRow, _) => Reach::Time(0),
        (WindowFrameBound::Preceding(rows), WindowFrameUnits::Rows) => match rows.cast_to(&DataType::UInt64) {
            Ok(ScalarValue::UInt64(Some(rows))) => usize::try_from(rows).map_or(Reach::Before, Reach::Rows),
            _ => Reach::Before,
        },
        (WindowFrameBound::Preceding(span), WindowFrameUnits::Range) => {
            longest_ms(span).map_or(Reach::Before, Reach::Time)
        }
        _ => Reach::Before,
    }
}

/// The longest that an interval can be, rounded up.
fn longest_ms(interval: &ScalarValue) -> Option<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(parts)) =
        interval.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano)).ok()?
    else {
        return None;
    };
    let days = i64::from(parts.months).checked_mul(31)?.checked_add(i64::from(parts.days))?;
    let ms = parts.nanoseconds.checked_add(999_999)? / 1_000_000;
    days.checked_mul(86_400_000)?.checked_add(ms).filter(|ms| *ms >= 0)
}

/// A window function of DataFusion, with its arguments, order and frame.
#[derive(Debug)]
struct BoundWindowFunction {
    physical: Arc<dyn WindowExpr>,
    data_type: DataType,
    reach: Reach,
    running: Option<Running>,
    text: String,
}

impl fmt::Display for BoundWindowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn failed(text: &str, error: &DataFusionError) -> EvaluationError {
    EvaluationError { expression: text.to_owned(), reason: error.strip_backtrace() }
}

impl WindowFunction for BoundWindowFunction {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> Result<ArrayRef, EvaluationError> {
        let each = |partition: &Range<usize>| {
            self.physical
                .evaluate(&rows.slice(partition.start, partition.len()))
                .map_err(|error| failed(&self.text, &error))
        };
        // Some functions fail where they have no row at all: of a partition that is gone.
        let partitions = partitions.iter().filter(|partition| !partition.is_empty());
        let results = partitions.map(each).collect::<Result<Vec<ArrayRef>, EvaluationError>>()?;
        if results.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        let results: Vec<&dyn arrow::array::Array> = results.iter().map(AsRef::as_ref).collect();
        concat(&results).map_err(|error| failed(&self.text, &error.into()))
    }

    fn running(&self) -> Option<Box<dyn RunningFunction>> {
        match self.running.as_ref()? {
            Running::RowNumber => Some(Box::new(RowNumber(0))),
            Running::Aggregate { by_rows } => {
                let accumulator = accumulator_of(&self.physical).ok()?;
                let physical = Arc::clone(&self.physical);
                let text = self.text.clone();
                Some(Box::new(RunningAggregate { physical, accumulator, by_rows: *by_rows, text }))
            }
        }
    }

    fn state_types(&self) -> Result<Vec<DataType>, EvaluationError> {
        match (&self.running, aggregate_of(&self.physical)) {
            (None, _) => Ok(Vec::new()),
            (Some(Running::RowNumber), _) => Ok(vec![DataType::UInt64]),
            (Some(Running::Aggregate { .. }), aggregate) => {
                let fields = aggregate.map(|aggregate| aggregate.get_aggregate_expr().state_fields()).transpose();
                let fields = fields.map_err(|error| failed(&self.text, &error))?.unwrap_or_default();
                Ok(fields.iter().map(|field| field.data_type().clone()).collect())
            }
        }
    }
}

/// A new accumulator of an aggregate.
fn accumulator_of(physical: &Arc<dyn WindowExpr>) -> Result<Box<dyn Accumulator>, DataFusionError> {
    let no_aggregate = || DataFusionError::Internal("the window function is no aggregate".to_owned());
    aggregate_of(physical).ok_or_else(no_aggregate)?.get_aggregate_expr().create_accumulator()
}

/// Functions over all rows before that can go on from where they were.
#[derive(Clone, Copy, Debug)]
enum Running {
    RowNumber,
    Aggregate {
        /// Whether each row has a frame of its own; else equals share one.
        by_rows: bool,
    },
}

impl Running {
    fn of(call: &Call, physical: &Arc<dyn WindowExpr>) -> Option<Self> {
        let frame = &call.params.window_frame;
        let is_from_start = matches!(&frame.start_bound, WindowFrameBound::Preceding(bound) if bound.is_null());
        let ends_here = frame.end_bound == WindowFrameBound::CurrentRow;
        match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => {
                (function.name() == "row_number").then_some(Self::RowNumber)
            }
            WindowFunctionDefinition::AggregateUDF(_) => {
                let is_plain = aggregate_of(physical).is_some() && call.params.filter.is_none();
                (is_plain && is_from_start && ends_here)
                    .then_some(Self::Aggregate { by_rows: frame.units == WindowFrameUnits::Rows })
            }
        }
    }
}

fn aggregate_of(physical: &Arc<dyn WindowExpr>) -> Option<&PlainAggregateWindowExpr> {
    physical.as_any().downcast_ref::<PlainAggregateWindowExpr>()
}

/// Counts on.
struct RowNumber(u64);

impl RunningFunction for RowNumber {
    fn advance(&mut self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let first = self.0 + 1;
        self.0 += rows.num_rows() as u64;
        Ok(Arc::new(UInt64Array::from_iter_values(first..=self.0)))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(vec![Arc::new(UInt64Array::from(vec![self.0]))])
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<(), EvaluationError> {
        let count = state.first().and_then(|count| count.as_primitive_opt::<UInt64Type>()).map(|count| count.value(0));
        self.0 = count.unwrap_or(0);
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        0
    }
}

/// Adds on.
struct RunningAggregate {
    physical: Arc<dyn WindowExpr>,
    accumulator: Box<dyn Accumulator>,
    by_rows: bool,
    text: String,
}

impl RunningAggregate {
    fn taken_state(&mut self) -> Result<Vec<ArrayRef>, DataFusionError> {
        self.accumulator.state()?.iter().map(ScalarValue::to_array).collect()
    }

    fn results(&mut self, rows: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
        let arguments = self.physical.evaluate_args(rows)?;
        let frames = if self.by_rows {
            (0..rows.num_rows()).map(|row| row..row + 1).collect()
        } else {
            let order: Vec<ArrayRef> =
                self.physical.order_by_columns(rows)?.into_iter().map(|column| column.values).collect();
            arrow::compute::partition(&order)?.ranges()
        };
        let mut results = Vec::with_capacity(rows.num_rows());
        for frame in frames {
            let arguments: Vec<ArrayRef> =
                arguments.iter().map(|argument| argument.slice(frame.start, frame.len())).collect();
            self.accumulator.update_batch(&arguments)?;
            let result = self.accumulator.evaluate()?;
            results.extend(std::iter::repeat_n(result, frame.len()));
        }
        ScalarValue::iter_to_array(results)
    }
}

impl RunningFunction for RunningAggregate {
    fn advance(&mut self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        self.results(rows).map_err(|error| failed(&self.text, &error))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        let state = self.taken_state().map_err(|error| failed(&self.text, &error))?;
        // Giving its state out may leave an accumulator without.
        self.restore(&state)?;
        Ok(state)
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<(), EvaluationError> {
        let restored = accumulator_of(&self.physical).and_then(|mut accumulator| {
            accumulator.merge_batch(state)?;
            Ok(accumulator)
        });
        self.accumulator = restored.map_err(|error| failed(&self.text, &error))?;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        self.accumulator.size()
    }
}
