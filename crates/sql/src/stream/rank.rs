//! `ROW_NUMBER() OVER (...)` under a filter that bounds it: top-N and deduplication, in one operator.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ScalarValue, TableReference};
use datafusion::logical_expr::expr::{Sort as SortBy, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Window,
    WindowFunctionDefinition, lit,
};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::rank::{OrderColumn, RankDefinition, RankFunction, WindowColumn};

use super::key::Key;
use super::time_attribute::time_attribute;
use super::translate::{Rows, Translation, arrow_schema};
use super::window_columns::policy;
use crate::problem::SqlError;

/// The name of a row's number, where `OFFSET` asks for it.
const NUMBER: &str = "number #";

/// A filter that bounds a rank.
pub(super) struct RankedFilter<'a> {
    window: &'a Window,
    call: &'a WindowFunction,
    function: RankFunction,
    limit: usize,
    /// What the filter demands beside.
    rest: Vec<&'a Expr>,
    /// The rank's column, as the filter and what is above it know it.
    rank: Column,
    /// The optimiser's projection between filter and window, which leaves columns out.
    between: Option<&'a Projection>,
}

impl<'a> RankedFilter<'a> {
    pub(super) fn find(plan: &'a LogicalPlan) -> Option<Self> {
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = plan else { return None };
        let (window, between) = match input.as_ref() {
            LogicalPlan::Window(window) => (window, None),
            LogicalPlan::Projection(between) => match between.input.as_ref() {
                LogicalPlan::Window(window) => (window, Some(between)),
                _ => return None,
            },
            _ => return None,
        };
        let [call] = window.window_expr.as_slice() else { return None };
        let call = match call {
            Expr::Alias(alias) => alias.expr.as_ref(),
            call => call,
        };
        let Expr::WindowFunction(call) = call else { return None };
        let WindowFunctionDefinition::WindowUDF(function) = &call.fun else { return None };
        let function = match function.name() {
            "row_number" => RankFunction::RowNumber,
            "rank" => RankFunction::Rank,
            "dense_rank" => RankFunction::DenseRank,
            _ => return None,
        };
        let numbered = window.schema.columns().pop()?;
        let rank = match between {
            None => numbered,
            Some(between) => {
                let is_rank = |column: &Expr| matches!(column.clone().unalias_nested().data, Expr::Column(column) if column == numbered);
                between.schema.columns().get(between.expr.iter().position(is_rank)?)?.clone()
            }
        };
        let mut limit: Option<usize> = None;
        let mut rest = Vec::new();
        for part in split_conjunction(predicate) {
            match bound_of(part, &rank) {
                Some((bound, is_whole)) => {
                    limit = Some(limit.map_or(bound, |limit| limit.min(bound)));
                    if !is_whole {
                        rest.push(part);
                    }
                }
                None => rest.push(part),
            }
        }
        Some(Self { window, call, function, limit: limit?, rest, rank, between })
    }
}

/// The largest rank that a condition allows, and whether it says nothing more than that.
fn bound_of(condition: &Expr, rank: &Column) -> Option<(usize, bool)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, literal) = match (left.as_ref(), right.as_ref()) {
        (column, Expr::Literal(literal, _)) => (column, *op, literal),
        (Expr::Literal(literal, _), column) => (column, op.swap()?, literal),
        _ => return None,
    };
    let column = match column {
        Expr::Cast(cast) => cast.expr.as_ref(),
        column => column,
    };
    if !matches!(column, Expr::Column(column) if column == rank) {
        return None;
    }
    let ScalarValue::UInt64(Some(number)) = literal.cast_to(&arrow::datatypes::DataType::UInt64).ok()? else {
        return None;
    };
    let number = usize::try_from(number).ok()?;
    let bound = match op {
        Operator::LtEq | Operator::Eq => number,
        Operator::Lt => number.saturating_sub(1),
        _ => return None,
    };
    // No rank is below 1: what asks for one is left to the filter.
    Some((bound.max(1), bound >= 1 && (op != Operator::Eq || bound == 1)))
}

