//! Turns plan nodes into operators, one by one; what the engine cannot run is named.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::{
    Distinct, Expr, LogicalPlan, Projection, TableScan, Union, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use mulgil_connect::lookup::LookupOptions;
use mulgil_dataflow::expression::{Expression, NamedExpression};
use mulgil_dataflow::graph::{Graph, LogicalOperator, NodeId};
use mulgil_dataflow::time_to_live::TimeToLive;

use super::changing_windows::is_overtaken;
use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::processing_time::is_processing_time;
use crate::plan::late_input::LateInputNode;
use crate::plan::pane_states::PaneStatesNode;
use crate::plan::temporal::TemporalJoinNode;
use crate::plan::watermark::WatermarkNode;
use crate::plan::window::{CallWindow, WindowAssignNode};
use crate::plan::{has_changes, lookup_options, table_name_of};
use crate::problem::SqlError;

/// Where the rows of a plan come out of the graph.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) node: NodeId,
    /// The columns, with the qualifiers that expressions above use.
    pub(crate) schema: DFSchemaRef,
    pub(crate) key: Key,
}

/// The graph of a plan, without a sink. `time_to_live` is for state that nothing else bounds.
pub(crate) fn translate(plan: &LogicalPlan, time_to_live: Option<TimeToLive>) -> Result<(Graph, Rows), SqlError> {
    let mut translation = Translation::new(time_to_live);
    let rows = translation.rows(plan)?;
    Ok((translation.graph, rows))
}

/// A graph as it grows.
pub(super) struct Translation {
    pub(super) graph: Graph,
    /// What has been translated and could be asked for again: equal parts of a query run once.
    translated: HashMap<LogicalPlan, Translated>,
    /// Nodes whose rows are wanted in several places.
    shared: HashSet<NodeId>,
    /// How tables are looked up, by name.
    pub(super) lookups: HashMap<String, LookupOptions>,
    pub(super) time_to_live: Option<TimeToLive>,
}

/// A part of a query that is in the graph.
struct Translated {
    rows: Rows,
    /// The projection at its end and what that stands on, where the projection has been taken off the graph.
    taken: Option<(LogicalOperator, NodeId)>,
}

pub(super) fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

impl Translation {
    fn new(time_to_live: Option<TimeToLive>) -> Self {
        Self {
            graph: Graph::new(),
            translated: HashMap::new(),
            shared: HashSet::new(),
            lookups: HashMap::new(),
            time_to_live,
        }
    }

    pub(super) fn push(
        &mut self,
        operator: LogicalOperator,
        inputs: Vec<NodeId>,
        schema: &DFSchemaRef,
        key: Key,
    ) -> Rows {
        let node = self.graph.push(operator, inputs, arrow_schema(schema));
        Rows { node, schema: Arc::clone(schema), key }
    }

