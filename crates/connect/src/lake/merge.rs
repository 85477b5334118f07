//! Merges rows into a lake table by key: files that hold rows of the same keys are written anew without them, the others stay.
//!
//! What is read and written rests on one version of the table. When another writer has made the next one meanwhile, the new
//! rows, which are kept, are merged again on top of it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, not};
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use super::data_file::{DataFile, Piece};
use super::schema::LakeSchema;
use super::stage::Stage;
use super::table::{Commit, Replace};
use super::version::{FileChange, History};
use super::writer::LakeWriter;
use crate::error::ConnectError;
use crate::key::MergeKey;
use crate::partition::PartitionValues;
use crate::upserts::Upserts;
use crate::writer::WriteSummary;

/// How often a merge begins again on top of what others have committed meanwhile.
const TRIES_MAX: usize = 100;
/// Batches on their way from a file.
const PIECES_WAITING_MAX: usize = 2;

/// One version of the table, and what goes into it.
struct Merge<'a> {
    writer: &'a LakeWriter,
    history: History,
    version: u64,
    upserts: &'a Upserts,
}

impl LakeWriter {
    /// Puts rows in, each in place of those of the same key.
    pub(super) async fn merge_by(
        &self,
        key: &[String],
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let stored = &self.schema.stored;
        let key = MergeKey::new(&self.schema.table, stored, key)?;
        self.table.for_writing(&self.schema).await?;
        let rows = rows.map_err(ConnectError::from).map(|batch| self.conform(&batch?, None));
        let upserts = Upserts::gather(key, stored, &self.table.path, rows).await?;
        // Merges of this process would only undo each other's work.
        let _turn = self.table.merging.lock().await;
        for _ in 0..TRIES_MAX {
            if let Some(summary) = self.try_merge(&upserts).await? {
                return Ok(summary);
            }
            tracing::debug!(table = %self.table.name, "another writer has committed; merging on top of it");
        }
        let reason = format!("other writers commit all the time; gave up after {TRIES_MAX} attempts");
        Err(ConnectError::Lake { table: self.schema.table.clone(), reason })
    }

    /// Merges into the latest version; `None` if there is a later one by now.
    async fn try_merge(&self, upserts: &Upserts) -> Result<Option<WriteSummary>, ConnectError> {
        let open = self.table.for_writing(&self.schema).await?;
        // What stays is written as it is stored, not as it is declared.
        let schema = LakeSchema { declared: Arc::clone(&self.schema.stored), ..(*self.schema).clone() };
        let history = History { table: self.table.clone(), schema: Arc::new(schema), takes_back: true };
        let version = history.latest().await?.unwrap_or_default();
        let files = history.as_of(version).await?.unwrap_or_default();
        let merge = Merge { writer: self, history, version, upserts };
        let partitions = merge.partitions()?;
        let mut stage = Stage::new(self.table.clone(), &open)?;
        let (mut paths, mut kept) = (HashSet::new(), Vec::new());
        for file in files {
            if !merge.may_hold(&file, partitions.as_ref()) || !merge.is_touched(&file).await? {
                continue;
            }
            match &file.append {
                None => merge.keep_rest(&file, &mut stage).await?,
                // What is left of an append can still be told by its name.
                Some(append) => {
                    let mut own = Stage::new(self.table.clone(), &open)?.in_name_of(append);
                    merge.keep_rest(&file, &mut own).await?;
                    kept.extend(own.close().await?.0);
                }
            }
            paths.insert(file.path);
        }
        for batch in upserts.rows()? {
            stage.write(batch?).await?;
        }
        let (mut adds, summary) = stage.close().await?;
        adds.extend(kept);
        let replace = Replace::Files { version, paths };
        let committed = self.table.commit(&self.schema, Commit { adds, replace, epoch: None }).await?;
        Ok(committed.map(|version| WriteSummary { rows: upserts.row_count(), version: Some(version), ..summary }))
    }
}

impl Merge<'_> {
    /// The partitions of the new rows, where the key tells them: rows of the same key are in no other.
    fn partitions(&self) -> Result<Option<HashSet<PartitionValues>>, ConnectError> {
        let columns = &self.history.schema.partitioned_by;
        if columns.is_empty() || !self.upserts.key().holds(columns) {
            return Ok(None);
        }
        let mut partitions = HashSet::new();
        for batch in self.upserts.rows()? {
            partitions.extend(self.writer.partitions.split(&batch?)?.into_iter().map(|(values, _)| values));
        }
        Ok(Some(partitions))
    }

    fn may_hold(&self, file: &FileChange, partitions: Option<&HashSet<PartitionValues>>) -> bool {
        let columns = &self.history.schema.partitioned_by;
        let value = |column: &String| file.values.get(column).cloned().flatten();
        partitions.is_none_or(|partitions| partitions.contains(&columns.iter().map(value).collect::<Vec<_>>()))
    }

    /// Whether a file holds rows of the keys that come. Only its key columns are read.
    async fn is_touched(&self, file: &FileChange) -> Result<bool, ConnectError> {
        let mut pieces = self.read(file, self.upserts.key().indices())?;
        while let Some(piece) = pieces.recv().await {
            if self.upserts.replaces(&piece?.0)?.true_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the rows of a file that stay.
    async fn keep_rest(&self, file: &FileChange, stage: &mut Stage) -> Result<(), ConnectError> {
        let all: Vec<usize> = (0..self.history.schema.stored.fields().len()).collect();
        let mut pieces = self.read(file, &all)?;
        while let Some(piece) = pieces.recv().await {
            let rest = self.rest(&piece?.0)?;
            if rest.num_rows() > 0 {
                stage.write(rest).await?;
            }
        }
        Ok(())
    }

    fn rest(&self, rows: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        let goes = self.upserts.replaces(&rows.project(self.upserts.key().indices())?)?;
        Ok(filter_record_batch(rows, &not(&goes)?)?)
    }

    fn read(&self, file: &FileChange, projection: &[usize]) -> Result<mpsc::Receiver<Piece>, ConnectError> {
        let file = DataFile::new(&self.history, self.version, file, projection)?;
        let (pieces, read) = mpsc::channel(PIECES_WAITING_MAX);
        tokio::task::spawn_blocking(move || file.read(0, 0, &pieces));
        Ok(read)
    }
}
