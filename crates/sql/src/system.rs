//! What a session brings along beside the project's catalog: tables that the program fills itself, such as the catalog
//! that clients of PostgreSQL ask for, and functions that know who asks.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_connect::definition::TableName;

use crate::function::{Function, Functions};

/// Batches of a system table, as they come; an error is a sentence.
pub type SystemRows = BoxStream<'static, Result<arrow::array::RecordBatch, String>>;

/// Tables that the program fills itself.
pub trait SystemTables: Send + Sync + 'static {
    /// The columns of a table; `None` where there is no such table.
    fn schema(&self, table: &TableName) -> Option<SchemaRef>;
    /// Its rows as they are now, with exactly the columns of [`SystemTables::schema`].
    fn rows(&self, table: &TableName) -> SystemRows;
}

/// Tables and functions beside the project's.
#[derive(Clone)]
pub struct System {
    tables: Arc<dyn SystemTables>,
    functions: Functions,
}

impl System {
    /// The schema of the tables that clients of PostgreSQL read; its tables are found by their names alone too.
    pub const PG_CATALOG: &'static str = "pg_catalog";

    /// Tables, and functions that take precedence over those of the same name.
    pub fn new(tables: Arc<dyn SystemTables>, functions: impl IntoIterator<Item = Function>) -> Self {
        let mut all = Functions::default();
        functions.into_iter().for_each(|function| all.register(function));
        Self { tables, functions: all }
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The table of this name, or of this name in [`System::PG_CATALOG`] where no schema is said.
    pub(crate) fn table(&self, name: &TableName) -> Option<Arc<dyn TableProvider>> {
        let mut name = name.clone();
        if name.namespace == TableName::DEFAULT_NAMESPACE {
            Self::PG_CATALOG.clone_into(&mut name.namespace);
        }
        let schema = self.tables.schema(&name)?;
        let rows = SystemPartition { tables: Arc::clone(&self.tables), schema: Arc::clone(&schema), name };
        let table = StreamingTable::try_new(schema, vec![Arc::new(rows)]).ok()?;
        Some(Arc::new(table))
    }
}

/// The one partition of a system table.
struct SystemPartition {
    tables: Arc<dyn SystemTables>,
    schema: SchemaRef,
    name: TableName,
}

impl fmt::Debug for SystemPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system table {}", self.name)
    }
}

impl PartitionStream for SystemPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.tables.rows(&self.name).map(|batch| batch.map_err(DataFusionError::Execution));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
