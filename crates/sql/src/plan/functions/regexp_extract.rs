//! `REGEXP_EXTRACT(text, expression [, group])`: what a group of a regular expression matches; group 0 is the whole match.
//! NULL where there is no match, or no such group.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use mulgil_functions::regexp_extract::{each_its_own, same_for_all};

use super::failed;

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct RegexpExtract {
    signature: Signature,
}

impl RegexpExtract {
    pub(super) fn new() -> Self {
        let whole = TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8]);
        let group = TypeSignature::Exact(vec![DataType::Utf8, DataType::Utf8, DataType::Int64]);
        Self { signature: Signature::one_of(vec![whole, group], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let row_count = arguments.number_rows;
        let whole = ColumnarValue::Scalar(ScalarValue::Int64(Some(0)));
        let (text, expression, group) = match arguments.args.as_slice() {
            [text, expression] => (text, expression, &whole),
            [text, expression, group] => (text, expression, group),
            _ => return plan_err!("REGEXP_EXTRACT takes a text, a regular expression and the number of a group"),
        };
        let texts = text.to_array(row_count)?;
        let groups = group.to_array(row_count)?;
        let groups = groups.as_primitive::<Int64Type>();
        let found = match expression {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(expression))) => {
                same_for_all(texts.as_string(), expression, groups)
            }
            _ => each_its_own(texts.as_string(), expression.to_array(row_count)?.as_string(), groups),
        };
        Ok(ColumnarValue::Array(Arc::new(found.map_err(failed)?)))
    }
}
