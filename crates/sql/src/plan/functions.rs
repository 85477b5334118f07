//! Flink's names for functions that DataFusion calls otherwise (both names work), and Flink's functions that it lacks.

mod date_format;
mod modulo;
mod regexp_extract;
mod split_index;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, lit,
};
use mulgil_functions::FunctionError;

/// DataFusion's name, Flink's name.
const SCALAR_ALIASES: [(&str, &str); 5] = [
    ("trunc", "truncate"),
    ("to_unixtime", "unix_timestamp"),
    ("random", "rand"),
    ("starts_with", "startswith"),
    ("ends_with", "endswith"),
];

const AGGREGATE_ALIASES: [(&str, &str); 3] =
    [("approx_distinct", "approx_count_distinct"), ("array_agg", "collect"), ("string_agg", "listagg")];

/// Flink's name, the part of the date, what Flink counts from where DataFusion counts from 0.
const DATE_PARTS: [(&str, &str, i64); 10] = [
    ("year", "year", 0),
    ("quarter", "quarter", 0),
    ("month", "month", 0),
    ("week", "week", 0),
    ("dayofyear", "doy", 0),
    ("dayofmonth", "day", 0),
    ("dayofweek", "dow", 1),
    ("hour", "hour", 0),
    ("minute", "minute", 0),
    ("second", "second", 0),
];

/// Scalar functions under Flink's names.
pub(crate) fn scalar_functions(state: &SessionState) -> Vec<Arc<ScalarUDF>> {
    let known = state.scalar_functions();
    let mut functions: Vec<Arc<ScalarUDF>> = SCALAR_ALIASES
        .iter()
        .filter_map(|(name, alias)| Some((known.get(*name)?, alias)))
        .map(|(function, alias)| Arc::new(function.as_ref().clone().with_aliases([*alias])))
        .collect();
    if let Some(date_part) = known.get("date_part") {
        functions.extend(DATE_PARTS.iter().map(|(name, part, from)| {
            Arc::new(ScalarUDF::new_from_impl(DatePart {
                name,
                part,
                from: *from,
                date_part: Arc::clone(date_part),
                signature: Signature::any(1, Volatility::Immutable),
            }))
        }));
    }
    functions.extend([
        Arc::new(ScalarUDF::new_from_impl(date_format::DateFormat::new())),
        Arc::new(ScalarUDF::new_from_impl(modulo::Modulo::new())),
        Arc::new(ScalarUDF::new_from_impl(regexp_extract::RegexpExtract::new())),
        Arc::new(ScalarUDF::new_from_impl(split_index::SplitIndex::new())),
    ]);
    functions
}

/// Aggregate functions under Flink's names.
pub(crate) fn aggregate_functions(state: &SessionState) -> Vec<Arc<AggregateUDF>> {
    let known = state.aggregate_functions();
    AGGREGATE_ALIASES
        .iter()
        .filter_map(|(name, alias)| Some((known.get(*name)?, alias)))
        .map(|(function, alias)| Arc::new(function.as_ref().clone().with_aliases([*alias])))
        .collect()
}

/// What a function says of an argument that it cannot work with.
fn failed(error: FunctionError) -> DataFusionError {
    match error {
        FunctionError::Pattern { .. } => DataFusionError::Plan(error.to_string()),
        FunctionError::Time { .. } | FunctionError::Expression { .. } => DataFusionError::Execution(error.to_string()),
    }
}

/// `HOUR(x)`: written out as `date_part('hour', x)` before anything runs.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    name: &'static str,
    part: &'static str,
    from: i64,
    date_part: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn simplify(&self, arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let arguments = std::iter::once(lit(self.part)).chain(arguments).collect();
        let call = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.date_part), arguments));
        let number = cast(call, DataType::Int64);
        Ok(ExprSimplifyResult::Simplified(if self.from == 0 { number } else { number + lit(self.from) }))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is written out as date_part before it runs", self.name)
    }
}
