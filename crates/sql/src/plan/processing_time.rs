//! `PROCTIME()`: the time at which a row is read. A computed column of a table, over which windows can be built.
//!
//! A stream stamps rows where it reads them ([`mulgil_dataflow::graph::LogicalOperator::ProcessingTime`]); in batch it is
//! the time of the statement, for all rows.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function's name.
pub(crate) const PROCTIME: &str = "proctime";

static FUNCTION: LazyLock<ScalarUDF> =
    LazyLock::new(|| ScalarUDF::new_from_impl(Proctime { signature: Signature::nullary(Volatility::Volatile) }));

/// The function.
pub(crate) fn function() -> ScalarUDF {
    FUNCTION.clone()
}

fn data_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// Whether an expression is `PROCTIME()`.
pub(crate) fn is_call(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(call) if call.func.name() == PROCTIME)
}

/// The column of a projection that is `PROCTIME()`.
pub(crate) fn column_of(projection: &Projection) -> Option<usize> {
    projection.expr.iter().position(|column| is_call(&column.clone().unalias_nested().data))
}

/// An expression with something else in place of `PROCTIME()`.
pub(crate) fn replace(expression: Expr, by: &Expr) -> Result<Transformed<Expr>> {
    expression
        .transform_up(|part| Ok(if is_call(&part) { Transformed::yes(by.clone()) } else { Transformed::no(part) }))
}

/// A plan with the time of the statement in place of `PROCTIME()`.
pub(crate) fn at_once(plan: LogicalPlan) -> Result<LogicalPlan> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let now = Expr::Literal(ScalarValue::TimestampMillisecond(Some(now_ms), Some("UTC".into())), None);
    let replaced = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            Ok(replace(expression, &now)?.update_data(|replaced| name.restore(replaced)))
        })
    });
    replaced.map(|replaced| replaced.data)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Proctime {
    signature: Signature,
}

impl ScalarUDFImpl for Proctime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(data_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("PROCTIME() is taken where rows are read; write it as a computed column: p AS PROCTIME()")
    }
}
