//! `MOD(a, b)`: written out as `a % b` before anything runs.

use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, binary_expr,
};

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Modulo {
    signature: Signature,
}

impl Modulo {
    pub(super) fn new() -> Self {
        Self { signature: Signature::numeric(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Modulo {
    fn name(&self) -> &str {
        "mod"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [number, _] => Ok(number.clone()),
            _ => plan_err!("MOD takes two numbers"),
        }
    }

    fn simplify(&self, arguments: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match <[Expr; 2]>::try_from(arguments) {
            Ok([number, by]) => Ok(ExprSimplifyResult::Simplified(binary_expr(number, Operator::Modulo, by))),
            Err(_) => plan_err!("MOD takes two numbers"),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("mod is written out as % before it runs")
    }
}