/// The column of a partition that says when its window is complete. Where late rows still count, it never is.
fn window_of(input: &LogicalPlan, partition: &[Expr]) -> Option<WindowColumn> {
    let window = |part: &Expr| {
        let Expr::Column(column) = part else { return None };
        let column = input.schema().maybe_index_of_column(column)?;
        let until_end_ms = time_attribute(input, column)?.until_complete_ms()?;
        Some(WindowColumn { column, until_end_ms })
    };
    partition.iter().find_map(window).filter(|_| policy(input).trigger.allowed_lateness_ms == 0)
}

/// What an operator orders by: partition, order, and whether columns had to be computed for them.
pub(super) struct Ordered {
    pub(super) input: Rows,
    pub(super) partition: Vec<usize>,
    pub(super) order: Vec<OrderColumn>,
}

impl Translation {
    /// A projection above the filter: where it does not name the rank, there is no need to number rows.
    pub(super) fn ranked_projection(&mut self, projection: &Projection) -> Result<Option<Rows>, SqlError> {
        let Some(ranked) = RankedFilter::find(&projection.input) else { return Ok(None) };
        let names_rank = |expression: &Expr| expression.column_refs().contains(&ranked.rank);
        let with_rank = projection.expr.iter().any(names_rank) || ranked.rest.iter().any(|part| names_rank(part));
        let rows = self.ranked(&ranked, with_rank)?;
        self.project(rows, &projection.expr, &projection.schema).map(Some)
    }

    pub(super) fn ranked_filter(&mut self, plan: &LogicalPlan) -> Result<Option<Rows>, SqlError> {
        let Some(ranked) = RankedFilter::find(plan) else { return Ok(None) };
        let rows = self.ranked(&ranked, true)?;
        if rows.schema.columns() == plan.schema().columns() {
            return Ok(Some(rows));
        }
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        self.project(rows, &columns, plan.schema()).map(Some)
    }

