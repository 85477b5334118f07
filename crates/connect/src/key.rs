//! The key of a merge: the columns by which a row takes the place of others.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::ConnectError;
use crate::options::suggestion;

/// The key columns among the columns of a table.
pub(crate) struct MergeKey {
    table: String,
    names: Vec<String>,
    indices: Vec<usize>,
    converter: RowConverter,
}

impl MergeKey {
    /// The columns `names` of a table with these columns.
    pub(crate) fn new(table: &str, schema: &SchemaRef, names: &[String]) -> Result<Self, ConnectError> {
        let refusal = |reason: String| ConnectError::Definition { table: table.to_owned(), reason };
        if names.is_empty() {
            let reason = "rows are merged by key, and no key is named; say `key: [COLUMN]`, or declare PRIMARY KEY";
            return Err(refusal(reason.to_owned()));
        }
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let index = |name: &String| {
            let unknown = || refusal(format!("there is no key column \"{name}\"{}", suggestion(name, &known)));
            known.iter().position(|known| known == name).ok_or_else(unknown)
        };
        let indices = names.iter().map(index).collect::<Result<Vec<_>, _>>()?;
        let fields = indices.iter().map(|index| SortField::new(schema.field(*index).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { table: table.to_owned(), names: names.to_vec(), indices, converter })
    }

    /// Where the key columns are.
    pub(crate) fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Whether all these columns belong to the key.
    pub(crate) fn holds(&self, columns: &[String]) -> bool {
        columns.iter().all(|column| self.names.contains(column))
    }

    /// Refuses rows (with the table's columns) without a key: a NULL is equal to nothing, so such a row could never be
    /// found again.
    pub(crate) fn check(&self, rows: &RecordBatch) -> Result<(), ConnectError> {
        for (index, name) in self.indices.iter().zip(&self.names) {
            if rows.column(*index).null_count() > 0 {
                return Err(ConnectError::Definition {
                    table: self.table.clone(),
                    reason: format!(
                        "column \"{name}\" is the key of the merge, but a row has NULL there; nothing was written"
                    ),
                });
            }
        }
        Ok(())
    }

    /// The key of each row, of a batch with the key columns alone, as bytes that are equal where the keys are.
    pub(crate) fn encode(&self, keys: &RecordBatch) -> Result<Rows, ConnectError> {
        Ok(self.converter.convert_columns(keys.columns())?)
    }
}
