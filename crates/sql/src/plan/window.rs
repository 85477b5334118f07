//! The logical node behind `TUMBLE(TABLE t, DESCRIPTOR(ts), ...)`, `HOP` and `CUMULATE`: each row once for each of its
//! windows, with the bounds of that window.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, TableReference, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use mulgil_dataflow::graph::Window;

/// The columns that the node appends.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Appends `window_start`, `window_end` and `window_time`, timestamps in milliseconds. Rows without a time are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowAssignNode {
    pub(crate) input: LogicalPlan,
    /// The time column.
    pub(crate) time: Expr,
    /// Which windows there are.
    pub(crate) window: Window,
    /// How long late rows still update results; batch has no late rows.
    pub(crate) allowed_lateness_ms: u64,
    schema: DFSchemaRef,
}

impl WindowAssignNode {
    pub(crate) fn new(input: LogicalPlan, time: Column, window: Window, allowed_lateness_ms: u64) -> Result<Self> {
        let DataType::Timestamp(_, zone) = input.schema().data_type(&time)? else {
            return plan_err!("{} is not a timestamp", time.name);
        };
        let bound = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.extend(WINDOW_COLUMNS.iter().map(|name| (None, Arc::new(Field::new(*name, bound.clone(), true)))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().as_arrow().metadata().clone())?);
        Ok(Self { input, time: Expr::Column(time), window, allowed_lateness_ms, schema })
    }

    /// The number of columns before `window_start`.
    pub(crate) fn width(&self) -> usize {
        self.input.schema().fields().len()
    }

    /// The index of the time column in the input.
    pub(crate) fn time_index(&self) -> Option<usize> {
        match &self.time {
            Expr::Column(column) => self.input.schema().maybe_index_of_column(column),
            _ => None,
        }
    }
}

impl Hash for WindowAssignNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.time.hash(state);
        self.window.hash(state);
    }
}

impl PartialOrd for WindowAssignNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for WindowAssignNode {
    fn name(&self) -> &str {
        "WindowAssign"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    /// Predicates on the rows go below, those on the window stay above.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        WINDOW_COLUMNS.iter().map(|name| (*name).to_owned()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowAssign: {} {:?}", self.time, self.window)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            (Some(Expr::Column(time)), Some(input)) => Self::new(input, time, self.window, self.allowed_lateness_ms),
            _ => plan_err!("a window is assigned by a time column of one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let passed = output_columns.iter().copied().filter(|column| *column < self.width());
        let mut needed: Vec<usize> = passed.chain(self.time_index()).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