    pub(super) fn rows(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        // What is cheap to do twice would only cost a queue.
        let is_worth_sharing = matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_));
        if !is_worth_sharing {
            return self.fresh_rows(plan);
        }
        if let Some(known) = self.translated.get_mut(plan) {
            match known.taken.take() {
                Some((projection, input)) => {
                    known.rows.node = self.graph.push(projection, vec![input], arrow_schema(&known.rows.schema));
                }
                None => {
                    self.shared.insert(known.rows.node);
                }
            }
            return Ok(known.rows.clone());
        }
        let rows = self.fresh_rows(plan)?;
        self.translated.insert(plan.clone(), Translated { rows: rows.clone(), taken: None });
        Ok(rows)
    }

    /// Says that rows are wanted in several places.
    pub(super) fn share(&mut self, rows: &Rows) {
        self.shared.insert(rows.node);
    }

    /// The rows of a plan that shares nothing with the rest of the query: it can be read to its end while the rest waits.
    pub(super) fn rows_apart(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        let others = std::mem::take(&mut self.translated);
        let rows = self.rows(plan);
        self.translated = others;
        rows
    }

    fn fresh_rows(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.source(scan),
            LogicalPlan::Projection(projection) => match self.ranked_projection(projection)? {
                Some(rows) => Ok(rows),
                None => self.projection(projection),
            },
            LogicalPlan::Filter(filter) => {
                if let Some(rows) = self.ranked_filter(plan)? {
                    return Ok(rows);
                }
                let input = self.rows(&filter.input)?;
                self.filter(input, &filter.predicate)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.rows(&alias.input)?;
                Ok(Rows { schema: Arc::clone(&alias.schema), ..input })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Window(window) => self.over(window),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join, None),
            LogicalPlan::Extension(extension) => self.extension(extension.node.as_ref()),
            other => Err(SqlError::not_in_stream(construct_of(other))),
        }
    }

    fn source(&mut self, scan: &TableScan) -> Result<Rows, SqlError> {
        let width = scan.source.schema().fields().len();
        let projection = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        let table = table_name_of(&scan.table_name).to_string();
        let schema = &scan.projected_schema;
        self.lookups.extend(lookup_options(&scan.source).map(|options| (table.clone(), options)));
        let has_changes = has_changes(&scan.source);
        Ok(self.push(LogicalOperator::Source { table, projection, has_changes }, Vec::new(), schema, Key::none()))
    }

    fn projection(&mut self, projection: &Projection) -> Result<Rows, SqlError> {
        if let Some(stamped) = self.stamped(projection)? {
            return Ok(stamped);
        }
        if let Some(shared) = self.shared_calculation(projection)? {
            return Ok(shared);
        }
        let input = match projection.input.as_ref() {
            LogicalPlan::Join(join) => self.join(join, Some(&columns_named(projection)?))?,
            input => self.rows(input)?,
        };
        self.calculated(input, projection)
    }

    pub(super) fn project(&mut self, input: Rows, columns: &[Expr], schema: &DFSchemaRef) -> Result<Rows, SqlError> {
        let mut bound = Vec::with_capacity(columns.len());
        for column in columns {
            bound.push(BoundExpression::bind(column, &input.schema)?);
        }
        let sources: Vec<Option<usize>> = bound.iter().map(|column| column.as_column()).collect();
        let key = input.key.project(&sources);
        let are_movable = bound.iter().all(|column| column.is_movable());
        let below = are_movable.then(|| self.take_reordering(input.node)).flatten();
        let mut expressions = Vec::with_capacity(columns.len());
        for (column, field) in bound.into_iter().zip(schema.fields()) {
            let expression: Arc<dyn Expression> = match &below {
                Some((_, sources)) => column.over(sources)?,
                None => column,
            };
            expressions.push(NamedExpression { name: field.name().clone(), expression });
        }
        let node = below.map_or(input.node, |(node, _)| node);
        Ok(self.push(LogicalOperator::Project { expressions }, vec![node], schema, key))
    }

    /// Takes nodes back, the graph's last ones, as if they had not been asked for.
    pub(super) fn forget_from(&mut self, first: NodeId) {
        self.graph.nodes.truncate(first);
        self.translated.retain(|_, known| match &known.taken {
            Some((_, input)) => *input < first,
            None => known.rows.node < first,
        });
        self.shared.retain(|node| *node < first);
    }

    /// Takes a projection that merely reorders columns off the end of the graph: the next one does its work too.
    fn take_reordering(&mut self, node: NodeId) -> Option<(NodeId, Vec<(usize, String)>)> {
        let is_last = node + 1 == self.graph.nodes.len();
        let last = self.graph.nodes.last().filter(|_| is_last && !self.shared.contains(&node))?;
        let LogicalOperator::Project { expressions } = &last.operator else { return None };
        let source = |column: &NamedExpression| Some((column.expression.as_column()?, column.expression.to_string()));
        let sources: Vec<(usize, String)> = expressions.iter().map(source).collect::<Option<_>>()?;
        let input = *last.inputs.first()?;
        let projection = self.graph.nodes.pop()?.operator;
        // Who asks for the same rows later gets a projection of his own.
        for known in self.translated.values_mut().filter(|known| known.rows.node == node && known.taken.is_none()) {
            known.taken = Some((projection.clone(), input));
        }
        Some((input, sources))
    }

    fn union(&mut self, union: &Union) -> Result<Rows, SqlError> {
        let inputs = union.inputs.iter().map(|input| self.rows(input)).collect::<Result<Vec<Rows>, SqlError>>()?;
        let nodes = inputs.iter().map(|input| input.node).collect();
        Ok(self.push(LogicalOperator::Union, nodes, &union.schema, Key::none()))
    }

    fn extension(&mut self, node: &dyn UserDefinedLogicalNode) -> Result<Rows, SqlError> {
        if let Some(watermark) = node.as_any().downcast_ref::<WatermarkNode>() {
            return self.watermark(watermark);
        }
        if let Some(call) = node.as_any().downcast_ref::<WindowAssignNode>() {
            let is_session = matches!(call.window, CallWindow::Session { .. });
            if is_session && is_overtaken(call) {
                return self.changing_sessions(call);
            }
            let nodes_before = self.graph.nodes.len();
            let input = self.rows(&call.input)?;
            if is_session && self.graph.is_updating(input.node) {
                self.forget_from(nodes_before);
                return self.changing_sessions(call);
            }
            return self.window_assign(input, call);
        }
        if let Some(mark) = node.as_any().downcast_ref::<LateInputNode>() {
            return self.rows(&mark.input);
        }
        if let Some(join) = node.as_any().downcast_ref::<TemporalJoinNode>() {
            return self.temporal_join(join);
        }
        if let Some(states) = node.as_any().downcast_ref::<PaneStatesNode>() {
            return self.pane_states(states);
        }
        Err(SqlError::not_in_stream(node.name()))
    }

    fn watermark(&mut self, watermark: &WatermarkNode) -> Result<Rows, SqlError> {
        // A condition on nothing of the row has come down to here; the watermark is of all rows.
        if let LogicalPlan::Filter(filter) = &watermark.input
            && !filter.predicate.any_column_refs()
        {
            let rows = self.watermark(&WatermarkNode { input: filter.input.as_ref().clone(), ..watermark.clone() })?;
            return self.filter(rows, &filter.predicate);
        }
        let input = self.rows(&watermark.input)?;
        let column = column_index(&watermark.time, &input.schema)?;
        let bound = BoundExpression::bind(&watermark.bound, &input.schema)?;
        let is_clock = is_processing_time(&watermark.input, &watermark.bound);
        let operator = LogicalOperator::Watermark { column, bound, is_clock };
        Ok(self.push(operator, vec![input.node], &input.schema, input.key))
    }

    pub(super) fn window_assign(&mut self, input: Rows, call: &WindowAssignNode) -> Result<Rows, SqlError> {
        let column = column_index(&call.time, &input.schema)?;
        let window = match &call.window {
            CallWindow::Aligned(window) => *window,
            CallWindow::Session { gap_ms, keys, .. } => return self.session_assign(input, call, (*gap_ms, keys)),
        };
        let operator = LogicalOperator::WindowAssign { column, window };
        // A tumbling window gives each row once, so its key stays. Others give it once for each end.
        let key =
            if call.window.is_tumbling() { input.key } else { input.key.and(vec![call.width() + 1, call.width() + 2]) };
        Ok(self.push(operator, vec![input.node], UserDefinedLogicalNodeCore::schema(call), key))
    }
}

