//! What a session brings along beside the project's catalog: tables that the program fills itself, such as the catalog
//! that clients of PostgreSQL ask for, and functions that know who asks.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_connect::definition::TableName;

use crate::function::{Function, Functions};
use crate::wanted::Wanted;

/// Batches of a system table, as they come; an error is a sentence.
pub type SystemRows = BoxStream<'static, Result<arrow::array::RecordBatch, String>>;

/// Tables that the program fills itself.
pub trait SystemTables: Send + Sync + 'static {
    /// The columns of a table; `None` where there is no such table.
    fn schema(&self, table: &TableName) -> Option<SchemaRef>;
    /// Whether a table has no rows, whatever happens: what can only be of its rows is not planned at all.
    fn is_always_empty(&self, _: &TableName) -> bool {
        false
    }
    /// Its rows as they are now, with exactly the columns of [`SystemTables::schema`]. Rows that are not wanted may be left out,
    /// and need not be.
    fn rows(&self, table: &TableName, wanted: &Wanted) -> SystemRows;
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

    pub(crate) fn is_always_empty(&self, name: &TableName) -> bool {
        self.tables.is_always_empty(name)
    }

    /// The table of this name, or of this name in [`System::PG_CATALOG`] where no schema is said.
    pub(crate) fn table(&self, name: &TableName) -> Option<Arc<dyn TableProvider>> {
        let mut name = name.clone();
        if name.namespace == TableName::DEFAULT_NAMESPACE {
            Self::PG_CATALOG.clone_into(&mut name.namespace);
        }
        let schema = self.tables.schema(&name)?;
        Some(Arc::new(SystemTable { tables: Arc::clone(&self.tables), schema, name }))
    }
}

/// A system table, as a query reads it.
struct SystemTable {
    tables: Arc<dyn SystemTables>,
    schema: SchemaRef,
    name: TableName,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system table {}", self.name)
    }
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// All conditions are told, and checked again on what comes.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let rows = SystemPartition {
            tables: Arc::clone(&self.tables),
            schema: Arc::clone(&self.schema),
            name: self.name.clone(),
            wanted: Wanted::of(filters),
        };
        let schema = Arc::clone(&self.schema);
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(rows)], projection, [], false, limit)?))
    }
}

/// The one partition of a system table.
struct SystemPartition {
    tables: Arc<dyn SystemTables>,
    schema: SchemaRef,
    name: TableName,
    wanted: Wanted,
}

impl fmt::Debug for SystemPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system table {}, {:?}", self.name, self.wanted)
    }
}

impl PartitionStream for SystemPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.tables.rows(&self.name, &self.wanted).map(|batch| batch.map_err(DataFusionError::Execution));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
