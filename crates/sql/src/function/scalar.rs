//! A program's scalar function as DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::ScalarFunction;

/// Any number of arguments of any types: the function itself says which it takes.
pub(super) fn any_arguments() -> Signature {
    Signature::one_of(vec![TypeSignature::Nullary, TypeSignature::VariadicAny], Volatility::Immutable)
}

pub(super) fn refused(function: &str, reason: &str) -> DataFusionError {
    DataFusionError::Plan(format!("{function}: {reason}"))
}

pub(super) fn as_scalar(function: Arc<dyn ScalarFunction>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Own { function, signature: any_arguments() })
}

#[derive(Debug)]
struct Own {
    function: Arc<dyn ScalarFunction>,
    signature: Signature,
}

/// Functions are equal that are the same.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for Own {}

impl Hash for Own {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

/// The arguments as arrays, and how many rows there are.
pub(super) fn arrays(args: ScalarFunctionArgs) -> Result<(Vec<ArrayRef>, usize)> {
    let row_count = args.number_rows;
    let arrays = args.args.into_iter().map(|argument| argument.into_array(row_count)).collect::<Result<_>>()?;
    Ok((arrays, row_count))
}

impl ScalarUDFImpl for Own {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments).map_err(|reason| refused(self.function.name(), &reason))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (arguments, row_count) = arrays(args)?;
        let failed = |reason: String| DataFusionError::Execution(format!("{}: {reason}", self.function.name()));
        let result = self.function.evaluate(&arguments, row_count).map_err(failed)?;
        if result.len() != row_count {
            return Err(failed(format!("it gave {} results for {row_count} rows", result.len())));
        }
        Ok(ColumnarValue::Array(result))
    }
}
