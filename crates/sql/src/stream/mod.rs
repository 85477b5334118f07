//! From the logical plan to a dataflow graph: stream mode.
//!
//! The plan is analysed and optimised by those of DataFusion's rules that keep its shape (constants folded, predicates
//! moved down, unneeded columns dropped), then its nodes become operators one by one.

mod aggregate;
mod calculation;
mod changing_windows;
mod count_windows;
pub(crate) mod expression;
mod finish;
mod fixed_interval;
mod grouping_sets;
mod join;
mod key;
mod late_rows;
mod lookup;
mod over;
mod processing_time;
mod rank;
mod retention;
mod rolling;
mod scalar_subquery;
mod session;
mod shared_calculation;
pub(crate) mod states;
mod temporal;
pub(crate) mod time_attribute;
mod translate;
mod unnest;
mod window_aggregate;
mod window_columns;
mod windowed;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::{Graph, LogicalOperator, NodeId};
use mulgil_dataflow::time_to_live::TimeToLive;

pub use self::finish::Finish;
use self::scalar_subquery::{joined_values, with_joined_values};
use crate::check::volatile_function;
use crate::plan::above_totals::PushDownAboveTotals;
use crate::plan::late_input::{LateRowsTo, mark};
use crate::plan::planning_state;
use crate::plan::stamp::stamped_where_read;
use crate::problem::SqlError;

/// The sink of a bare `SELECT`.
pub const RESULT_SINK: &str = "result";

/// A statement as a dataflow.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// What to run. Its last node is the sink.
    pub graph: Graph,
    /// The columns that the sink gets.
    pub schema: SchemaRef,
    /// Columns that together name a row of the result, by index; `None` where rows have no key, and equal rows may
    /// occur several times.
    pub key: Option<Vec<usize>>,
    /// Whether the sink gets a changelog (`+I -U +U -D`) rather than inserts only.
    pub is_updating: bool,
    /// The tables that it reads.
    pub sources: Vec<TableName>,
    /// The tables that rows are put into aside, on the way to the sink: those that are too late.
    pub side_sinks: Vec<TableName>,
    /// What is left to do, in batch, with the final rows of a bare `SELECT`: `ORDER BY` and `LIMIT`.
    pub finish: Option<Finish>,
    /// What the user should know before it runs for ever: operators whose state nothing bounds, with the remedy.
    pub warnings: Vec<String>,
}

/// Plans a dataflow that ends in the sink named `sink`. `time_to_live` is for state that nothing else bounds.
pub(crate) fn plan(
    plan: LogicalPlan,
    sink: Option<String>,
    time_to_live: Option<TimeToLive>,
    late_rows: Option<&LateRowsTo>,
) -> Result<StreamPlan, SqlError> {
    let sink = sink.unwrap_or_else(|| RESULT_SINK.to_owned());
    if let Some(function) = volatile_function(&plan) {
        return Err(SqlError::not_in_stream(format!("{function}(), whose value changes while the stream runs,")));
    }
    let plan = stamped_where_read(plan)?;
    let (plan, finish) = if sink == RESULT_SINK { Finish::split(plan)? } else { (plan, None) };
    let plan = with_joined_values(plan)?;
    let plan = match late_rows.filter(|to| !to.tables.is_empty()) {
        Some(to) => mark(run_rules(plan, without_subqueries(), joined_values())?, to)?,
        None => plan,
    };
    let plan = run_rules(plan, all_rules(), joined_values())?;
    let (mut graph, rows) = translate::translate(&plan, time_to_live)?;
    let schema: SchemaRef = Arc::new(Schema::new(rows.schema.fields().clone()));
    let end = graph.push(LogicalOperator::Sink { table: sink }, vec![rows.node], Arc::clone(&schema));
    let sources = graph.nodes.iter().filter_map(|node| match &node.operator {
        LogicalOperator::Source { table, .. } => Some(TableName::parse(table)),
        LogicalOperator::Apply(definition) => definition.looks_up().map(|read| TableName::parse(&read.table)),
        _ => None,
    });
    let mut sources: Vec<TableName> = sources.collect();
    sources.sort();
    sources.dedup();
    let side_sinks = side_sinks(&graph, end);
    if let Some(table) = side_sinks.iter().find(|table| sources.contains(table)) {
        return Err(SqlError::NotInStream {
            construct: format!("writing late rows to {table}, which is read here, so that they would come again,"),
            remedy: "name another table in 'late-rows'".to_owned(),
        });
    }
    let is_updating = graph.is_updating(end);
    let warnings = graph.warnings();
    Ok(StreamPlan { graph, schema, key: rows.key.columns(), is_updating, sources, side_sinks, finish, warnings })
}

/// The tables of sinks before the last.
fn side_sinks(graph: &Graph, end: NodeId) -> Vec<TableName> {
    let sinks = graph.nodes.iter().take(end).filter_map(|node| match &node.operator {
        LogicalOperator::Sink { table } => Some(TableName::parse(table)),
        _ => None,
    });
    let mut sinks: Vec<TableName> = sinks.collect();
    sinks.sort();
    sinks.dedup();
    sinks
}

/// Applies the rules that leave every construct recognisable.
pub(crate) fn optimize(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    run_rules(plan, all_rules(), OptimizerContext::new())
}

fn all_rules() -> Vec<Rule> {
    let mut rules = without_subqueries();
    rules.extend::<[Rule; 5]>([
        Arc::new(ExtractEquijoinPredicate::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownAboveTotals::default()),
        Arc::new(OptimizeProjections::new()),
    ]);
    rules
}

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// Rules that make joins of subqueries.
fn without_subqueries() -> Vec<Rule> {
    vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
    ]
}

fn run_rules(plan: LogicalPlan, rules: Vec<Rule>, context: OptimizerContext) -> Result<LogicalPlan, SqlError> {
    let state = planning_state();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
    Ok(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)
}

#[cfg(test)]
mod tests;
