//! Turns plan nodes into operators, one by one; what the engine cannot run is named.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, LogicalPlan, Projection, TableScan, Union, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore,
};
use mulgil_dataflow::expression::{Expression, NamedExpression};
use mulgil_dataflow::graph::{Graph, LogicalOperator, NodeId};

use super::aggregate::bind_aggregate;
use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::windowed::{WindowedInput, watermark_of};
use crate::plan::table_name_of;
use crate::plan::watermark::WatermarkNode;
use crate::plan::window::WindowAssignNode;
use crate::problem::SqlError;

/// Where the rows of a plan come out of the graph.
pub(crate) struct Rows {
    pub(crate) node: NodeId,
    /// The columns, with the qualifiers that expressions above use.
    pub(crate) schema: DFSchemaRef,
    pub(crate) key: Key,
}

/// The graph of a plan, without a sink.
pub(crate) fn translate(plan: &LogicalPlan) -> Result<(Graph, Rows), SqlError> {
    let mut translation = Translation { graph: Graph::new() };
    let rows = translation.rows(plan)?;
    Ok((translation.graph, rows))
}

struct Translation {
    graph: Graph,
}

fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

impl Translation {
    fn push(&mut self, operator: LogicalOperator, inputs: Vec<NodeId>, schema: &DFSchemaRef, key: Key) -> Rows {
        let node = self.graph.push(operator, inputs, arrow_schema(schema));
        Rows { node, schema: Arc::clone(schema), key }
    }

    fn rows(&mut self, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.source(scan),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => {
                let input = self.rows(&filter.input)?;
                self.filter(input, &filter.predicate)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.rows(&alias.input)?;
                Ok(Rows { schema: Arc::clone(&alias.schema), ..input })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Extension(extension) => self.extension(extension.node.as_ref()),
            other => Err(SqlError::not_in_stream(construct_of(other))),
        }
    }

    fn source(&mut self, scan: &TableScan) -> Result<Rows, SqlError> {
        let width = scan.source.schema().fields().len();
        let projection = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
        let table = table_name_of(&scan.table_name).to_string();
        let schema = &scan.projected_schema;
        Ok(self.push(LogicalOperator::Source { table, projection }, Vec::new(), schema, Key::none()))
    }

    fn projection(&mut self, projection: &Projection) -> Result<Rows, SqlError> {
        let input = self.rows(&projection.input)?;
        self.project(input, &projection.expr, &projection.schema)
    }

    fn project(&mut self, input: Rows, columns: &[Expr], schema: &DFSchemaRef) -> Result<Rows, SqlError> {
        let mut bound = Vec::with_capacity(columns.len());
        for column in columns {
            bound.push(BoundExpression::bind(column, &input.schema)?);
        }
        let sources: Vec<Option<usize>> = bound.iter().map(|column| column.as_column()).collect();
        let key = input.key.project(&sources);
        let below = self.take_reordering(input.node);
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

    /// Takes a projection that merely reorders columns off the end of the graph: the next one does its work too.
    fn take_reordering(&mut self, node: NodeId) -> Option<(NodeId, Vec<(usize, String)>)> {
        let last = self.graph.nodes.last().filter(|_| node + 1 == self.graph.nodes.len())?;
        let LogicalOperator::Project { expressions } = &last.operator else { return None };
        let source = |column: &NamedExpression| Some((column.expression.as_column()?, column.expression.to_string()));
        let sources: Vec<(usize, String)> = expressions.iter().map(source).collect::<Option<_>>()?;
        let input = *last.inputs.first()?;
        self.graph.nodes.pop();
        Some((input, sources))
    }

    fn filter(&mut self, input: Rows, predicate: &Expr) -> Result<Rows, SqlError> {
        let predicate = BoundExpression::bind(predicate, &input.schema)?;
        Ok(self.push(LogicalOperator::Filter { predicate }, vec![input.node], &input.schema, input.key))
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
            let input = self.rows(&call.input)?;
            return self.window_assign(input, call);
        }
        Err(SqlError::not_in_stream(node.name()))
    }

    fn watermark(&mut self, watermark: &WatermarkNode) -> Result<Rows, SqlError> {
        let input = self.rows(&watermark.input)?;
        let column = column_index(&watermark.time, &input.schema)?;
        let bound = BoundExpression::bind(&watermark.bound, &input.schema)?;
        let operator = LogicalOperator::Watermark { column, bound };
        Ok(self.push(operator, vec![input.node], &input.schema, input.key))
    }

