//! A table as the target of a batch write: one transaction. Readers see the table as it was until it ends; others who write wait
//! while rows are replaced.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use mulgil_dataflow::batch::Batch;
use tokio_postgres::types::{ToSql, Type};

use super::note::AppendNote;
use super::session::{Session, Way};
use super::{PostgresTable, quoted, type_name};
use crate::conform::Conform;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::key::MergeKey;
use crate::partition::{PartitionColumns, PartitionValues};
use crate::writer::{Append, TableWriter, WriteSummary};

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
        let check = |batch: &RecordBatch| match &replace {
            Replace::Partition(values) => self.partitions.check(batch, values),
            Replace::Nothing | Replace::Table => Ok(()),
        };
        let (rows, bytes) = self.load(&mut session, rows, check).await?;
        session.commit().await?;
        Ok(WriteSummary { rows, bytes, ..WriteSummary::default() })
    }

    /// Puts rows in, each in place of the one of the same key.
    async fn merge_by(&self, key: &[String], rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        let merge_key = MergeKey::new(&self.table.name, &self.schema, key)?;
        let table = Arc::new(PostgresTable { primary_key: key.to_vec(), ..(*self.table).clone() });
        let mut session = Session::open(table, Way::Merge).await?;
        session.begin().await?;
        let check = |batch: &RecordBatch| merge_key.check(batch);
        let (rows, bytes) = self.load(&mut session, rows, check).await?;
        session.commit().await?;
        Ok(WriteSummary { rows, bytes, ..WriteSummary::default() })
    }

    /// Adds rows once. Without a key a note says that they are in, which is written with them.
    async fn append_in_name(
        &self,
        append: &Append,
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        if self.table.way() == Way::Merge {
            return self.write(rows, Replace::Nothing).await;
        }
        let repeated = WriteSummary { is_repeated: true, ..WriteSummary::default() };
        let mut session = Session::open(Arc::clone(&self.table), Way::Add).await?;
        let note = AppendNote::new(&self.table, append);
        note.make_table(&session).await?;
        if note.is_there(&session).await? {
            return Ok(repeated);
        }
        session.begin().await?;
        let (rows, bytes) = self.load(&mut session, rows, |_| Ok(())).await?;
        // Last, so that an attempt that hangs holds up no other.
        if !note.write(&session).await? {
            return Ok(repeated);
        }
        session.commit().await?;
        Ok(WriteSummary { rows, bytes, ..WriteSummary::default() })
    }

    /// Puts rows into the transaction that is open: how many there are, and how large.
    async fn load(
        &self,
        session: &mut Session,
        rows: SendableRecordBatchStream,
        check: impl Fn(&RecordBatch) -> Result<(), ConnectError> + Send + Sync,
    ) -> Result<(u64, u64), ConnectError> {
        let conform = Conform::new(self.table.name.clone(), Arc::clone(&self.schema));
        let mut bytes = 0;
        let rows = rows.map_err(ConnectError::from).map(|batch| {
            let batch = conform.rows(&batch?)?;
            bytes += batch.get_array_memory_size() as u64;
            check(&batch)?;
            Ok(Batch::append(batch))
        });
        let rows = session.load(rows.boxed()).await?;
        Ok((rows, bytes))
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

    async fn merge(&self, key: &[String], rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.merge_by(key, rows).await
    }

    async fn append_once(
        &self,
        append: &Append,
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        self.append_in_name(append, rows).await
    }

    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.write(rows, Replace::Nothing).await
    }
}
