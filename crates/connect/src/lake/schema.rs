//! The columns of a lake table, as the table declares them and as Delta stores them: timestamps in microseconds.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::{StructField, StructType};

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::sql_type;
use crate::options::refusal;

/// The columns of a lake table.
#[derive(Clone, Debug)]
pub(super) struct LakeSchema {
    /// The table's name, for messages.
    pub(super) table: String,
    /// As declared.
    pub(super) declared: SchemaRef,
    /// As stored.
    pub(super) stored: SchemaRef,
    /// As Delta says it.
    pub(super) fields: Vec<StructField>,
    /// `PARTITIONED BY`.
    pub(super) partitioned_by: Vec<String>,
}

impl LakeSchema {
    /// The columns of a definition, once Delta can store them.
    pub(super) fn new(definition: &TableDefinition) -> Result<Self, ConnectError> {
        let declared = definition.physical_schema();
        let stored: Vec<Field> = declared.fields().iter().map(stored_field).collect();
        let mut fields = Vec::with_capacity(stored.len());
        for field in &stored {
            let in_delta: Result<StructField, _> = field.try_into_kernel();
            let (name, data_type) = (field.name(), sql_type(field.data_type()));
            fields.push(in_delta.map_err(|_| {
                refusal(definition, format!("column \"{name}\": {data_type} cannot be stored in a lake table"))
            })?);
        }
        Ok(Self {
            table: definition.name.to_string(),
            declared,
            stored: Arc::new(Schema::new(stored)),
            fields,
            partitioned_by: definition.partitioned_by.clone(),
        })
    }

    /// Refuses a stored table whose columns are not those declared.
    pub(super) fn check(&self, stored: &StructType, partitioned_by: &[String]) -> Result<(), ConnectError> {
        let found: Result<Schema, _> = stored.try_into_arrow();
        let found = found.map_err(|error| self.refusal(format!("its schema cannot be read: {error}")))?;
        for field in self.stored.fields() {
            let (name, declared) = (field.name(), sql_type(field.data_type()));
            let Ok(there) = found.field_with_name(name) else {
                return Err(self.refusal(format!(
                    "column \"{name}\" is declared, but the stored table has no such column; it has: {}",
                    names(&found)
                )));
            };
            if stored_type(there.data_type()) != *field.data_type() {
                let stored = sql_type(there.data_type());
                return Err(self.refusal(format!(
                    "column \"{name}\" is declared as {declared}, but the stored table has it as {stored}"
                )));
            }
        }
        let extra = found.fields().iter().find(|field| self.stored.index_of(field.name()).is_err());
        if let Some(extra) = extra {
            return Err(self.refusal(format!(
                "column \"{}\" of the stored table is not declared; add it to CREATE TABLE",
                extra.name()
            )));
        }
        if partitioned_by != self.partitioned_by {
            return Err(self.refusal(format!(
                "it is declared PARTITIONED BY ({}), but the stored table is partitioned by ({})",
                self.partitioned_by.join(", "),
                partitioned_by.join(", ")
            )));
        }
        Ok(())
    }

    fn refusal(&self, reason: String) -> ConnectError {
        ConnectError::Lake { table: self.table.clone(), reason }
    }
}

fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

fn stored_field(field: &FieldRef) -> Field {
    field.as_ref().clone().with_data_type(stored_type(field.data_type()))
}

fn stored_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date64 => DataType::Date32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}
