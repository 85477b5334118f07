//! `REGEXP_EXTRACT(text, expression [, group])`: what a group of a regular expression matches; group 0 is the whole match.
//! NULL where there is no match, or no such group.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use regex::{CaptureLocations, Regex};

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
        let found: ArrayRef = match expression {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(expression))) => {
                Arc::new(Extract::new(expression)?.all(texts.as_string(), groups))
            }
            _ => {
                let expressions = expression.to_array(row_count)?;
                Arc::new(each_its_own(texts.as_string(), expressions.as_string(), groups)?)
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

/// A regular expression, with the places of its groups in the last text.
struct Extract {
    expression: Regex,
    places: CaptureLocations,
}

thread_local! {
    /// The expressions that this thread has used last, the latest at the end: compiling one costs as much as some hundred searches.
    static COMPILED: RefCell<Vec<Regex>> = const { RefCell::new(Vec::new()) };
}

/// How many expressions a thread keeps.
const COMPILED_MAX: usize = 16;

fn compiled(expression: &str) -> Result<Regex> {
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.iter().position(|known| known.as_str() == expression);
        let found = match known {
            Some(place) => compiled.remove(place),
            None => Regex::new(expression).map_err(|error| {
                DataFusionError::Execution(format!("{expression:?} is not a regular expression: {error}"))
            })?,
        };
        if compiled.len() == COMPILED_MAX {
            compiled.remove(0);
        }
        compiled.push(found.clone());
        Ok(found)
    })
}

impl Extract {
    fn new(expression: &str) -> Result<Self> {
        let expression = compiled(expression)?;
        let places = expression.capture_locations();
        Ok(Self { expression, places })
    }

    fn all(&mut self, texts: &StringArray, groups: &Int64Array) -> StringArray {
        let mut found = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
        for (text, group) in texts.iter().zip(groups) {
            found.append_option(text.zip(group).and_then(|(text, group)| self.one(text, group)));
        }
        found.finish()
    }

    fn one<'a>(&mut self, text: &'a str, group: i64) -> Option<&'a str> {
        let group = usize::try_from(group).ok()?;
        if group == 0 {
            return self.expression.find(text).map(|found| found.as_str());
        }
        self.expression.captures_read(&mut self.places, text)?;
        let (from, to) = self.places.get(group)?;
        text.get(from..to)
    }
}

fn each_its_own(texts: &StringArray, expressions: &StringArray, groups: &Int64Array) -> Result<StringArray> {
    let rows = texts.iter().zip(expressions).zip(groups);
    rows.map(|row| match row {
        ((Some(text), Some(expression)), Some(group)) => Ok(Extract::new(expression)?.one(text, group)),
        _ => Ok(None),
    })
    .collect()
}