    fn window_assign(&mut self, input: Rows, call: &WindowAssignNode) -> Result<Rows, SqlError> {
        let column = column_index(&call.time, &input.schema)?;
        let operator = LogicalOperator::WindowAssign { column, window: call.window };
        // A tumbling window gives each row once, so its key stays.
        Ok(self.push(operator, vec![input.node], UserDefinedLogicalNodeCore::schema(call), input.key))
    }

    /// `GROUP BY ..., window_start, window_end` over a window call. Where only the keys name the window's bounds, the
    /// operator assigns windows itself; else they are made columns first, and rows are aggregated by `window_start`,
    /// which lies in the window that it begins.
    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        let endless =
            || SqlError::not_in_stream("an aggregate without a window (GROUP BY lacks window_start and window_end)");
        let windowed = WindowedInput::find(&aggregate.input)?.ok_or_else(endless)?;
        if aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
            return Err(SqlError::not_in_stream("GROUPING SETS, CUBE or ROLLUP"));
        }
        let groups = rewritten(&windowed, &aggregate.group_expr)?;
        if !groups.iter().any(|group| windowed.window_column(group).is_some()) {
            return Err(endless());
        }
        check_event_time(windowed.call)?;
        let calls = rewritten(&windowed, &aggregate.aggr_expr)?;
        let is_key = |group: &&Expr| windowed.window_column(group).is_none();
        let own: Vec<&Expr> = groups.iter().filter(is_key).chain(&calls).chain(&windowed.predicates).collect();
        let needs_columns = own.iter().any(|expression| windowed.uses_window(expression));
        let mut input = self.rows(&windowed.call.input)?;
        let mut column = column_index(&windowed.call.time, &input.schema)?;
        if needs_columns {
            input = self.window_assign(input, windowed.call)?;
            column = windowed.width();
        }
        for predicate in &windowed.predicates {
            input = self.filter(input, predicate)?;
        }
        let mut keys = Vec::new();
        for (group, field) in groups.iter().zip(aggregate.schema.fields()).filter(|(group, _)| is_key(group)) {
            let expression = BoundExpression::bind(group, &input.schema)?;
            keys.push(NamedExpression { name: field.name().clone(), expression });
        }
        let aggregates =
            calls.iter().map(|call| bind_aggregate(call, &input.schema)).collect::<Result<Vec<_>, SqlError>>()?;
        let schema = window_aggregate_schema(aggregate, &windowed, &groups)?;
        let operator = LogicalOperator::WindowAggregate {
            column,
            window: windowed.call.window,
            keys,
            aggregates,
            allowed_lateness_ms: windowed.call.allowed_lateness_ms,
        };
        let output = self.push(operator, vec![input.node], &schema, Key::none());
        self.in_order(output, aggregate, &windowed, &groups)
    }

    /// Puts the operator's columns (keys, window, aggregates) into the order of the `GROUP BY`.
    fn in_order(
        &mut self,
        output: Rows,
        aggregate: &Aggregate,
        windowed: &WindowedInput<'_>,
        groups: &[Expr],
    ) -> Result<Rows, SqlError> {
        let columns = output.schema.columns();
        let column = |index: usize| columns.get(index).cloned().map(Expr::Column);
        let key_count = groups.iter().filter(|group| windowed.window_column(group).is_none()).count();
        let mut next_key = 0;
        let mut ordered = Vec::with_capacity(aggregate.schema.fields().len());
        for group in groups {
            ordered.extend(match windowed.window_column(group) {
                Some(2) => column(key_count + 1).map(one_ms_before).transpose()?,
                Some(bound) => column(key_count + bound),
                None => {
                    next_key += 1;
                    column(next_key - 1)
                }
            });
        }
        ordered.extend((0..aggregate.aggr_expr.len()).filter_map(|call| column(key_count + 2 + call)));
        let rows = self.project(output, &ordered, &aggregate.schema)?;
        let (window, own): (Vec<usize>, Vec<usize>) =
            (0..groups.len()).partition(|group| groups.get(*group).and_then(|g| windowed.window_column(g)).is_some());
        Ok(Rows { key: Key::of(own.into_iter().map(|part| vec![part]).chain([window]).collect()), ..rows })
    }
}

