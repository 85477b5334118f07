//! Finds the window call beneath a `GROUP BY`, through the projections and filters between them.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, plan_err};
use datafusion::logical_expr::{Expr, LogicalPlan};

use mulgil_dataflow::graph::Window;

use crate::plan::window::{CallWindow, WindowAssignNode};

/// An input that is a window call under projections and filters, all rewritten over the call's own columns.
pub(crate) struct WindowedInput<'a> {
    pub(crate) call: &'a WindowAssignNode,
    /// What the filters between demand, lowest first.
    pub(crate) predicates: Vec<Expr>,
    /// The input's columns.
    columns: Vec<Expr>,
    schema: &'a DFSchema,
}

impl<'a> WindowedInput<'a> {
    /// Looks down from `plan`; `None` where there is no window call.
    pub(crate) fn find(plan: &'a LogicalPlan) -> Result<Option<Self>> {
        let found = match plan {
            LogicalPlan::Extension(extension) => {
                let node = extension.node.as_any().downcast_ref::<WindowAssignNode>();
                return Ok(node.map(|call| Self {
                    call,
                    predicates: Vec::new(),
                    columns: plan.schema().columns().into_iter().map(Expr::Column).collect(),
                    schema: plan.schema(),
                }));
            }
            LogicalPlan::SubqueryAlias(alias) => Self::find(&alias.input)?,
            LogicalPlan::Filter(filter) => match Self::find(&filter.input)? {
                Some(mut input) => {
                    input.predicates.push(input.rewrite(&filter.predicate)?);
                    Some(input)
                }
                None => None,
            },
            LogicalPlan::Projection(projection) => match Self::find(&projection.input)? {
                Some(mut input) => {
                    input.columns =
                        projection.expr.iter().map(|column| input.rewrite(column)).collect::<Result<_>>()?;
                    Some(input)
                }
                None => None,
            },
            _ => None,
        };
        Ok(found.map(|input| Self { schema: plan.schema(), ..input }))
    }

    /// An expression over the input, as one over the window call's columns.
    pub(crate) fn rewrite(&self, expression: &Expr) -> Result<Expr> {
        let rewritten = expression.clone().transform_down(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            match self.columns.get(self.schema.index_of_column(column)?) {
                Some(replacement) => {
                    let replacement = replacement.clone().unalias_nested().data;
                    // What was put in is over other columns: it is not looked into again.
                    Ok(Transformed::new(replacement, true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
                }
                None => plan_err!("there is no column {column}"),
            }
        })?;
        Ok(rewritten.data.unalias_nested().data)
    }

    /// The number of columns before `window_start`.
    pub(crate) fn width(&self) -> usize {
        self.call.input.schema().fields().len()
    }

    /// Whether grouping by these rewritten expressions groups by window. The windows that begin together are told apart
    /// by their ends.
    pub(crate) fn names_window(&self, rewritten: &[Expr]) -> bool {
        let begin_together = matches!(self.call.window, CallWindow::Aligned(Window::Cumulating { .. }));
        let mut bounds = rewritten.iter().filter_map(|expression| self.window_column(expression));
        bounds.any(|bound| bound > 0 || !begin_together)
    }

    /// Which window column (0 start, 1 end, 2 time) a rewritten expression is, if it is one.
    pub(crate) fn window_column(&self, rewritten: &Expr) -> Option<usize> {
        let Expr::Column(column) = rewritten else { return None };
        self.call_index(column)?.checked_sub(self.width())
    }

    fn call_index(&self, column: &Column) -> Option<usize> {
        use datafusion::logical_expr::UserDefinedLogicalNodeCore;
        self.call.schema().maybe_index_of_column(column)
    }

    /// Whether a rewritten expression needs the window's bounds to be columns.
    pub(crate) fn uses_window(&self, rewritten: &Expr) -> bool {
        rewritten
            .column_refs()
            .into_iter()
            .any(|column| self.call_index(column).is_some_and(|index| index >= self.width()))
    }
}
