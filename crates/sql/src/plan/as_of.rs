//! `JOIN t FOR SYSTEM_TIME AS OF o.ts ON ...`: first a mark on the table, as it is planned before the join; then, when
//! the query is planned, the join of which it is the right side becomes a temporal join.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, DataFusionError, Result, TableReference, plan_err};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, Join, LogicalPlan, SubqueryAlias, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast::{self, Spanned, TableFactor, TableVersion};
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::TableName;

use super::temporal::TemporalJoinNode;
use crate::ddl::{fold, last_part};
use crate::problem::Mistake;

/// The time for which a table is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum AsOf {
    /// A column of the join's left side.
    Column(Column),
    /// The time at which a row is processed.
    Processing,
}

/// A table of which the version of a time is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AsOfNode {
    input: LogicalPlan,
    time: AsOf,
    /// The primary key of the table, by the indices of its columns; empty where none is declared.
    primary_key: Vec<usize>,
}

impl PartialOrd for AsOfNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for AsOfNode {
    fn name(&self) -> &str {
        "AsOf"
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

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsOf: {:?}", self.time)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.into_iter().next() {
            Some(input) => Ok(Self { input, ..self.clone() }),
            None => plan_err!("a version is of one table"),
        }
    }
}

/// Plans tables with a version.
#[derive(Debug)]
pub(crate) struct AsOfPlanner {
    /// By table: its primary key, by the indices of its columns.
    pub(crate) primary_keys: HashMap<String, Vec<usize>>,
}

impl RelationPlanner for AsOfPlanner {
    fn plan_relation(
        &self,
        mut relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let at = relation.span().start;
        let TableFactor::Table { name, version, alias, .. } = &mut relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(version) = version.take() else { return Ok(RelationPlanning::Original(Box::new(relation))) };
        let alias = alias.take();
        let parts = name.0.iter().filter_map(|part| part.as_ident()).map(fold);
        let name = TableName::parse(&parts.collect::<Vec<String>>().join(".")).to_string();
        let primary_key = self.primary_keys.get(&name).cloned().unwrap_or_default();
        let time = time_of(&version, at)?;
        let input = context.plan(relation)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(AsOfNode { input, time, primary_key }) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn wrong(at: Location, message: impl Into<String>) -> DataFusionError {
    let usage = "write FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency";
    DataFusionError::External(Box::new(Mistake::new(at, message).remedy(usage)))
}

fn time_of(version: &TableVersion, at: Location) -> Result<AsOf> {
    let TableVersion::ForSystemTimeAsOf(time) = version else {
        return Err(wrong(at, format!("{version} is not known")));
    };
    match time {
        ast::Expr::Identifier(name) => Ok(AsOf::Column(Column::new_unqualified(fold(name)))),
        ast::Expr::CompoundIdentifier(names) => match names.as_slice() {
            [table, name] => Ok(AsOf::Column(Column::new(Some(TableReference::bare(fold(table))), fold(name)))),
            _ => Err(wrong(at, format!("{time} is not a column of the other table"))),
        },
        ast::Expr::Function(function) if last_part(&function.name) == PROCTIME => Ok(AsOf::Processing),
        _ => Err(wrong(at, format!("FOR SYSTEM_TIME AS OF {time} is not a column of the other table"))),
    }
}

/// The function that says when a row is processed.
const PROCTIME: &str = "proctime";

/// Makes temporal joins of the joins whose right side has a version.
pub(crate) fn resolve_versions(plan: LogicalPlan, at: Location) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) => match versioned(&join.right)? {
            Some(right) => temporal_join(join, right, at).map(Transformed::yes),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    resolved.data.apply_with_subqueries(|node| match node {
        LogicalPlan::Extension(extension) if extension.node.as_any().is::<AsOfNode>() => {
            Err(wrong(at, "FOR SYSTEM_TIME AS OF stands where nothing is joined"))
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(resolved.data)
}

/// A table without its mark, and what that says.
fn versioned(plan: &LogicalPlan) -> Result<Option<AsOfNode>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => match versioned(&alias.input)? {
            Some(node) => {
                let input = SubqueryAlias::try_new(Arc::new(node.input), alias.alias.clone())?;
                Ok(Some(AsOfNode { input: LogicalPlan::SubqueryAlias(input), ..node }))
            }
            None => Ok(None),
        },
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any().downcast_ref::<AsOfNode>();
            Ok(node.cloned())
        }
        _ => Ok(None),
    }
}

fn temporal_join(join: &Join, right: AsOfNode, at: Location) -> Result<LogicalPlan> {
    let AsOfNode { input, time, primary_key } = right;
    let left = join.left.as_ref();
    let time = match &time {
        AsOf::Processing => None,
        AsOf::Column(column) => {
            let index = left.schema().maybe_index_of_column(column);
            let index =
                index.ok_or_else(|| wrong(at, format!("FOR SYSTEM_TIME AS OF {column}: there is no such column")))?;
            if is_processing_time(left, index) {
                None
            } else {
                Some(Column::from(left.schema().qualified_field(index)))
            }
        }
    };
    let node =
        TemporalJoinNode::of(join, input, time, &primary_key).map_err(|error| wrong(at, error.strip_backtrace()))?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// Whether a column of a plan is `PROCTIME()`.
fn is_processing_time(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            let Some(expression) = projection.expr.get(column) else { return false };
            match expression.clone().unalias_nested().data {
                Expr::ScalarFunction(call) => call.func.name() == PROCTIME,
                Expr::Column(source) => projection
                    .input
                    .schema()
                    .maybe_index_of_column(&source)
                    .is_some_and(|index| is_processing_time(&projection.input, index)),
                _ => false,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => is_processing_time(&alias.input, column),
        LogicalPlan::Filter(filter) => is_processing_time(&filter.input, column),
        LogicalPlan::Extension(extension) => match extension.node.inputs().as_slice() {
            // A join's columns begin with those of its left side.
            [input] | [input, _] if input.schema().fields().len() > column => is_processing_time(input, column),
            _ => false,
        },
        LogicalPlan::Join(join) => match column.checked_sub(join.left.schema().fields().len()) {
            None => is_processing_time(&join.left, column),
            Some(column) => is_processing_time(&join.right, column),
        },
        _ => false,
    }
}
