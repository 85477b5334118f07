//! An aggregation without windows, taken apart so that it can be cut in two by event time: *states* by pane below, which the
//! layers hold and which add up; and what makes the view's rows of them when somebody reads.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, Extension, LogicalPlan, LogicalPlanBuilder, SubqueryAlias};
use datafusion::sql::sqlparser::tokenizer::Location;
use futures::TryStreamExt;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::expression::Expression;
use mulgil_dataflow::operator::OperatorError;
use mulgil_dataflow::operators::pane_aggregate::{PaneAggregate, PaneStates};

use super::Layers;
use crate::catalog::View;
use crate::function::Functions;
use crate::plan::pane_states::PaneStatesNode;
use crate::plan::planning_state;
use crate::plan::processing_time::column_of;
use crate::plan::watermark::WatermarkNode;
use crate::plan::window::WindowAssignNode;
use crate::problem::{Mistake, SqlError};
use crate::session::{Session, problem};
use crate::stream::expression::{BoundExpression, text_of};

/// The aggregate functions whose states add up to what all rows together would give.
const MERGEABLE: [&str; 33] = [
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "max",
    "mean",
    "min",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var",
];

/// The column of the event time on its way up. Users cannot name a column so.
const TIME: &str = "time of the event";

/// What cannot be kept in layers, and why.
struct Refusal(String, &'static str);

const OTHER_MODE: &str = "use REFRESH_MODE = CONTINUOUS or KAPPA";

impl Refusal {
    fn at(self, at: Location) -> Mistake {
        Mistake::new(at, self.0).remedy(self.1)
    }
}

/// A step from the results of an aggregation to the rows of its view.
#[derive(Debug)]
enum Above {
    /// Rows for which this holds.
    Condition(Arc<BoundExpression>),
    /// Columns computed.
    Columns(Vec<Arc<BoundExpression>>, SchemaRef),
}

/// How the rows of a view come of states.
#[derive(Debug)]
pub struct Unwindowed {
    aggregate: Arc<PaneAggregate>,
    /// The columns of the aggregation: keys and results.
    results: SchemaRef,
    /// What is done with them, in order.
    above: Vec<Above>,
    /// The columns of the view.
    schema: SchemaRef,
}

/// A view's plan, taken apart.
pub(super) struct Apart {
    node: PaneStatesNode,
    unwindowed: Unwindowed,
}

/// Whether no row of a plan belongs to a window.
pub(crate) fn is_unwindowed(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Extension(extension) = node
            && extension.node.as_any().is::<WindowAssignNode>()
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    !found
}

/// The states of a view without windows, in place of its rows: what its stream computes.
pub(crate) fn states_of(
    plan: &LogicalPlan,
    view: &View,
    functions: &Functions,
    at: Location,
) -> Result<LogicalPlan, Mistake> {
    let apart = take_apart(plan.clone(), view, functions, at)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(apart.node) }))
}

impl Unwindowed {
    pub(super) fn of(plan: LogicalPlan, view: &View, functions: &Functions, at: Location) -> Result<Self, Mistake> {
        take_apart(plan, view, functions, at).map(|apart| apart.unwindowed)
    }

    /// How its states say of which pane they are.
    pub(crate) fn layers_of(pane_ms: i64) -> Layers {
        Layers { column: 0, to_end_ms: pane_ms, in_pieces: false, given_after_ms: 0, step_ms: pane_ms, offset_ms: 0 }
    }

    /// The columns of the states: the beginning of the pane first, null where it does not matter any more.
    pub fn state_schema(&self) -> SchemaRef {
        self.aggregate.schema()
    }

    /// The same states with those added up that have pane and key in common.
    ///
    /// # Errors
    /// They are not states of this aggregation.
    pub fn combined(&self, states: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        let mut sums = PaneStates::new(Arc::clone(&self.aggregate))?;
        sums.add_states(states, false)?;
        sums.take()
    }

    /// The rows of the view, of states of any panes.
    ///
    /// # Errors
    /// They are not states of this aggregation; an expression above it fails on a row.
    pub fn rows(&self, states: &[RecordBatch]) -> Result<RecordBatch, OperatorError> {
        let mut sums = PaneStates::new(Arc::clone(&self.aggregate))?;
        states.iter().try_for_each(|states| sums.add_states(states, true))?;
        let mut rows = RecordBatch::try_new(Arc::clone(&self.results), sums.results()?)?;
        for step in &self.above {
            rows = match step {
                Above::Condition(condition) => {
                    let holds = condition.evaluate(&rows)?;
                    filter_record_batch(&rows, holds.as_boolean())?
                }
                Above::Columns(columns, schema) => {
                    let columns = columns.iter().map(|column| column.evaluate(&rows));
                    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?
                }
            };
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())?)
    }
}

