//! The logical node that says how a table's event time advances. Batch has no use for it and takes it out.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use datafusion::common::{DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// `WATERMARK FOR time AS bound`, above the rows of its table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WatermarkNode {
    pub(crate) input: LogicalPlan,
    /// The event-time column.
    pub(crate) time: Expr,
    /// For each row, the watermark that it allows.
    pub(crate) bound: Expr,
}

impl PartialOrd for WatermarkNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for WatermarkNode {
    fn name(&self) -> &str {
        "Watermark"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone(), self.bound.clone()]
    }

    /// Event time advances by the rows that are read, not by those that survive a filter: none goes below.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.input.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watermark: {} as {}", self.time, self.bound)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut inputs = inputs.into_iter();
        match (exprs.next(), exprs.next(), inputs.next()) {
            (Some(time), Some(bound), Some(input)) => Ok(Self { input, time, bound }),
            _ => plan_err!("a watermark has a time, a bound and one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let own = self.time.column_refs().into_iter().chain(self.bound.column_refs());
        let own = own.filter_map(|column| schema.maybe_index_of_column(column));
        let mut needed: Vec<usize> = output_columns.iter().copied().chain(own).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
