//! The table to which rows go that are too late for all their windows: which of them a window call may write to it, and how
//! its columns are found among theirs.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::tokenizer::Location;
use mulgil_connect::definition::TableName;

use crate::catalog::Catalog;
use crate::problem::{Mistake, did_you_mean};
use crate::stream::time_attribute::{TimeAttribute, time_attribute};

/// The table of the option `late-rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LateTable {
    pub(crate) name: TableName,
    /// The columns that are written.
    pub(crate) schema: SchemaRef,
}

impl LateTable {
    /// The table of that name.
    pub(crate) fn find(catalog: &Catalog, name: &TableName) -> Result<Arc<Self>, Mistake> {
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

    /// Whether the rows of `input` have all its columns, by name, of types that fit.
    pub(crate) fn check(&self, input: &LogicalPlan, at: Location) -> Result<(), Mistake> {
        let given = input.schema();
        let misfit = |field: &&Arc<arrow::datatypes::Field>| {
            let found = given.fields().iter().find(|given| given.name() == field.name());
            !found.is_some_and(|found| can_cast_types(found.data_type(), field.data_type()))
        };
        let missing: Vec<&str> =
            self.schema.fields().iter().filter(misfit).map(|field| field.name().as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = given.fields().iter().map(|field| field.name().as_str()).collect();
        Err(Mistake::new(
            at,
            format!("table {} for late rows has columns that these rows lack: {}", self.name, missing.join(", ")),
        )
        .remedy(format!("declare it with columns of {}, or give the window's rows these columns", names.join(", "))))
    }
}