fn take_apart(plan: LogicalPlan, view: &View, functions: &Functions, at: Location) -> Result<Apart, Mistake> {
    let planned = |error| Mistake::from_planner(&error, at);
    let timed = with_time_below(&plan).map_err(planned)?.map_err(|refusal| refusal.at(at))?;
    let state = planning_state();
    let (plan, time) = timed;
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(planned)?;
    let (aggregate, steps) = split(&plan).map_err(|refusal| refusal.at(at))?;
    for call in &aggregate.aggr_expr {
        check_mergeable(call, functions).map_err(|refusal| refusal.at(at))?;
    }
    let calls = aggregate.aggr_expr.clone();
    let timed = (Expr::Column(time), view.pane_ms());
    let node = PaneStatesNode::new(aggregate.input.as_ref().clone(), timed, aggregate.group_expr.clone(), calls);
    let node = node.map_err(planned)?;
    let unwindowed = Unwindowed {
        aggregate: Arc::new(node.bound(node.input.schema()).map_err(planned)?),
        results: nullable(aggregate.schema.as_arrow()),
        above: steps.into_iter().map(bound).collect::<Result<_>>().map_err(planned)?,
        schema: nullable(plan.schema().as_arrow()),
    };
    Ok(Apart { node, unwindowed })
}

fn nullable(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
    ))
}

/// A step, bound to the columns below it.
fn bound(step: &LogicalPlan) -> Result<Above> {
    match step {
        LogicalPlan::Filter(filter) => {
            Ok(Above::Condition(BoundExpression::bind(&filter.predicate, filter.input.schema())?))
        }
        LogicalPlan::Projection(projection) => {
            let columns = projection.expr.iter().map(|column| BoundExpression::bind(column, projection.input.schema()));
            Ok(Above::Columns(columns.collect::<Result<_>>()?, nullable(projection.schema.as_arrow())))
        }
        // `split` lets nothing else through.
        other => datafusion::common::internal_err!("{} above states", other.display()),
    }
}

/// The aggregation of a plan, and the projections and conditions above it, the lowest first.
fn split(plan: &LogicalPlan) -> Result<(&Aggregate, Vec<&LogicalPlan>), Refusal> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Ok((aggregate, Vec::new())),
        LogicalPlan::SubqueryAlias(alias) => split(&alias.input),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            let [input] = plan.inputs()[..] else { return Err(not_one_aggregation()) };
            let (aggregate, mut steps) = split(input)?;
            steps.push(plan);
            Ok((aggregate, steps))
        }
        _ => Err(not_one_aggregation()),
    }
}

fn not_one_aggregation() -> Refusal {
    let reason = "LAMBDA cuts a view at the ends of its windows, or adds up the states of one aggregation beneath conditions and \
                  projections alone; this one has neither";
    Refusal(
        reason.to_owned(),
        "select window_end of a window, or GROUP BY something, or use REFRESH_MODE = CONTINUOUS or KAPPA",
    )
}

/// A plan with the event time as a column of what its aggregation reads, and that column.
fn with_time_below(plan: &LogicalPlan) -> Result<Result<(LogicalPlan, Column), Refusal>> {
    if has_subquery(plan)? {
        let reason = "a subquery within an expression says something else in batch than in the stream's past";
        return Ok(Err(Refusal(reason.to_owned(), OTHER_MODE)));
    }
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            if let [Expr::GroupingSet(_)] = aggregate.group_expr.as_slice() {
                let reason = "GROUPING SETS, ROLLUP and CUBE without windows cannot be kept in layers yet";
                return Ok(Err(Refusal(reason.to_owned(), OTHER_MODE)));
            }
            let (input, time) = match carried(&aggregate.input)? {
                Ok(carried) => carried,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let (keys, calls) = (aggregate.group_expr.clone(), aggregate.aggr_expr.clone());
            Ok(Ok((LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), keys, calls)?), time)))
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            let [input] = plan.inputs()[..] else { return Ok(Err(not_one_aggregation())) };
            match with_time_below(input)? {
                Ok((input, time)) => Ok(Ok((plan.with_new_exprs(plan.expressions(), vec![input])?, time))),
                refused => Ok(refused),
            }
        }
        _ => Ok(Err(not_one_aggregation())),
    }
}

