//! `SPLIT_INDEX(text, separator, index)`: a piece of a text, counted from 0; NULL where there is none.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use mulgil_functions::split_index::{each_its_own, same_for_all};

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SplitIndex {
    signature: Signature,
}

impl SplitIndex {
    pub(super) fn new() -> Self {
        let arguments = vec![DataType::Utf8, DataType::Utf8, DataType::Int64];
        Self { signature: Signature::new(TypeSignature::Exact(arguments), Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SplitIndex {
    fn name(&self) -> &str {
        "split_index"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, separator, index] = arguments.args.as_slice() else {
            return plan_err!("SPLIT_INDEX takes a text, a separator and a number");
        };
        let text = text.to_array(arguments.number_rows)?;
        let text = text.as_string::<i32>();
        if let (
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(separator))),
            ColumnarValue::Scalar(ScalarValue::Int64(Some(index))),
        ) = (separator, index)
        {
            return Ok(ColumnarValue::Array(Arc::new(same_for_all(text, separator, *index))));
        }
        let separators = separator.to_array(arguments.number_rows)?;
        let indices = index.to_array(arguments.number_rows)?;
        let pieces = each_its_own(text, separators.as_string::<i32>(), indices.as_primitive::<Int64Type>());
        Ok(ColumnarValue::Array(Arc::new(pieces)))
    }
}