fn rewritten(windowed: &WindowedInput<'_>, expressions: &[Expr]) -> Result<Vec<Expr>, SqlError> {
    Ok(expressions.iter().map(|expression| windowed.rewrite(expression)).collect::<Result<Vec<Expr>, _>>()?)
}

/// The window's end less 1 ms, as Flink's `window_time`.
fn one_ms_before(end: Expr) -> Result<Expr, SqlError> {
    let one_ms = Expr::Literal(ScalarValue::DurationMillisecond(Some(1)), None);
    Ok(end - one_ms)
}

/// Time must come from the watermark's column: otherwise nothing would say when a window is complete.
fn check_event_time(call: &WindowAssignNode) -> Result<(), SqlError> {
    let index = column_index(&call.time, call.input.schema())?;
    let name = text_of(&call.time);
    match watermark_of(&call.input, index) {
        Some(true) => Ok(()),
        Some(false) => Err(SqlError::NotInStream {
            construct: format!("a window over {name}, which is not the column of the table's watermark,"),
            remedy: "use the watermark's column in DESCRIPTOR, or run it with --mode batch".to_owned(),
        }),
        None => Err(SqlError::NotInStream {
            construct: format!("a window over {name}, whose table has no watermark,"),
            remedy: format!("add WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND to the table"),
        }),
    }
}

fn window_aggregate_schema(
    aggregate: &Aggregate,
    windowed: &WindowedInput<'_>,
    groups: &[Expr],
) -> Result<DFSchemaRef, SqlError> {
    let fields = aggregate.schema.fields();
    let zone = match windowed.call.input.schema().data_type_of(&windowed.call.time)? {
        DataType::Timestamp(_, zone) => zone,
        _ => None,
    };
    let keys = groups.iter().zip(fields).filter(|(group, _)| windowed.window_column(group).is_none());
    let mut all: Vec<Field> = keys.map(|(_, field)| field.as_ref().clone()).collect();
    let bound = DataType::Timestamp(TimeUnit::Millisecond, zone);
    all.extend(["window_start", "window_end"].map(|name| Field::new(name, bound.clone(), true)));
    let calls = aggregate.aggr_expr.iter().zip(fields.iter().skip(groups.len()));
    all.extend(calls.map(|(call, field)| field.as_ref().clone().with_name(text_of(call))));
    // A key may be called like another, or like a bound of the window; expressions above go by name.
    let names: Vec<String> = all.iter().map(|field| field.name().clone()).collect();
    for (index, field) in all.iter_mut().enumerate() {
        if names.iter().filter(|name| *name == field.name()).count() > 1 {
            field.set_name(format!("{index}: {}", field.name()));
        }
    }
    Ok(Arc::new(DFSchema::try_from(Schema::new(all))?))
}

/// The type of a column expression.
trait TypeOf {
    fn data_type_of(&self, expression: &Expr) -> Result<DataType, SqlError>;
}

impl TypeOf for DFSchema {
    fn data_type_of(&self, expression: &Expr) -> Result<DataType, SqlError> {
        use datafusion::logical_expr::ExprSchemable;
        Ok(expression.get_type(self)?)
    }
}

fn column_index(expression: &Expr, schema: &DFSchema) -> Result<usize, SqlError> {
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
            return Err(SqlError::not_in_stream("a subquery inside an expression"));
        }
    }
    Ok(())
}

/// The construct in the user's words.
fn construct_of(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Join(_) => "a join".to_owned(),
        LogicalPlan::Window(_) => "an OVER window".to_owned(),
        LogicalPlan::Sort(_) => "ORDER BY".to_owned(),
        LogicalPlan::Limit(_) => "LIMIT".to_owned(),
        LogicalPlan::Distinct(Distinct::All(_) | Distinct::On(_)) => "DISTINCT".to_owned(),
        LogicalPlan::Values(_) => "VALUES".to_owned(),
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM".to_owned(),
        LogicalPlan::Unnest(_) => "UNNEST".to_owned(),
        LogicalPlan::RecursiveQuery(_) => "a recursive query".to_owned(),
        other => other.display().to_string(),
    }
}
