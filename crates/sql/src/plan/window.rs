//! The logical node behind `TUMBLE(TABLE t, DESCRIPTOR(ts), ...)`, `HOP`, `CUMULATE` and `SESSION`: each row once for
//! each of its windows, with the bounds of that window.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, TableReference, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use mulgil_dataflow::graph::Window;
use mulgil_dataflow::trigger::Trigger;

use super::late_rows::LateTable;

/// The columns that the node appends.
pub(crate) const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// Which windows a call makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallWindow {
    /// Windows that are the same for all rows.
    Aligned(Window),
    /// Sessions of the rows that have these keys in common.
    Session {
        /// The longest time between two rows of a session.
        gap_ms: i64,
        /// `PARTITION BY`; where sessions are bounded, the piece of event time that they may not leave too.
        keys: Vec<Expr>,
        /// How long such a piece is, in milliseconds.
        max_ms: Option<i64>,
    },
}

/// What a stream does with windows, beside giving their results when they end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WindowPolicy {
    /// When they give results otherwise.
    pub(crate) trigger: Trigger,
    /// Where rows go that are too late for all of them.
    pub(crate) late_rows: Option<Arc<LateTable>>,
}

impl CallWindow {
    pub(crate) fn is_tumbling(&self) -> bool {
        matches!(self, Self::Aligned(window) if window.is_tumbling())
    }
}

/// Appends `window_start`, `window_end` and `window_time`, timestamps in milliseconds. Rows without a time are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WindowAssignNode {
    pub(crate) input: LogicalPlan,
    /// The time column.
    pub(crate) time: Expr,
    /// Which windows there are.
    pub(crate) window: CallWindow,
    /// What concerns the stream alone: in batch windows give their results once, and no row is late.
    pub(crate) policy: WindowPolicy,
    schema: DFSchemaRef,
}

impl WindowAssignNode {
    pub(crate) fn new(input: LogicalPlan, time: Column, window: CallWindow, policy: WindowPolicy) -> Result<Self> {
        let DataType::Timestamp(_, zone) = input.schema().data_type(&time)? else {
            return plan_err!("{} is not a timestamp", time.name);
        };
        let bound = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.extend(WINDOW_COLUMNS.iter().map(|name| (None, Arc::new(Field::new(*name, bound.clone(), true)))));
        if let Some(taken) = WINDOW_COLUMNS.iter().find(|name| input.schema().has_column_with_unqualified_name(name)) {
            return plan_err!("there is a column {taken} already; name it otherwise in a subquery: {taken} AS ...");
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().as_arrow().metadata().clone())?);
        Ok(Self { input, time: Expr::Column(time), window, policy, schema })
    }

    /// What its rows are parted by.
    pub(crate) fn keys(&self) -> &[Expr] {
        match &self.window {
            CallWindow::Aligned(_) => &[],
            CallWindow::Session { keys, .. } => keys,
        }
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
        std::iter::once(&self.time).chain(self.keys()).cloned().collect()
    }

    /// Predicates on the rows go below, those on the window stay above. Sessions are made of all rows of their keys, so
    /// only predicates on keys go below them.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let is_key =
            |name: &str| self.keys().iter().any(|key| matches!(key, Expr::Column(column) if column.name == name));
        let stay = |name: &str| match self.window {
            CallWindow::Aligned(_) => WINDOW_COLUMNS.contains(&name),
            CallWindow::Session { .. } => !is_key(name),
        };
        self.schema.fields().iter().map(|field| field.name().clone()).filter(|name| stay(name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowAssign: {} {:?}", self.time, self.window)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        match (exprs.next(), inputs.into_iter().next()) {
            (Some(Expr::Column(time)), Some(input)) => {
                let window = match &self.window {
                    CallWindow::Session { gap_ms, max_ms, .. } => {
                        CallWindow::Session { gap_ms: *gap_ms, keys: exprs.collect(), max_ms: *max_ms }
                    }
                    aligned => aligned.clone(),
                };
                Self::new(input, time, window, self.policy.clone())
            }
            _ => plan_err!("a window is assigned by a time column of one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let passed = output_columns.iter().copied().filter(|column| *column < self.width());
        let schema = self.input.schema();
        let keys = self.keys().iter().flat_map(Expr::column_refs).filter_map(|key| schema.maybe_index_of_column(key));
        let late = self.policy.late_rows.iter().flat_map(|table| table.schema.fields());
        let late = late.filter_map(|field| schema.fields().iter().position(|own| own.name() == field.name()));
        let mut needed: Vec<usize> = passed.chain(self.time_index()).chain(keys).chain(late).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