/// The input's columns that a projection names, in order.
fn columns_named(projection: &Projection) -> Result<Vec<usize>, SqlError> {
    let schema = projection.input.schema();
    let refs = projection.expr.iter().flat_map(Expr::column_refs);
    let mut columns = refs.map(|column| schema.index_of_column(column)).collect::<Result<Vec<usize>, _>>()?;
    columns.sort_unstable();
    columns.dedup();
    Ok(columns)
}

pub(super) fn column_index(expression: &Expr, schema: &DFSchema) -> Result<usize, SqlError> {
    match expression {
        Expr::Column(column) => Ok(schema.index_of_column(column)?),
        other => Err(SqlError::not_in_stream(format!("{} as a time column", text_of(other)))),
    }
}

fn refuse_subqueries(plan: &LogicalPlan) -> Result<(), SqlError> {
    for expression in plan.expressions() {
        let is_subquery = |part: &Expr| {
            Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)))
        };
        if expression.exists(is_subquery)? {
            return Err(SqlError::NotInStream {
                construct: format!("a sub-query within {}", text_of(&expression)),
                remedy:
                    "make it a column first, SELECT ... FROM (SELECT *, (SELECT max(v) FROM t) AS m FROM s), or run it \
                         with --mode batch"
                        .to_owned(),
            });
        }
    }
    Ok(())
}

/// The construct in the user's words.
fn construct_of(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Sort(_) => "ORDER BY".to_owned(),
        LogicalPlan::Limit(_) => "LIMIT".to_owned(),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => "DISTINCT ON".to_owned(),
        LogicalPlan::Values(_) => "VALUES".to_owned(),
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM".to_owned(),
        LogicalPlan::RecursiveQuery(_) => "a recursive query".to_owned(),
        other => other.display().to_string(),
    }
}
