//! `SPLIT_INDEX(text, separator, index)`: a piece of a text, counted from 0; NULL where there is none.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

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

fn same_for_all(texts: &StringArray, separator: &str, index: i64) -> StringArray {
    let mut pieces = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
    for text in texts {
        pieces.append_option(text.and_then(|text| piece(text, separator, index)));
    }
    pieces.finish()
}

fn each_its_own(texts: &StringArray, separators: &StringArray, indices: &Int64Array) -> StringArray {
    let rows = texts.iter().zip(separators).zip(indices);
    rows.map(|((text, separator), index)| piece(text?, separator?, index?)).collect()
}

/// An empty text has no pieces, and an empty separator separates nothing.
fn piece<'a>(text: &'a str, separator: &str, index: i64) -> Option<&'a str> {
    let index = usize::try_from(index).ok()?;
    if text.is_empty() {
        return None;
    }
    match separator.as_bytes() {
        [] => (index == 0).then_some(text),
        // One byte is searched for much faster than a text.
        [byte] if byte.is_ascii() => text.split(char::from(*byte)).nth(index),
        _ => text.split(separator).nth(index),
    }
}

#[cfg(test)]
mod tests {
    use super::piece;

    #[test]
    fn pieces_count_from_zero() {
        for (text, separator, index, expected) in [
            ("https://a/b", "/", 2, Some("a")),
            ("https://a/b", "/", 1, Some("")),
            ("https://a/b", "/", 4, None),
            ("a::b::c", "::", 2, Some("c")),
            ("a", "/", 0, Some("a")),
            ("a", "", 0, Some("a")),
            ("", "/", 0, None),
            ("a/b", "/", -1, None),
        ] {
            assert_eq!(piece(text, separator, index), expected, "{text} {separator} {index}");
        }
    }
}
