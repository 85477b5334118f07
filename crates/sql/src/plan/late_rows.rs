//! The tables to which rows go that are too late: which of them takes the rows of an operator, and how its columns are found
//! among theirs.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::TableName;

use crate::catalog::Catalog;
use crate::problem::{Mistake, did_you_mean};
use crate::stream::time_attribute::{TimeAttribute, time_attribute};

/// A table of the option `late-rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateTable {
    pub(crate) name: TableName,
    /// The columns that are written.
    pub(crate) schema: SchemaRef,
}

impl LateTable {
    /// The tables of these names.
    pub(crate) fn find_all(catalog: &Catalog, names: &[TableName]) -> Result<Vec<Arc<Self>>, Mistake> {
        names.iter().map(|name| Self::find(catalog, name)).collect()
    }

    fn find(catalog: &Catalog, name: &TableName) -> Result<Arc<Self>, Mistake> {
        if let Some(table) = catalog.table(name) {
            return Ok(Arc::new(Self { name: name.clone(), schema: table.definition.physical_schema() }));
        }
        let nowhere = Location { line: 0, column: 0 };
        let known: Vec<String> = catalog.tables().map(|table| table.definition.name.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        Err(Mistake::new(nowhere, format!("there is no table {name} for late rows")).remedy(did_you_mean(
            &name.to_string(),
            &known,
            "tables",
        )))
    }

    /// Whether rows of `input` can be late for windows over the column `time`: not those of windows before, which come in
    /// time.
    pub(crate) fn concerns(input: &LogicalPlan, time: usize) -> bool {
        time_attribute(input, time) == Some(TimeAttribute::EventTime)
    }

    /// The columns that rows of `given` lack: those that have no column of that name, or none of a type that fits.
    fn missing(&self, given: &DFSchema) -> Vec<&str> {
        let misfit = |field: &&Arc<arrow::datatypes::Field>| {
            let found = given.fields().iter().find(|given| given.name() == field.name());
            !found.is_some_and(|found| can_cast_types(found.data_type(), field.data_type()))
        };
        self.schema.fields().iter().filter(misfit).map(|field| field.name().as_str()).collect()
    }

    /// The table that takes rows of `given`: the first of which they have all columns.
    pub(crate) fn choose(tables: &[Arc<Self>], given: &DFSchema, at: Location) -> Result<Arc<Self>, Mistake> {
        if let Some(table) = tables.iter().find(|table| table.missing(given).is_empty()) {
            return Ok(Arc::clone(table));
        }
        let names: Vec<&str> = given.fields().iter().map(|field| field.name().as_str()).collect();
        let lacking = tables.iter().map(|table| {
            format!(
                "table {} for late rows has columns that these rows lack: {}",
                table.name,
                table.missing(given).join(", ")
            )
        });
        Err(Mistake::new(at, lacking.collect::<Vec<String>>().join("; "))
            .remedy(format!("declare it with columns of {}, or give the rows these columns", names.join(", "))))
    }
}
