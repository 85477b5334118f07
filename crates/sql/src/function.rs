//! Functions that a program brings along, in Rust: scalar, aggregate and table functions. Registered with a catalog, they
//! are called by name in SQL, in batch and as a stream.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
//! use arrow::datatypes::DataType;
//! use mulgil_sql::function::{Function, ScalarFunction};
//!
//! /// `count_char(text, 'c')`: how often a character occurs.
//! #[derive(Debug)]
//! struct CountChar;
//!
//! impl ScalarFunction for CountChar {
//!     fn name(&self) -> &str {
//!         "count_char"
//!     }
//!     fn return_type(&self, arguments: &[DataType]) -> Result<DataType, String> {
//!         match arguments {
//!             [DataType::Utf8, DataType::Utf8] => Ok(DataType::Int64),
//!             _ => Err("write count_char(text, character)".to_owned()),
//!         }
//!     }
//!     fn evaluate(&self, arguments: &[ArrayRef], _row_count: usize) -> Result<ArrayRef, String> {
//!         let (texts, characters) = (arguments[0].as_string::<i32>(), arguments[1].as_string::<i32>());
//!         let count = |(text, character): (Option<&str>, Option<&str>)| Some(text?.matches(character?).count() as i64);
//!         Ok(Arc::new(texts.iter().zip(characters).map(count).collect::<Int64Array>()))
//!     }
//! }
//!
//! let mut catalog = mulgil_sql::catalog::Catalog::default();
//! catalog.register(Function::Scalar(Arc::new(CountChar)));
//! ```

mod aggregate;
mod scalar;
mod table;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
pub use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use crate::plan::planning_state;

/// The scalar functions that every query can name: each with all its names.
pub fn scalar_function_names() -> Vec<Vec<String>> {
    fn names(name: &str, aliases: &[String]) -> Vec<String> {
        std::iter::once(name.to_owned()).chain(aliases.iter().cloned()).collect()
    }
    let state = planning_state();
    let plain = state.scalar_functions().values().map(|function| names(function.name(), function.aliases()));
    let of_functions =
        state.higher_order_functions().values().map(|function| names(function.name(), function.aliases()));
    let mut all: Vec<Vec<String>> = plain.chain(of_functions).collect();
    all.sort();
    all.dedup();
    all
}

/// A function from the values of a row to a value.
///
/// # Contract
/// The same arguments give the same result. What is called with types that `return_type` refuses is a mistake of the
/// query, told with the reason.
pub trait ScalarFunction: Debug + Send + Sync + 'static {
    /// Its name in SQL, in lower case.
    fn name(&self) -> &str;
    /// The type of the result.
    ///
    /// # Errors
    /// It cannot take such arguments: a sentence saying how to call it.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, String>;
    /// One result for each row. Constants are arrays like any other argument.
    ///
    /// # Errors
    /// Why it failed; the query fails with it.
    fn evaluate(&self, arguments: &[ArrayRef], row_count: usize) -> Result<ArrayRef, String>;
}

/// A function from the values of many rows to a value.
pub trait AggregateFunction: Debug + Send + Sync + 'static {
    /// Its name in SQL, in lower case.
    fn name(&self) -> &str;
    /// The type of the result.
    ///
    /// # Errors
    /// As [`ScalarFunction::return_type`].
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, String>;
    /// The types of the values that an accumulator's `state` consists of.
    ///
    /// # Errors
    /// As [`ScalarFunction::return_type`].
    fn state_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>, String>;
    /// The state of one group, before its first row.
    ///
    /// # Errors
    /// As [`ScalarFunction::return_type`].
    fn accumulator(&self, arguments: &[DataType]) -> Result<Box<dyn Accumulator>, String>;
}

/// A function from the values of a row to rows: `FROM t, LATERAL TABLE(f(t.x)) AS r (a, b)`.
pub trait TableFunction: Debug + Send + Sync + 'static {
    /// Its name in SQL, in lower case.
    fn name(&self) -> &str;
    /// The columns of the rows.
    ///
    /// # Errors
    /// As [`ScalarFunction::return_type`].
    fn columns(&self, arguments: &[DataType]) -> Result<Vec<Field>, String>;
    /// The rows that each row brings.
    ///
    /// # Errors
    /// Why it failed; the query fails with it.
    fn evaluate(&self, arguments: &[ArrayRef], row_count: usize) -> Result<TableRows, String>;
}

/// The rows that a table function has made of some rows.
#[derive(Clone, Debug)]
pub struct TableRows {
    /// How many rows each row has brought.
    pub counts: Vec<usize>,
    /// Their columns, the rows of the first row first.
    pub columns: Vec<ArrayRef>,
}

/// A function to be registered.
#[derive(Clone, Debug)]
pub enum Function {
    /// Value for value.
    Scalar(Arc<dyn ScalarFunction>),
    /// One value for many.
    Aggregate(Arc<dyn AggregateFunction>),
    /// Many rows for one.
    Table(Arc<dyn TableFunction>),
}

/// The functions of a catalog, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    pub(crate) scalar: BTreeMap<String, Arc<ScalarUDF>>,
    pub(crate) aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    /// Table functions, as functions that give lists.
    pub(crate) table: BTreeMap<String, Arc<ScalarUDF>>,
}

impl Functions {
    /// Adds a function, in place of one of the same name.
    pub(crate) fn register(&mut self, function: Function) {
        match function {
            Function::Scalar(function) => {
                self.scalar.insert(function.name().to_owned(), Arc::new(scalar::as_scalar(function)));
            }
            Function::Aggregate(function) => {
                self.aggregate.insert(function.name().to_owned(), Arc::new(aggregate::as_aggregate(function)));
            }
            Function::Table(function) => {
                self.table.insert(function.name().to_owned(), Arc::new(table::as_lists(function)));
            }
        }
    }
}