    fn ranked(&mut self, ranked: &RankedFilter<'_>, with_rank: bool) -> Result<Rows, SqlError> {
        let params = &ranked.call.params;
        let window = window_of(&ranked.window.input, &params.partition_by);
        let input = self.input(&ranked.window.input, window.is_some())?;
        let ordered = self.ordered(input.rows.clone(), &params.partition_by, &params.order_by)?;
        let rank = ranked.window.schema.iter().last().filter(|_| with_rank);
        let rank = rank.map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)));
        let schema = Arc::clone(&ordered.input.schema);
        let mut rows = self.rank(ordered, ranked.function, ranked.limit, rank, window)?;
        self.late_rows_of((rows.node, 0), &schema, input.late_table.as_deref())?;
        if let Some(between) = ranked.between {
            let columns = between.expr.iter().zip(between.schema.iter());
            let columns = columns.zip(between.schema.columns()).filter(|(_, name)| with_rank || *name != ranked.rank);
            let (columns, fields): (Vec<Expr>, Vec<_>) = columns
                .map(|((column, (qualifier, field)), _)| (column.clone(), (qualifier.cloned(), Arc::clone(field))))
                .unzip();
            let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
            rows = self.project(rows, &columns, &schema)?;
        }
        if let Some(rest) = conjunction(ranked.rest.iter().map(|part| (*part).clone())) {
            rows = self.filter(rows, &rest)?;
        }
        Ok(rows)
    }

    /// `ORDER BY ... LIMIT n` inside a view: the first rows of one partition.
    pub(super) fn limit(&mut self, limit: &Limit) -> Result<Rows, SqlError> {
        let LogicalPlan::Sort(sort) = limit.input.as_ref() else {
            return Err(SqlError::not_in_stream("LIMIT without ORDER BY"));
        };
        let (FetchType::Literal(Some(fetch)), SkipType::Literal(skip)) =
            (limit.get_fetch_type()?, limit.get_skip_type()?)
        else {
            return Err(SqlError::not_in_stream("OFFSET without LIMIT"));
        };
        let input = self.rows(&sort.input)?;
        let schema = Arc::clone(&input.schema);
        let ordered = self.ordered(input, &[], &sort.expr)?;
        // Who is left out at the beginning is told by number.
        let number = (skip > 0 || fetch == 0).then(|| (None, Arc::new(Field::new(NUMBER, DataType::UInt64, false))));
        let is_numbered = number.is_some();
        let last = fetch.saturating_add(skip);
        let mut rows = self.rank(ordered, RankFunction::RowNumber, last.max(1), number, None)?;
        if is_numbered {
            let number = Expr::Column(Column::new_unqualified(NUMBER));
            let (skip, last) = (lit(skip as u64), lit(last as u64));
            rows = self.filter(rows, &number.clone().gt(skip).and(number.lt_eq(last)))?;
        }
        if rows.schema.fields().len() == schema.fields().len() {
            return Ok(rows);
        }
        let columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        self.project(rows, &columns, &schema)
    }

    fn rank(
        &mut self,
        ordered: Ordered,
        function: RankFunction,
        limit: usize,
        rank: Option<(Option<TableReference>, Arc<Field>)>,
        window: Option<WindowColumn>,
    ) -> Result<Rows, SqlError> {
        let Ordered { input, partition, order } = ordered;
        let width = input.schema.fields().len();
        let mut parts: Vec<Vec<usize>> = partition.iter().map(|column| vec![*column]).collect();
        let key = match (function, &rank) {
            (RankFunction::RowNumber, Some(_)) => {
                parts.push(vec![width]);
                Key::of(parts)
            }
            (RankFunction::RowNumber, None) if limit == 1 => Key::of(parts),
            _ => Key::none(),
        };
        let definition = RankDefinition {
            input: arrow_schema(&input.schema),
            partition,
            order,
            function,
            limit,
            with_rank: rank.is_some(),
            window,
            time_to_live: self.time_to_live,
        };
        let mut fields: Vec<_> =
            input.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.extend(rank);
        let schema: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(self.push(LogicalOperator::Apply(Arc::new(definition)), vec![input.node], &schema, key))
    }

    /// Columns for a partition and an order: where they are computed, they are appended to the input.
    pub(super) fn ordered(&mut self, input: Rows, partition: &[Expr], order: &[SortBy]) -> Result<Ordered, SqlError> {
        let asked: Vec<Expr> = partition.iter().chain(order.iter().map(|by| &by.expr)).cloned().collect();
        let (input, columns) = self.with_columns(input, &asked)?;
        let (of_partition, of_order) = columns.split_at(partition.len().min(columns.len()));
        let order = of_order.iter().zip(order).map(|(column, by)| OrderColumn {
            column: *column,
            descending: !by.asc,
            nulls_first: by.nulls_first,
        });
        Ok(Ordered { input, partition: of_partition.to_vec(), order: order.collect() })
    }

    /// The columns that hold some expressions: those that are no columns yet are computed behind the others.
    pub(super) fn with_columns(&mut self, input: Rows, asked: &[Expr]) -> Result<(Rows, Vec<usize>), SqlError> {
        let mut fields: Vec<_> =
            input.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        let width = fields.len();
        let mut columns: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        let mut places = Vec::with_capacity(asked.len());
        for expression in asked {
            if let Expr::Column(column) = expression {
                places.push(input.schema.index_of_column(column)?);
                continue;
            }
            use datafusion::logical_expr::ExprSchemable;
            let (_, field) = expression.to_field(&input.schema)?;
            fields.push((None, Arc::new(field.as_ref().clone().with_name(format!("computed {}", places.len())))));
            places.push(columns.len());
            columns.push(expression.clone());
        }
        if columns.len() == width {
            return Ok((input, places));
        }
        let schema: DFSchemaRef = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok((self.project(input, &columns, &schema)?, places))
    }
}
