//! A few expressions and aggregates of our own, enough to test operators and the engine without a SQL planner: columns,
//! literals, one binary operation; `count` and `sum` of integers. Queries use those of `sql`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, Scalar};
use arrow::compute::kernels::{cmp, numeric};
use arrow::compute::{is_not_null, take};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::error::ArrowError;

use crate::aggregate::{AggregateFunction, Algebra, GroupAccumulator};
use crate::expression::{EvaluationError, Expression, NamedExpression};

/// A column of the input.
#[derive(Clone, Debug)]
pub struct Column {
    name: String,
    index: usize,
    data_type: DataType,
}

/// The column of `schema` that is called `name`, under its own name; `None` if there is none.
pub fn column(schema: &SchemaRef, name: &str) -> Option<NamedExpression> {
    let (index, field) = schema.column_with_name(name)?;
    let column = Column { name: name.to_owned(), index, data_type: field.data_type().clone() };
    Some(NamedExpression { name: name.to_owned(), expression: Arc::new(column) })
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Expression for Column {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let missing = || failed(self, &format!("there is no column {}", self.index));
        rows.columns().get(self.index).cloned().ok_or_else(missing)
    }

    fn as_column(&self) -> Option<usize> {
        Some(self.index)
    }
}

/// A constant.
#[derive(Clone, Debug)]
pub struct Literal {
    text: String,
    value: ArrayRef,
}

impl Literal {
    /// The only element of `value`, printed as `text`.
    pub fn new(text: &str, value: ArrayRef) -> Self {
        Self { text: text.to_owned(), value }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression for Literal {
    fn data_type(&self) -> DataType {
        self.value.data_type().clone()
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let first = Int64Array::from_value(0, rows.num_rows());
        take(&self.value, &first, None).map_err(|error| failed(self, &error.to_string()))
    }
}

/// What a [`Binary`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOperation {
    /// `left - right`; fails where it overflows.
    Minus,
    /// `left / right`, of integers a whole number; fails at a division by zero.
    Divide,
    /// `left > right`.
    Greater,
}

/// An operation on an expression and a constant.
#[derive(Clone, Debug)]
pub struct Binary {
    left: Arc<dyn Expression>,
    operation: BinaryOperation,
    right: Literal,
    data_type: DataType,
}

impl Binary {
    /// `left operation right`.
    pub fn new(left: Arc<dyn Expression>, operation: BinaryOperation, right: Literal) -> Self {
        let data_type = match operation {
            BinaryOperation::Minus | BinaryOperation::Divide => left.data_type(),
            BinaryOperation::Greater => DataType::Boolean,
        };
        Self { left, operation, right, data_type }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.operation {
            BinaryOperation::Minus => "-",
            BinaryOperation::Divide => "/",
            BinaryOperation::Greater => ">",
        };
        write!(f, "{} {sign} {}", self.left, self.right)
    }
}

impl Expression for Binary {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let left = self.left.evaluate(rows)?;
        let right = Scalar::new(Arc::clone(&self.right.value));
        let result: Result<ArrayRef, ArrowError> = match self.operation {
            BinaryOperation::Minus => numeric::sub(&left, &right),
            BinaryOperation::Divide => numeric::div(&left, &right),
            BinaryOperation::Greater => cmp::gt(&left, &right).map(|result| Arc::new(result) as ArrayRef),
        };
        result.map_err(|error| failed(self, &error.to_string()))
    }
}

/// How many rows there are; with an argument, how many where it is not null.
#[derive(Clone, Copy, Debug)]
pub struct Count;

/// The sum of a column of 64-bit integers; null where there was no value; fails where it overflows.
#[derive(Clone, Copy, Debug)]
pub struct Sum;

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("count")
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sum")
    }
}

impl AggregateFunction for Count {
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, false)]
    }

    fn data_type(&self) -> DataType {
        DataType::Int64
    }

    fn accumulator(&self) -> Result<Box<dyn GroupAccumulator>, EvaluationError> {
        Ok(Box::new(Counts(Vec::new())))
    }

    fn algebra(&self) -> Algebra {
        Algebra::Count
    }
}

impl AggregateFunction for Sum {
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("sum", DataType::Int64, true)]
    }

    fn data_type(&self) -> DataType {
        DataType::Int64
    }

    fn accumulator(&self) -> Result<Box<dyn GroupAccumulator>, EvaluationError> {
        Ok(Box::new(Sums(Vec::new())))
    }
}

struct Counts(Vec<i64>);

impl GroupAccumulator for Counts {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<(), EvaluationError> {
        self.0.resize(group_count, 0);
        let counted = arguments.first().filter(|argument| argument.null_count() > 0);
        let counted = counted
            .map(|argument| is_not_null(argument.as_ref()))
            .transpose()
            .map_err(|error| failed(&Count, &error.to_string()))?;
        for (row, group) in groups.iter().enumerate() {
            let counts = counted.as_ref().is_none_or(|counted| counted.value(row)) && passes(filter, row);
            if let Some(count) = self.0.get_mut(*group) {
                *count += i64::from(counts);
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<(), EvaluationError> {
        self.0.resize(group_count, 0);
        for (group, count) in groups.iter().zip(integers(&Count, states)?.iter()) {
            if let Some(sum) = self.0.get_mut(*group) {
                *sum += count.unwrap_or(0);
            }
        }
        Ok(())
    }

    fn take_states(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(vec![self.take_results()?])
    }

    fn take_results(&mut self) -> Result<ArrayRef, EvaluationError> {
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.0))))
    }

    fn size_bytes(&self) -> usize {
        self.0.capacity() * size_of::<i64>()
    }
}

struct Sums(Vec<Option<i64>>);

impl Sums {
    fn add(&mut self, group: usize, value: i64) -> Result<(), EvaluationError> {
        if let Some(sum) = self.0.get_mut(group) {
            let overflowed = || failed(&Sum, "the sum does not fit into 64 bits");
            *sum = Some(sum.unwrap_or(0).checked_add(value).ok_or_else(overflowed)?);
        }
        Ok(())
    }
}

impl GroupAccumulator for Sums {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<(), EvaluationError> {
        self.0.resize(group_count, None);
        for (row, (group, value)) in groups.iter().zip(integers(&Sum, arguments)?.iter()).enumerate() {
            if let Some(value) = value
                && passes(filter, row)
            {
                self.add(*group, value)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<(), EvaluationError> {
        self.update(states, groups, None, group_count)
    }

    fn take_states(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(vec![self.take_results()?])
    }

    fn take_results(&mut self) -> Result<ArrayRef, EvaluationError> {
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.0))))
    }

    fn size_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Option<i64>>()
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn integers<'a>(function: &dyn fmt::Display, columns: &'a [ArrayRef]) -> Result<&'a Int64Array, EvaluationError> {
    let first = columns.first().and_then(|column| column.as_primitive_opt::<Int64Type>());
    first.ok_or_else(|| failed(function, "its argument must be one column of 64-bit integers"))
}

fn failed(expression: &dyn fmt::Display, reason: &str) -> EvaluationError {
    EvaluationError { expression: expression.to_string(), reason: reason.to_owned() }
}
