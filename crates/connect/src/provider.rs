//! A [`Source`] as a table of DataFusion: what is there now, read partition by partition, wanted columns only.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use crate::error::ConnectError;
use crate::fold::Fold;
use crate::source::{PartitionReader, Read, Source};

/// Rows of a batch that is not a source's own.
const BATCH_ROWS: usize = 8192;

/// Any source, read up to now.
pub(crate) struct SourceProvider {
    source: Arc<dyn Source>,
}

impl SourceProvider {
    /// The table behind `source`.
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { source }
    }
}

impl fmt::Debug for SourceProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceProvider").field("schema", &self.source.schema()).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SourceProvider {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        scan(Arc::clone(&self.source), state, projection, limit).await
    }
}

/// A plan that reads a source up to now. Many partitions are read one after the other by as few streams as the session
/// has cores for.
pub(crate) async fn scan(
    source: Arc<dyn Source>,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let table_schema = source.schema();
    let projection: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..table_schema.fields().len()).collect());
    let schema = Arc::new(table_schema.project(&projection)?);
    let partitions = source.partitions().await?.len();
    // Changes add up over all partitions.
    let streams = if source.has_changes() { 1 } else { partitions.min(state.config().target_partitions()).max(1) };
    let chains = (0..streams).map(|stream| {
        let (first, end) = (stream * partitions / streams, (stream + 1) * partitions / streams);
        let chain = Chain {
            source: Arc::clone(&source),
            partitions: (first..end).collect(),
            projection: projection.clone(),
            schema: Arc::clone(&schema),
        };
        Arc::new(chain) as Arc<dyn PartitionStream>
    });
    let chains = chains.collect();
    Ok(Arc::new(StreamingTableExec::try_new(schema, chains, None, [], false, limit)?))
}

/// Partitions of a source, one after the other.
struct Chain {
    source: Arc<dyn Source>,
    partitions: VecDeque<usize>,
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

impl PartitionStream for Chain {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let cursor = Cursor {
            source: Arc::clone(&self.source),
            rest: self.partitions.clone(),
            projection: self.projection.clone(),
            reader: None,
            fold: Fold::new(Arc::clone(&self.schema)),
        };
        let batches = futures::stream::try_unfold(cursor, |mut cursor| async move {
            let batch = cursor.next().await.map_err(DataFusionError::from)?;
            Ok(batch.map(|batch| (batch, cursor)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

struct Cursor {
    source: Arc<dyn Source>,
    rest: VecDeque<usize>,
    projection: Vec<usize>,
    reader: Option<Box<dyn PartitionReader>>,
    /// What changes have come to.
    fold: Fold,
}

impl Cursor {
    async fn next(&mut self) -> std::result::Result<Option<RecordBatch>, ConnectError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(partition) = self.rest.pop_front() else { return Ok(self.fold.take(BATCH_ROWS)?) };
                self.reader = Some(self.source.open(partition, 0, &self.projection, false).await?);
                continue;
            };
            match reader.next().await? {
                Read::Rows(rows, _) => return Ok(Some(rows)),
                Read::Changes(batch, _) => self.fold.add(&batch)?,
                Read::Idle => {}
                Read::End => self.reader = None,
            }
        }
    }
}
