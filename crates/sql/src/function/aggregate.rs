//! A program's aggregate function as DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature};

use super::AggregateFunction;
use super::scalar::{any_arguments, refused};

pub(super) fn as_aggregate(function: Arc<dyn AggregateFunction>) -> AggregateUDF {
    AggregateUDF::new_from_impl(Own { function, signature: any_arguments() })
}

#[derive(Debug)]
struct Own {
    function: Arc<dyn AggregateFunction>,
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

fn types(fields: &[FieldRef]) -> Vec<DataType> {
    fields.iter().map(|field| field.data_type().clone()).collect()
}

impl AggregateUDFImpl for Own {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments).map_err(|reason| refused(self.function.name(), &reason))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let accumulator = self.function.accumulator(&types(args.expr_fields));
        accumulator.map_err(|reason| refused(self.function.name(), &reason))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let types = self.function.state_types(&types(args.input_fields));
        let types = types.map_err(|reason| refused(self.function.name(), &reason))?;
        let field = |(number, data_type)| Arc::new(Field::new(format!("{}[{number}]", args.name), data_type, true));
        Ok(types.into_iter().enumerate().map(field).collect())
    }
}
