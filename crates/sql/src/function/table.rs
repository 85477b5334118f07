//! A program's table function, as a function that gives a list of rows for each row: an `UNNEST` makes rows of them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::scalar::{any_arguments, arrays, refused};
use super::{TableFunction, TableRows};

pub(super) fn as_lists(function: Arc<dyn TableFunction>) -> ScalarUDF {
    ScalarUDF::new_from_impl(Lists { function, signature: any_arguments() })
}

#[derive(Debug)]
struct Lists {
    function: Arc<dyn TableFunction>,
    signature: Signature,
}

/// Functions are equal that are the same.
impl PartialEq for Lists {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for Lists {}

impl Hash for Lists {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl Lists {
    fn row_fields(&self, arguments: &[DataType]) -> Result<Fields> {
        let columns = self.function.columns(arguments);
        columns.map(Fields::from).map_err(|reason| refused(self.function.name(), &reason))
    }

    fn lists(&self, rows: TableRows, row_count: usize, fields: Fields) -> Result<ArrayRef> {
        let failed = |reason: String| DataFusionError::Execution(format!("{}: {reason}", self.function.name()));
        if rows.counts.len() != row_count {
            return Err(failed(format!("it gave {} counts for {row_count} rows", rows.counts.len())));
        }
        let total: usize = rows.counts.iter().sum();
        if rows.columns.iter().any(|column| column.len() != total) {
            return Err(failed(format!("its columns do not have the {total} rows that it counts")));
        }
        let structs = StructArray::try_new(fields.clone(), rows.columns, None)?;
        let offsets = OffsetBuffer::from_lengths(rows.counts);
        Ok(Arc::new(ListArray::try_new(item(fields), offsets, Arc::new(structs), None)?))
    }
}

fn item(fields: Fields) -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(fields), true))
}

impl ScalarUDFImpl for Lists {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(item(self.row_fields(arguments)?)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let fields = self.row_fields(&types)?;
        let (arguments, row_count) = arrays(args)?;
        let rows = self.function.evaluate(&arguments, row_count);
        let rows = rows.map_err(|reason| DataFusionError::Execution(format!("{}: {reason}", self.function.name())))?;
        Ok(ColumnarValue::Array(self.lists(rows, row_count, fields)?))
    }
}
