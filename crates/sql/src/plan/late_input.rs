//! A mark beneath the joins, OVER windows and rankings of a statement whose late rows are wanted: the columns that they are
//! written with are kept up to there. Whether rows can be late is known when operators are made; until then the mark says
//! nothing.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, DataFusionError, plan_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::tokenizer::Location;

use super::late_rows::LateTable;
use super::temporal::TemporalJoinNode;
use crate::problem::Mistake;
use crate::stream::time_attribute::{TimeAttribute, time_attribute};

/// Rows of which those that are too late for the operator above go to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateInputNode {
    pub(crate) input: LogicalPlan,
    /// Which takes them. None fits: a mistake, if rows can be late at all.
    pub(crate) table: Result<Arc<LateTable>, Mistake>,
}

/// Where the late rows of a statement go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateRowsTo {
    /// The tables that may take them; none where nobody asks for them.
    pub(crate) tables: Vec<Arc<LateTable>>,
    /// Where the statement stands.
    pub(crate) at: Location,
}

/// The name by which the plan of a view is known beneath a statement whose late rows are wanted. Users cannot name
/// anything so.
const VIEW: &str = "view #";

/// The plan of a view that is read: it sees to its late rows itself.
pub(crate) fn of_a_view(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    LogicalPlanBuilder::from(plan).alias(VIEW)?.build()
}

fn is_view(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::SubqueryAlias(alias) if alias.alias.table() == VIEW)
}

/// Marks the inputs of a statement's operators, but not of those of the views that it reads. There are no subqueries left
/// that would become joins.
pub(crate) fn mark(plan: LogicalPlan, to: &LateRowsTo) -> Result<LogicalPlan, DataFusionError> {
    let marked = plan.transform_down(|node| {
        if is_view(&node) {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        let is_concerned = |(port, input): &(usize, &LogicalPlan)| *port < ports(&node) && is_in_event_time(input);
        let inputs: Vec<(usize, &LogicalPlan)> = node.inputs().into_iter().enumerate().collect();
        if !inputs.iter().any(is_concerned) {
            return Ok(Transformed::no(node));
        }
        let mark = |input: &(usize, &LogicalPlan)| {
            let plan = input.1.clone();
            if !is_concerned(input) {
                return plan;
            }
            let table = LateTable::choose(&to.tables, plan.schema(), to.at);
            let node = LateInputNode { input: plan, table };
            LogicalPlan::Extension(Extension { node: Arc::new(node) })
        };
        let inputs = inputs.iter().map(mark).collect();
        node.with_new_exprs(node.expressions(), inputs).map(Transformed::yes)
    })?;
    Ok(marked.data)
}

/// How many inputs of a node, from the first, can have late rows.
fn ports(node: &LogicalPlan) -> usize {
    match node {
        LogicalPlan::Join(_) => 2,
        LogicalPlan::Window(_) => 1,
        LogicalPlan::Extension(extension) if extension.node.as_any().is::<TemporalJoinNode>() => 1,
        _ => 0,
    }
}

/// Whether the watermark speaks of a column. Rows of windows come in time.
fn is_in_event_time(plan: &LogicalPlan) -> bool {
    (0..plan.schema().fields().len()).any(|column| time_attribute(plan, column) == Some(TimeAttribute::EventTime))
}

impl LateInputNode {
    /// The mark below the optimiser's projections, which leave columns out.
    pub(crate) fn find(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Projection(projection)
                if projection.expr.iter().all(|column| matches!(column, Expr::Column(_))) =>
            {
                Self::find(&projection.input)
            }
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Self>(),
            _ => None,
        }
    }
}

impl Hash for LateInputNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl PartialOrd for LateInputNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for LateInputNode {
    fn name(&self) -> &str {
        "LateInput"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LateInput")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self, DataFusionError> {
        match inputs.into_iter().next() {
            Some(input) => Ok(Self { input, ..self.clone() }),
            None => plan_err!("late rows are those of one input"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let late = self.table.iter().flat_map(|table| table.schema.fields());
        let late = late.filter_map(|field| schema.fields().iter().position(|own| own.name() == field.name()));
        let mut needed: Vec<usize> = output_columns.iter().copied().chain(late).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
