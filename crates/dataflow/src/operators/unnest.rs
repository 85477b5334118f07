//! Unnesting: a row with a list becomes one row for each element of it. With several lists they are read side by side, the
//! shorter ones filled up with nulls. Each row that comes out is a change of the kind of the row that it comes from.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::{emit_in_parts, rows_of};
use crate::batch::Batch;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;

/// An output column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnestColumn {
    /// The input's column, repeated.
    Repeated(usize),
    /// The elements of the input's column.
    Elements(usize),
    /// A field of the input's column, repeated.
    Field {
        /// The column.
        column: usize,
        /// The field's number.
        field: usize,
    },
}

/// What becomes of a row without elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutElements {
    /// No row.
    Nothing,
    /// A null where the list is null; no row where it is empty.
    NullForNull,
    /// A null where the list is null or empty.
    Null,
}

/// Makes a row of each element.
#[derive(Clone, Debug)]
pub struct UnnestDefinition {
    /// The input's columns.
    pub input: SchemaRef,
    /// The output's columns.
    pub columns: Vec<UnnestColumn>,
    /// What becomes of a row whose lists have no elements.
    pub without_elements: WithoutElements,
}

impl OperatorDefinition for UnnestDefinition {
    fn describe(&self) -> String {
        let name = |column: usize| self.input.fields().get(column).map_or("?", |field| field.name().as_str());
        let mut unnested: Vec<&str> = Vec::new();
        for column in &self.columns {
            match column {
                UnnestColumn::Elements(column) => unnested.push(name(*column)),
                UnnestColumn::Field { column, field: 0 } => unnested.push(name(*column)),
                UnnestColumn::Field { .. } | UnnestColumn::Repeated(_) => {}
            }
        }
        format!("unnest {}", unnested.join(", "))
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        inputs.contains(&true)
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Unnest { definition: self.clone(), schema: Arc::clone(schema) }))
    }
}

struct Unnest {
    definition: UnnestDefinition,
    schema: SchemaRef,
}

impl Unnest {
    /// The lists that are unnested, by column.
    fn lists(&self, batch: &Batch) -> Result<Vec<(usize, ListArray)>, OperatorError> {
        let mut lists: Vec<(usize, ListArray)> = Vec::new();
        for column in &self.definition.columns {
            if let UnnestColumn::Elements(column) = column
                && lists.iter().all(|(known, _)| known != column)
            {
                lists.push((*column, list(batch.rows.columns().get(*column))?));
            }
        }
        Ok(lists)
    }

    /// How many rows the list makes of a row.
    fn row_count(&self, list: &ListArray, row: usize) -> usize {
        let length = if list.is_null(row) { 0 } else { list.value_length(row) as usize };
        let is_kept = match self.definition.without_elements {
            WithoutElements::Nothing => false,
            WithoutElements::NullForNull => list.is_null(row),
            WithoutElements::Null => true,
        };
        if is_kept { length.max(1) } else { length }
    }
}

fn list(column: Option<&ArrayRef>) -> Result<ListArray, OperatorError> {
    let missing = || OperatorError::Unsupported("a column that is unnested must be a list".to_owned());
    let column = column.ok_or_else(missing)?;
    let element = match column.data_type() {
        DataType::List(_) => return Ok(column.as_list::<i32>().clone()),
        DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => element,
        _ => return Err(missing()),
    };
    let element = Field::new("item", element.data_type().clone(), true);
    Ok(cast(column, &DataType::List(Arc::new(element)))?.as_list::<i32>().clone())
}

fn field(column: Option<&ArrayRef>, field: usize) -> Result<ArrayRef, OperatorError> {
    let missing = || OperatorError::Unsupported("a column whose fields are taken must be a struct".to_owned());
    let fields = column.and_then(|column| column.as_struct_opt()).ok_or_else(missing)?;
    let (_, columns, nulls) = fields.clone().into_parts();
    let column = columns.get(field).cloned().ok_or_else(missing)?;
    let Some(nulls) = nulls else { return Ok(column) };
    // A field of nothing is null.
    let rows = nulls.iter().enumerate().map(|(row, is_there)| is_there.then_some(row as u32));
    Ok(take(&column, &rows.collect::<UInt32Array>(), None)?)
}

impl Operator for Unnest {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let lists = self.lists(&batch)?;
        let mut rows: Vec<u32> = Vec::with_capacity(batch.num_rows());
        let mut elements: Vec<Vec<Option<u32>>> = vec![Vec::new(); lists.len()];
        for row in 0..batch.num_rows() {
            let count = lists.iter().map(|(_, list)| self.row_count(list, row)).max();
            // Without lists there is nothing to multiply: structs alone are taken apart.
            let count = count.unwrap_or(1);
            rows.extend(std::iter::repeat_n(row as u32, count));
            for ((_, list), elements) in lists.iter().zip(&mut elements) {
                let begin = list.value_offsets().get(row).copied().unwrap_or(0) as u32;
                let length = if list.is_null(row) { 0 } else { list.value_length(row) as usize };
                let own = (0..count).map(|element| (element < length).then_some(begin + element as u32));
                elements.extend(own);
            }
        }
        let rows = UInt32Array::from(rows);
        let elements: Vec<UInt32Array> = elements.into_iter().map(UInt32Array::from).collect();
        let mut columns = Vec::with_capacity(self.definition.columns.len());
        for column in &self.definition.columns {
            columns.push(match column {
                UnnestColumn::Repeated(column) => match batch.rows.columns().get(*column) {
                    Some(column) => take(column, &rows, None)?,
                    None => return Err(OperatorError::Unsupported(format!("there is no column {column}"))),
                },
                UnnestColumn::Field { column, field: number } => {
                    take(&field(batch.rows.columns().get(*column), *number)?, &rows, None)?
                }
                UnnestColumn::Elements(column) => {
                    let mut own = lists.iter().zip(&elements).filter(|((known, _), _)| known == column);
                    match own.next() {
                        Some(((_, list), elements)) => take(list.values(), elements, None)?,
                        None => return Err(OperatorError::Unsupported(format!("there is no list {column}"))),
                    }
                }
            });
        }
        let kinds = match &batch.kinds {
            Some(kinds) => Some(take(kinds, &rows, None)?.as_primitive().clone()),
            None => None,
        };
        let rows = rows_of(&self.schema, columns, rows.len())?;
        emit_in_parts(&Batch { rows, kinds }, out);
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
