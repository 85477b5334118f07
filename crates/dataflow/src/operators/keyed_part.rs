//! A part of an operator's state that lies by the operator's keys: these are its first columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::rows_of;
use crate::operator::OperatorError;
use crate::state::{Extent, Lies, StatePart};

/// The columns of a part.
pub(crate) struct KeyedPart {
    schema: SchemaRef,
    key_count: usize,
}

impl KeyedPart {
    /// A part with these keys before its other columns.
    pub(crate) fn new<'a>(keys: impl Iterator<Item = &'a Arc<Field>>, fields: Vec<Field>) -> Self {
        let mut all: Vec<Field> = keys.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let key_count = all.len();
        all.extend(fields);
        Self { schema: Arc::new(Schema::new(all)), key_count }
    }

    /// All rows of the part.
    pub(crate) fn whole(
        &self,
        name: impl Into<Cow<'static, str>>,
        columns: Vec<ArrayRef>,
        row_count: usize,
    ) -> Result<StatePart, OperatorError> {
        let rows = rows_of(&self.schema, columns, row_count)?;
        let lies = Lies::Keyed((0..self.key_count).collect());
        Ok(StatePart { name: name.into(), rows: rows.into(), lies, extent: Extent::Whole })
    }

    /// The rows that have changed, and the keys of those that are gone, which name a row.
    pub(crate) fn changes(
        &self,
        name: impl Into<Cow<'static, str>>,
        (columns, row_count): (Vec<ArrayRef>, usize),
        (gone, gone_count): (Vec<ArrayRef>, usize),
    ) -> Result<StatePart, OperatorError> {
        let key_count = gone.len();
        let mut part = self.whole(name, columns, row_count)?;
        let keys = self.schema.project(&(0..key_count).collect::<Vec<usize>>())?;
        part.extent = Extent::Changes { key_count, gone: rows_of(&Arc::new(keys), gone, gone_count)? };
        Ok(part)
    }

    /// The keys of sealed rows, and their other columns.
    ///
    /// # Errors
    /// The rows have other columns.
    pub(crate) fn columns<'a>(&self, rows: &'a RecordBatch) -> Result<(&'a [ArrayRef], &'a [ArrayRef]), OperatorError> {
        let (known, found) = (self.schema.fields(), rows.schema_ref().fields());
        let same = known.len() == found.len()
            && known.iter().zip(found).all(|(known, found)| known.data_type() == found.data_type());
        match rows.columns().split_at_checked(self.key_count) {
            Some(columns) if same => Ok(columns),
            _ => {
                let name = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
                let list = |fields: &[Arc<Field>]| fields.iter().map(name).collect::<Vec<String>>().join(", ");
                let (known, found) = (list(known), list(found));
                let reason =
                    format!("its state has the columns {known}, not {found}; the checkpoint is another query's");
                Err(OperatorError::Unsupported(reason))
            }
        }
    }
}
