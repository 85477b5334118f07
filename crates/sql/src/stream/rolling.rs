//! `GROUP BY` without a window, and `DISTINCT`, as rolling aggregations.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use mulgil_dataflow::expression::{Expression, NamedExpression};
use mulgil_dataflow::graph::{AggregateCall, LogicalOperator};
use mulgil_dataflow::operators::group_aggregate::{GroupAggregate, GroupWindows, RollingCall};

use super::aggregate::bind_aggregate;
use super::expression::{BoundExpression, normalized_key, text_of};
use super::key::Key;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

impl Translation {
    /// `GROUP BY` without a window: keys, arguments and filters become columns, which are then aggregated.
    pub(super) fn rolling_aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        let input = self.rows(&aggregate.input)?;
        self.rolling_aggregate_over(input, aggregate, None)
    }

    /// The same over rows that are there already; with `windows`, per window.
    pub(super) fn rolling_aggregate_over(
        &mut self,
        input: Rows,
        aggregate: &Aggregate,
        windows: Option<GroupWindows>,
    ) -> Result<Rows, SqlError> {
        let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
        let mut columns = Columns::default();
        let has_sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
        for key in &keys {
            let key = BoundExpression::bind_key(key, &input.schema)?;
            // A set makes keys null, of which an argument is to know nothing.
            if has_sets {
                columns.push_apart(key);
            } else {
                columns.push(key, None);
            }
        }
        let key_texts: Vec<String> = keys.iter().copied().map(text_of).collect();
        let calls = aggregate.aggr_expr.iter().map(|call| columns.call(call, &input.schema));
        let calls = calls.collect::<Result<Vec<RollingCall>, SqlError>>()?;
        let key_count = keys.len();
        let prepared = columns.project(self, &input)?;
        let definition = GroupAggregate { key_count, calls, key_texts, time_to_live: self.time_to_live, windows };
        match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => self.grouping_sets(prepared, definition, sets, &aggregate.schema),
            _ => Ok(self.group(prepared, definition, &aggregate.schema)),
        }
    }

    /// An aggregation whose keys are the first columns of its input.
    pub(super) fn group(&mut self, prepared: Rows, definition: GroupAggregate, schema: &DFSchemaRef) -> Rows {
        let key = Key::of((0..definition.key_count).map(|column| vec![column]).collect());
        self.push(LogicalOperator::Apply(Arc::new(definition)), vec![prepared.node], schema, key)
    }

    /// `SELECT DISTINCT`: all columns are keys, and nothing is aggregated.
    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Rows, SqlError> {
        let input = self.rows(input)?;
        let input = self.with_normalized_floats(input)?;
        let width = input.schema.fields().len();
        let definition = GroupAggregate {
            key_count: width,
            calls: Vec::new(),
            key_texts: input.schema.fields().iter().map(|field| field.name().clone()).collect(),
            time_to_live: self.time_to_live,
            windows: None,
        };
        let schema = Arc::clone(&input.schema);
        Ok(self.group(input, definition, &schema))
    }
}

impl Translation {
    /// The rows with every float as it is told apart in a key.
    fn with_normalized_floats(&mut self, rows: Rows) -> Result<Rows, SqlError> {
        if !rows.schema.fields().iter().any(|field| field.data_type().is_floating()) {
            return Ok(rows);
        }
        let columns = rows.schema.columns().into_iter().map(Expr::Column);
        let columns = columns.map(|column| normalized_key(&column, &rows.schema)).collect::<Result<Vec<Expr>, _>>()?;
        let schema = Arc::clone(&rows.schema);
        self.project(rows, &columns, &schema)
    }
}

/// The columns that an aggregation reads, each computed once.
#[derive(Default)]
pub(super) struct Columns {
    expressions: Vec<Arc<dyn Expression>>,
    /// What each is, where another use of it can be recognised.
    sources: Vec<Option<Source>>,
}

/// What a column is computed from.
#[derive(Clone, PartialEq)]
enum Source {
    Column(usize),
    Expression(Expr),
}

impl Columns {
    pub(super) fn push(&mut self, expression: Arc<dyn Expression>, written: Option<&Expr>) -> usize {
        let column = expression.as_column().map(Source::Column);
        let source = column.or_else(|| written.map(|written| Source::Expression(written.clone())));
        if source.is_some()
            && written.is_some()
            && let Some(known) = self.sources.iter().position(|known| *known == source)
        {
            return known;
        }
        self.expressions.push(expression);
        self.sources.push(source);
        self.expressions.len() - 1
    }

    /// A column that no other use shares.
    fn push_apart(&mut self, expression: Arc<dyn Expression>) {
        self.expressions.push(expression);
        self.sources.push(None);
    }

    fn call(&mut self, call: &Expr, schema: &DFSchema) -> Result<RollingCall, SqlError> {
        let Expr::AggregateFunction(mut written) = call.clone().unalias_nested().data else {
            return Err(SqlError::not_in_stream(format!("the aggregate {}", text_of(call))));
        };
        // The operator itself keeps values apart, once for all functions of the same arguments.
        let is_distinct = std::mem::take(&mut written.params.distinct);
        let plain = Expr::AggregateFunction(written);
        Ok(RollingCall { is_distinct, text: text_of(call), ..self.whole_call(&plain, schema)? })
    }

    /// A call whose function itself keeps distinct values apart.
    pub(super) fn whole_call(&mut self, call: &Expr, schema: &DFSchema) -> Result<RollingCall, SqlError> {
        let Expr::AggregateFunction(written) = call.clone().unalias_nested().data else {
            return Err(SqlError::not_in_stream(format!("the aggregate {}", text_of(call))));
        };
        let AggregateCall { function, arguments, filter, .. } = bind_aggregate(call, schema)?;
        let argument_types = arguments.iter().map(|argument| argument.data_type()).collect();
        let mut columns = Vec::with_capacity(arguments.len());
        for (number, argument) in arguments.into_iter().enumerate() {
            columns.push(self.push(argument, written.params.args.get(number)));
        }
        let filter = filter.map(|filter| self.push(filter, written.params.filter.as_deref()));
        let text = text_of(call);
        Ok(RollingCall { function, arguments: columns, argument_types, is_distinct: false, filter, text })
    }

    /// A projection that computes them.
    pub(super) fn project(self, translation: &mut Translation, input: &Rows) -> Result<Rows, SqlError> {
        let mut fields = Vec::with_capacity(self.expressions.len());
        let mut expressions = Vec::with_capacity(self.expressions.len());
        let texts: Vec<String> = self.expressions.iter().map(|expression| expression.to_string()).collect();
        for (number, (expression, text)) in self.expressions.into_iter().zip(&texts).enumerate() {
            // Two columns may be written alike and still differ: of two tables, for example.
            let is_first = texts.iter().position(|other| other == text) == Some(number);
            let name = if is_first { text.clone() } else { format!("{number}: {text}") };
            fields.push(Field::new(&name, expression.data_type(), true));
            expressions.push(NamedExpression { name, expression });
        }
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(translation.push(LogicalOperator::Project { expressions }, vec![input.node], &schema, Key::none()))
    }
}
