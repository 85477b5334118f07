//! The values of partition columns, as text in one spelling: the names of folders, the keys of a lake's files.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::cells::as_text;
use crate::format::{quoted, sql_type};

/// The value of each partition column, in the order of `PARTITIONED BY`; `None` for NULL.
pub(crate) type PartitionValues = Vec<Option<String>>;

/// The partition columns of a table.
#[derive(Clone, Debug)]
pub(crate) struct PartitionColumns {
    table: String,
    schema: SchemaRef,
    /// Their indices in the schema.
    indices: Vec<usize>,
}

impl PartitionColumns {
    /// The columns of `PARTITIONED BY`, once they exist and their type has one spelling of each value.
    pub(crate) fn new(table: &TableDefinition) -> Result<Self, ConnectError> {
        let schema = table.physical_schema();
        let mut columns = Self { table: table.name.to_string(), schema, indices: Vec::new() };
        for name in &table.partitioned_by {
            let Ok(index) = columns.schema.index_of(name) else {
                return Err(columns.refusal(format!("PARTITIONED BY ({name}): there is no such physical column")));
            };
            let data_type = columns.schema.field(index).data_type();
            let is_text_or_day = matches!(data_type, DataType::Utf8 | DataType::Date32 | DataType::Boolean);
            if !is_text_or_day && !data_type.is_integer() {
                let name_of_type = sql_type(data_type);
                return Err(columns.refusal(format!(
                    "PARTITIONED BY ({name}): {name_of_type} is not possible here; use a STRING, DATE, BOOLEAN or integer column"
                )));
            }
            columns.indices.push(index);
        }
        Ok(columns)
    }

    /// Reads the values that a caller names, in one spelling (`01` for an integer column is `1`).
    pub(crate) fn parse(&self, partition: &[(String, String)]) -> Result<PartitionValues, ConnectError> {
        if self.indices.is_empty() {
            return Err(self.refusal("it is not PARTITIONED BY anything, so no partition can be replaced".to_owned()));
        }
        let names: Vec<&str> = self.indices.iter().map(|index| self.schema.field(*index).name().as_str()).collect();
        let named: Vec<&str> = partition.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(unknown) = named.iter().find(|name| !names.contains(name)) {
            let suggestion = crate::options::suggestion(unknown, &names);
            return Err(self.refusal(format!("\"{unknown}\" is not a partition column{suggestion}")));
        }
        let value_of = |index: &usize| {
            let field = self.schema.field(*index);
            let name = field.name();
            let Some((_, text)) = partition.iter().find(|(column, _)| column == name) else {
                return Err(self.refusal(format!("the partition needs a value for \"{name}\"")));
            };
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let value = cast_with_options(&StringArray::from(vec![text.as_str()]), field.data_type(), &options)
                .and_then(|value| cast_with_options(&value, &DataType::Utf8, &options));
            let value = value.ok().and_then(|value| value.as_any().downcast_ref::<StringArray>().cloned());
            match value {
                Some(value) if !value.is_null(0) && !value.value(0).is_empty() => Ok(Some(value.value(0).to_owned())),
                _ => Err(self.refusal(format!(
                    "partition {name} = {}: cannot be read as {}",
                    quoted(text),
                    sql_type(field.data_type())
                ))),
            }
        };
        self.indices.iter().map(value_of).collect()
    }

    /// Refuses rows (with the table's columns) of another partition.
    pub(crate) fn check(&self, rows: &RecordBatch, values: &PartitionValues) -> Result<(), ConnectError> {
        let columns = self.values(rows)?;
        for ((column, value), index) in columns.iter().zip(values).zip(&self.indices) {
            if let Some(found) = column.iter().find(|found| *found != value.as_deref()) {
                let name = self.schema.field(*index).name();
                return Err(self.refusal(format!(
                    "a row has {name} = {}, but partition {name} = {} is being written; nothing was written",
                    found.unwrap_or("NULL"),
                    value.as_deref().unwrap_or("NULL"),
                )));
            }
        }
        Ok(())
    }

    /// The rows (with the table's columns), partition by partition.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<Vec<(PartitionValues, RecordBatch)>, ConnectError> {
        if self.indices.is_empty() {
            return Ok(vec![(vec![], rows.clone())]);
        }
        let columns = self.values(rows)?;
        let mut groups: BTreeMap<Vec<Option<&str>>, Vec<u32>> = BTreeMap::new();
        for (row, number) in (0..rows.num_rows()).zip(0_u32..) {
            let key = columns.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect();
            groups.entry(key).or_default().push(number);
        }
        let parts = groups.into_iter().map(|(key, numbers)| {
            let values = key.into_iter().map(|value| value.map(str::to_owned)).collect();
            Ok((values, take_record_batch(rows, &UInt32Array::from(numbers))?))
        });
        parts.collect()
    }

    fn values(&self, rows: &RecordBatch) -> Result<Vec<StringArray>, ConnectError> {
        Ok(as_text(&rows.project(&self.indices)?)?)
    }

    fn refusal(&self, reason: String) -> ConnectError {
        ConnectError::Definition { table: self.table.clone(), reason }
    }
}