/// Rows of one table with their event time as a column, and that column.
fn carried(plan: &LogicalPlan) -> Result<Result<(LogicalPlan, Column), Refusal>> {
    let input = match plan {
        LogicalPlan::Extension(extension) => {
            let watermark = extension.node.as_any().downcast_ref::<WatermarkNode>();
            return Ok(match watermark.map(|watermark| (&watermark.time, &watermark.input)) {
                Some((Expr::Column(time), input)) if !is_by_clock(input, time) => Ok((plan.clone(), time.clone())),
                _ => Err(not_in_event_time()),
            });
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().next()
        }
        LogicalPlan::TableScan(_) => return Ok(Err(not_in_event_time())),
        _ => None,
    };
    let Some(input) = input else {
        let reason = "joins, unions, rankings and other aggregations beneath an aggregation without windows cannot be cut in two \
                      by event time";
        return Ok(Err(Refusal(reason.to_owned(), OTHER_MODE)));
    };
    let (input, time) = match carried(input)? {
        Ok(carried) => carried,
        refused => return Ok(refused),
    };
    Ok(Ok(match plan {
        LogicalPlan::Projection(projection) => {
            let columns = projection.expr.iter().cloned().chain([Expr::Column(time).alias(TIME)]);
            let plan = LogicalPlanBuilder::from(input).project(columns.collect::<Vec<Expr>>())?.build()?;
            (plan, Column::new_unqualified(TIME))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let time = Column::new(Some(alias.alias.clone()), time.name);
            (LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?), time)
        }
        other => (other.with_new_exprs(other.expressions(), vec![input])?, time),
    }))
}

fn not_in_event_time() -> Refusal {
    let reason = "the layers of a view without windows are cut by event time, and its table has none";
    Refusal(
        reason.to_owned(),
        "declare it: WATERMARK FOR ts AS ts - INTERVAL '5' SECOND; or use REFRESH_MODE = CONTINUOUS",
    )
}

/// Whether a time is that of the machine's clock.
fn is_by_clock(input: &LogicalPlan, time: &Column) -> bool {
    let LogicalPlan::Projection(projection) = input else { return false };
    column_of(projection).is_some_and(|column| projection.schema.maybe_index_of_column(time) == Some(column))
}

fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        for expression in node.expressions() {
            let is_subquery = |part: &Expr| {
                Ok(matches!(
                    part,
                    Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)
                ))
            };
            found |= expression.exists(is_subquery)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether the states of an aggregate add up to what all its rows together would give.
fn check_mergeable(call: &Expr, functions: &Functions) -> Result<(), Refusal> {
    let text = text_of(call);
    let refused = |why: &str| Err(Refusal(format!("{text} cannot be added up of two layers: {why}"), OTHER_MODE));
    let Expr::AggregateFunction(function) = call.clone().unalias_nested().data else {
        return refused("it is no plain aggregate");
    };
    let (name, params) = (function.func.name(), &function.params);
    if functions.aggregate.contains_key(name) {
        return refused("nobody says that the states of a function of one's own do");
    }
    if !MERGEABLE.contains(&name) {
        return refused("it depends on the order of all rows, or keeps every one of them");
    }
    if params.distinct && !["count", "max", "min", "sum"].contains(&name) {
        return refused("the layers may have values in common");
    }
    if !params.order_by.is_empty() && !function.func.supports_within_group_clause() {
        return refused("it depends on the order of all rows");
    }
    Ok(())
}

impl Session {
    /// The states of a view without windows over all rows of its tables with an event time before one in milliseconds since the
    /// epoch, computed in batch.
    ///
    /// # Errors
    /// The view is unknown or has windows; a table cannot be read.
    pub async fn view_states(&self, view: &TableName, before_ms: i64) -> Result<RecordBatch, SqlError> {
        let at = Location { line: 1, column: 1 };
        let catalog = self.catalog();
        let view = catalog.view(view).ok_or_else(|| problem(Mistake::new(at, format!("unknown view {view}"))))?;
        let state = self.state()?;
        let mut aggregate = None;
        let fill = |plan: LogicalPlan| {
            let apart = take_apart(plan, view, &catalog.functions, at)
                .map_err(|mistake| datafusion::common::DataFusionError::External(Box::new(mistake)))?;
            aggregate = Some(apart.unwindowed.aggregate);
            Ok(apart.node.input)
        };
        let plan = self.batch_plan_with(&state, &view.query, at, &[], fill).await?;
        let mut rows = self.run(state, &plan).await?;
        let failed = |error: OperatorError| SqlError::Later(error.to_string());
        let Some(aggregate) = aggregate else {
            return Err(SqlError::Later("there is no aggregation".to_owned()));
        };
        let mut sums = PaneStates::new(aggregate).map_err(failed)?;
        while let Some(batch) = rows.stream.try_next().await? {
            sums.add_rows_before(&batch, before_ms).map_err(failed)?;
        }
        sums.take().map_err(failed)
    }
}
