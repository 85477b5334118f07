//! The logical node of an aggregation as states by pane: see [`mulgil_dataflow::operators::pane_aggregate`].

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use mulgil_dataflow::operators::pane_aggregate::PaneAggregate;

use crate::stream::states::bind;

/// States of aggregates by keys and pane, above the rows that they are of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PaneStatesNode {
    pub(crate) input: LogicalPlan,
    /// The event time of a row.
    pub(crate) time: Expr,
    pub(crate) pane_ms: i64,
    pub(crate) keys: Vec<Expr>,
    pub(crate) calls: Vec<Expr>,
    schema: DFSchemaRef,
}

impl PaneStatesNode {
    /// A node over an analysed plan: the types of its expressions are final.
    pub(crate) fn new(
        input: LogicalPlan,
        (time, pane_ms): (Expr, i64),
        keys: Vec<Expr>,
        calls: Vec<Expr>,
    ) -> Result<Self> {
        let mut node = Self { input, time, pane_ms, keys, calls, schema: Arc::new(DFSchema::empty()) };
        let schema = node.bound(node.input.schema())?.schema();
        node.schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
        Ok(node)
    }

    /// The aggregation over rows of `schema`.
    pub(crate) fn bound(&self, schema: &DFSchema) -> Result<PaneAggregate> {
        bind(self, schema).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

impl PartialOrd for PaneStatesNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for PaneStatesNode {
    fn name(&self) -> &str {
        "PaneStates"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.keys).chain(&self.calls).cloned().collect()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PaneStates: {} in panes of {} ms", self.time, self.pane_ms)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let (Some(time), Some(input)) = (exprs.next(), inputs.into_iter().next()) else {
            return plan_err!("states by pane have a time and an input");
        };
        let keys = exprs.by_ref().take(self.keys.len()).collect();
        Self::new(input, (time, self.pane_ms), keys, exprs.collect())
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let expressions = self.expressions();
        let named = expressions.iter().flat_map(Expr::column_refs);
        let mut needed: Vec<usize> = named.filter_map(|column| schema.maybe_index_of_column(column)).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
