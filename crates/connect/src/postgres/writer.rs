//! A table as the target of a batch write: one transaction. Readers see the table as it was until it ends; others who write wait
//! while rows are replaced.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use mulgil_dataflow::batch::Batch;
use tokio_postgres::types::{ToSql, Type};

use super::session::{Session, Way};
use super::{PostgresTable, quoted, type_name};
use crate::conform::Conform;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::partition::{PartitionColumns, PartitionValues};
use crate::writer::{TableWriter, WriteSummary};

/// See the module.
pub(super) struct PostgresWriter {
    table: Arc<PostgresTable>,
    partitions: PartitionColumns,
    partitioned_by: Vec<String>,
    schema: SchemaRef,
}

/// Which rows go before the new ones come.
enum Replace {
    Nothing,
    Table,
    Partition(PartitionValues),
}

impl PostgresWriter {
    pub(super) fn new(table: PostgresTable, definition: &TableDefinition) -> Result<Self, ConnectError> {
        Ok(Self {
            schema: Arc::clone(&table.writable),
            table: Arc::new(table),
            partitions: PartitionColumns::new(definition)?,
            partitioned_by: definition.partitioned_by.clone(),
        })
    }

    async fn write(&self, rows: SendableRecordBatchStream, replace: Replace) -> Result<WriteSummary, ConnectError> {
        // What replaces must hold each key once: two rows of one key are a mistake to be told.
        let way = if matches!(replace, Replace::Nothing) { self.table.way() } else { Way::Add };
        let mut session = Session::open(Arc::clone(&self.table), way).await?;
        session.begin().await?;
        match &replace {
            Replace::Nothing => {}
            Replace::Table => {
                session.run(&session.target().lock()).await?;
                session.run(&session.target().delete("")).await?;
            }
            Replace::Partition(values) => {
                session.run(&session.target().lock()).await?;
                self.delete_partition(&session, values).await?;
            }
        }
        let conform = Conform::new(self.table.name.clone(), Arc::clone(&self.schema));
        let mut bytes = 0;
        let rows = rows.map_err(ConnectError::from).map(|batch| {
            let batch = conform.rows(&batch?)?;
            bytes += batch.get_array_memory_size() as u64;
            if let Replace::Partition(values) = &replace {
                self.partitions.check(&batch, values)?;
            }
            Ok(Batch::append(batch))
        });
        let rows = session.load(rows.boxed()).await?;
        session.commit().await?;
        Ok(WriteSummary { rows, bytes, ..WriteSummary::default() })
    }

    async fn delete_partition(&self, session: &Session, values: &PartitionValues) -> Result<(), ConnectError> {
        let mut conditions = Vec::with_capacity(values.len());
        for (number, name) in self.partitioned_by.iter().enumerate() {
            let data_type = type_name(self.schema.field_with_name(name)?).unwrap_or_default();
            conditions.push(format!("{} = ${}::text::{data_type}", quoted(name), number + 1));
        }
        let values = values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT));
        let statement = session.target().delete(&conditions.join(" AND "));
        session.ask(&statement, &values.collect::<Vec<_>>()).await.map(|_| ())
    }
}

#[async_trait]
impl TableWriter for PostgresWriter {
    async fn replace_partition(
        &self,
        partition: &[(String, String)],
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let values = self.partitions.parse(partition)?;
        self.write(rows, Replace::Partition(values)).await
    }

    async fn replace_table(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.write(rows, Replace::Table).await
    }

    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.write(rows, Replace::Nothing).await
    }
}
