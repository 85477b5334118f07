//! The last row of each key as a versioned table: `SELECT ... FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts
//! DESC) AS n FROM t) WHERE n = 1`, right of a temporal join by `k`. At any time it holds the last row of each key up to then;
//! so its versions are the rows of `t` themselves, and no row need ever be taken back.

use std::sync::Arc;

use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, LogicalPlan, Operator, Projection, SubqueryAlias, Window, WindowFunctionDefinition, lit,
};

/// The rows whose last ones `plan` keeps by `keys` and the column `time`; `None` where it does not do just that.
pub(super) fn all_versions(plan: &LogicalPlan, keys: &[usize], time: usize) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => match all_versions(&alias.input, keys, time)? {
            Some(input) => {
                Ok(Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?)))
            }
            None => Ok(None),
        },
        LogicalPlan::Projection(projection) => {
            let Some((keys, time)) = sources(projection, keys, time) else { return Ok(None) };
            match all_versions(&projection.input, &keys, time)? {
                Some(input) => Projection::try_new(projection.expr.clone(), Arc::new(input))
                    .map(|p| Some(LogicalPlan::Projection(p))),
                None => Ok(None),
            }
        }
        LogicalPlan::Filter(filter) => match first_of(filter) {
            Some(number) => below(&filter.input, number, keys, time),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Walks on down to the numbering, and takes it out: all rows count as the first.
fn below(plan: &LogicalPlan, number: usize, keys: &[usize], time: usize) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => match below(&alias.input, number, keys, time)? {
            Some(input) => {
                Ok(Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?)))
            }
            None => Ok(None),
        },
        LogicalPlan::Projection(projection) => {
            let Some((keys, time)) = sources(projection, keys, time) else { return Ok(None) };
            let LogicalPlan::Window(window) = projection.input.as_ref() else { return Ok(None) };
            if source(projection, number) != Some(window.schema.fields().len() - 1) || !keeps_last(window, &keys, time)
            {
                return Ok(None);
            }
            let (qualifier, field) = projection.schema.qualified_field(number);
            let first = lit(ScalarValue::UInt64(Some(1))).alias_qualified(qualifier.cloned(), field.name());
            let mut columns = projection.expr.clone();
            if let Some(column) = columns.get_mut(number) {
                *column = first;
            }
            Projection::try_new(columns, Arc::clone(&window.input)).map(|p| Some(LogicalPlan::Projection(p)))
        }
        _ => Ok(None),
    }
}

/// The input's column that a projection's column repeats.
fn source(projection: &Projection, column: usize) -> Option<usize> {
    match projection.expr.get(column)?.clone().unalias_nested().data {
        Expr::Column(source) => projection.input.schema().maybe_index_of_column(&source),
        _ => None,
    }
}

fn sources(projection: &Projection, keys: &[usize], time: usize) -> Option<(Vec<usize>, usize)> {
    let keys = keys.iter().map(|key| source(projection, *key)).collect::<Option<Vec<usize>>>()?;
    Some((keys, source(projection, time)?))
}

/// The column of which a filter demands that it is 1, if it demands nothing else.
fn first_of(filter: &Filter) -> Option<usize> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = &filter.predicate else { return None };
    let (Expr::Column(column), Expr::Literal(value, _)) = (left.as_ref(), right.as_ref()) else { return None };
    let is_one = value.cast_to(&arrow::datatypes::DataType::UInt64).ok()? == ScalarValue::UInt64(Some(1));
    filter.input.schema().maybe_index_of_column(column).filter(|_| is_one)
}

/// Whether a window numbers the rows of just these keys from the latest on.
fn keeps_last(window: &Window, keys: &[usize], time: usize) -> bool {
    let [call] = window.window_expr.as_slice() else { return false };
    let call = match call {
        Expr::Alias(alias) => alias.expr.as_ref(),
        call => call,
    };
    let Expr::WindowFunction(call) = call else { return false };
    let WindowFunction { fun: WindowFunctionDefinition::WindowUDF(function), params } = call.as_ref() else {
        return false;
    };
    let index_of = |expression: &Expr| match expression {
        Expr::Column(column) => window.input.schema().maybe_index_of_column(column),
        _ => None,
    };
    let mut partition: Vec<Option<usize>> = params.partition_by.iter().map(index_of).collect();
    let mut wanted: Vec<Option<usize>> = keys.iter().copied().map(Some).collect();
    partition.sort_unstable();
    wanted.sort_unstable();
    wanted.dedup();
    let is_latest_first = matches!(params.order_by.as_slice(), [by] if !by.asc && index_of(&by.expr) == Some(time));
    function.name() == "row_number" && partition == wanted && is_latest_first
}
