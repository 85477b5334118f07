//! `GROUP BY` without a window, and `DISTINCT`, as rolling aggregations.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
use mulgil_dataflow::expression::{Expression, NamedExpression};
use mulgil_dataflow::graph::{AggregateCall, LogicalOperator};
use mulgil_dataflow::operators::expand::{Expand, GroupingSet as Set};
use mulgil_dataflow::operators::group_aggregate::{GroupAggregate, RollingCall};

use super::aggregate::bind_aggregate;
use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

impl Translation {
    /// `GROUP BY` without a window: keys, arguments and filters become columns, which are then aggregated.
    pub(super) fn rolling_aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        let input = self.rows(&aggregate.input)?;
        self.rolling_aggregate_over(input, aggregate)
    }

    /// The same over rows that are there already.
    pub(super) fn rolling_aggregate_over(&mut self, input: Rows, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
        let mut columns = Columns::default();
        for key in &keys {
            columns.push(BoundExpression::bind(key, &input.schema)?, None);
        }
        let key_texts: Vec<String> = keys.iter().copied().map(text_of).collect();
        let calls = aggregate.aggr_expr.iter().map(|call| columns.call(call, &input.schema));
        let mut calls = calls.collect::<Result<Vec<RollingCall>, SqlError>>()?;
        let mut key_count = keys.len();
        let mut prepared = columns.project(self, &input)?;
        if let [Expr::GroupingSet(sets)] = aggregate.group_expr.as_slice() {
            prepared =
                self.expand(prepared, Expand { sets: grouping_sets(sets), key_texts: key_texts.clone() }, aggregate)?;
            // The number of the set is a key too, and stands before the arguments.
            key_count += 1;
            for call in &mut calls {
                call.arguments.iter_mut().chain(&mut call.filter).for_each(|column| *column += 1);
            }
        }
        let definition = GroupAggregate { key_count, calls, key_texts, time_to_live: self.time_to_live };
        let key = Key::of((0..key_count).map(|column| vec![column]).collect());
        let operator = LogicalOperator::Apply(Arc::new(definition));
        Ok(self.push(operator, vec![prepared.node], &aggregate.schema, key))
    }

    fn expand(&mut self, rows: Rows, expand: Expand, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        let key_count = expand.key_texts.len();
        let mut fields: Vec<Field> = rows.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.insert(key_count, aggregate.schema.field(key_count).as_ref().clone());
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(self.push(LogicalOperator::Apply(Arc::new(expand)), vec![rows.node], &schema, Key::none()))
    }

    /// `SELECT DISTINCT`: all columns are keys, and nothing is aggregated.
    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Rows, SqlError> {
        let input = self.rows(input)?;
        let width = input.schema.fields().len();
        let definition = GroupAggregate {
            key_count: width,
            calls: Vec::new(),
            key_texts: input.schema.fields().iter().map(|field| field.name().clone()).collect(),
            time_to_live: self.time_to_live,
        };
        let key = Key::of((0..width).map(|column| vec![column]).collect());
        Ok(self.push(LogicalOperator::Apply(Arc::new(definition)), vec![input.node], &input.schema, key))
    }
}

/// The sets that a `GROUPING SETS`, `CUBE` or `ROLLUP` stands for, with DataFusion's numbers: a bit for each key that is
/// left out, that of the last key the least; above them how often the same set stood there before.
fn grouping_sets(sets: &GroupingSet) -> Vec<Set> {
    let all = sets.distinct_expr();
    let groups: Vec<Vec<&Expr>> = match sets {
        GroupingSet::Rollup(keys) => (0..=keys.len()).map(|length| keys.iter().take(length).collect()).rev().collect(),
        GroupingSet::Cube(keys) => {
            let subset = |bits: usize| keys.iter().enumerate().filter(move |(key, _)| bits >> key & 1 == 1);
            (0..1_usize << keys.len()).map(|bits| subset(bits).map(|(_, key)| key).collect()).collect()
        }
        GroupingSet::GroupingSets(groups) => groups.iter().map(|group| group.iter().collect()).collect(),
    };
    let mut made: Vec<Set> = Vec::with_capacity(groups.len());
    for group in groups {
        let kept: Vec<bool> = all.iter().map(|key| group.contains(key)).collect();
        let left_out = kept.iter().fold(0_u64, |bits, kept| bits << 1 | u64::from(!kept));
        let repeated = made.iter().filter(|set| set.kept == kept).count() as u64;
        made.push(Set { id: repeated << all.len() | left_out, kept });
    }
    made
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
