//! `DATE_FORMAT(timestamp, 'yyyy-MM-dd')`: a time as text, by a pattern of letters as Java has them.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use mulgil_functions::date_format::{each_its_own, same_for_all};

use super::failed;

const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateFormat {
    signature: Signature,
}

impl DateFormat {
    pub(super) fn new() -> Self {
        let arguments = TypeSignature::Exact(vec![TIME, DataType::Utf8]);
        Self { signature: Signature::new(arguments, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [times, pattern] = arguments.args.as_slice() else {
            return plan_err!("DATE_FORMAT takes a timestamp and a pattern");
        };
        let times = times.to_array(arguments.number_rows)?;
        let times = times.as_primitive::<TimestampMillisecondType>();
        let texts = match pattern {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) => same_for_all(times, pattern),
            _ => each_its_own(times, pattern.to_array(arguments.number_rows)?.as_string::<i32>()),
        };
        Ok(ColumnarValue::Array(Arc::new(texts.map_err(failed)?)))
    }
}
