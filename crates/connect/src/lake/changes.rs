//! What is added to a lake table, version by version: `'scan.startup.version' = '7'` reads what version 7 and each later one
//! has added, and goes on for ever. A version that takes rows out (an overwrite, a delete) stops the reader: it has no rows to give back.
//!
//! A position is a version and how many of its rows were read: files of a version are read in the order of its commit.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use deltalake_core::kernel::{Action, Add};
use deltalake_core::logstore::get_actions;
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::failure::failure;
use super::schema::LakeSchema;
use super::table::LakeTable;
use crate::error::ConnectError;
use crate::filesystem::partition_array;
use crate::format::parquet::ParquetReader;
use crate::source::{PartitionReader, Position, Read};

/// Bits of a position that count rows.
const ROW_BITS: u32 = 32;
/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Batches read ahead.
const BATCHES_AHEAD: usize = 2;

/// Reads versions.
pub(super) struct ChangesReader {
    table: LakeTable,
    schema: Arc<LakeSchema>,
    projection: Vec<usize>,
    follow: bool,
    interval: Duration,
    /// The version that is read, or waited for.
    version: u64,
    /// Its files that are left, once its commit is there.
    files: Option<VecDeque<Add>>,
    batches: Option<mpsc::Receiver<Result<RecordBatch, ConnectError>>>,
    /// Rows of the version that were read, and how many more of them were read before.
    rows: u64,
    known: u64,
    /// When the table is looked at again.
    due: Instant,
}

impl ChangesReader {
    /// From the version `first` on, or from a position.
    pub(super) fn new(
        (table, schema): (LakeTable, Arc<LakeSchema>),
        (first, interval): (u64, Duration),
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Self {
        let version = if from == 0 { first } else { from >> ROW_BITS };
        Self {
            table,
            schema,
            projection: projection.to_vec(),
            follow,
            interval,
            version,
            files: None,
            batches: None,
            rows: 0,
            known: from & ((1 << ROW_BITS) - 1),
            due: Instant::now(),
        }
    }

    fn refusal(&self, reason: String) -> ConnectError {
        ConnectError::Lake { table: self.table.name.to_string(), reason }
    }

    /// The files that the version has added; `None` while there is no such version.
    async fn look(&mut self) -> Result<Option<VecDeque<Add>>, ConnectError> {
        self.due = Instant::now() + self.interval;
        let Some(latest) = self.table.latest(&self.schema).await? else { return Ok(None) };
        if self.version > latest.snapshot.version() {
            return Ok(None);
        }
        let failed = |error| failure(&self.table.name, &self.table.path, "read a commit", &error);
        let Some(commit) = latest.log_store.read_commit_entry(self.version).await.map_err(failed)? else {
            return Err(self.refusal(format!(
                "the commit of version {} is gone: old ones are removed after a time; start from a later version",
                self.version
            )));
        };
        let mut files = VecDeque::new();
        for action in get_actions(self.version, &commit).map_err(failed)? {
            match action {
                Action::Add(add) if add.deletion_vector.is_some() => {
                    return Err(
                        self.refusal(format!("version {} has deletion vectors, which are not read", self.version))
                    );
                }
                Action::Add(add) if add.data_change => files.push_back(add),
                Action::Remove(remove) if remove.data_change => {
                    return Err(self.refusal(format!(
                        "version {} takes rows out, and what is read of a table since a version are additions; read it as a whole, or \
                         from version {} on",
                        self.version,
                        self.version + 1
                    )));
                }
                _ => {}
            }
        }
        Ok(Some(files))
    }

    /// Starts to read a file.
    fn open(&self, add: Add) -> Result<mpsc::Receiver<Result<RecordBatch, ConnectError>>, ConnectError> {
        let plan = Plan::new(self, &add)?;
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = plan.read(&sender) {
                // Nobody to tell means that nobody reads any more.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(batches)
    }
}

/// How the wanted columns come from a file.
struct Plan {
    path: PathBuf,
    /// All columns that are in files, and the wanted ones of them.
    stored: Schema,
    wanted: Arc<Schema>,
    /// Each wanted column of the table: the one of the file, or the partition's value.
    columns: Vec<Result<usize, ArrayRef>>,
    schema: Arc<Schema>,
}

impl Plan {
    fn new(reader: &ChangesReader, add: &Add) -> Result<Self, ConnectError> {
        let declared = &reader.schema.declared;
        let path = reader.table.path.join(percent_decode_str(&add.path).decode_utf8_lossy().as_ref());
        let is_stored = |name: &String| !reader.schema.partitioned_by.contains(name);
        let stored: Vec<_> = declared.fields().iter().filter(|field| is_stored(field.name())).cloned().collect();
        let schema = Arc::new(declared.project(&reader.projection)?);
        let mut wanted = Vec::new();
        let mut columns = Vec::new();
        for field in schema.fields() {
            columns.push(if is_stored(field.name()) {
                wanted.push(Arc::clone(field));
                Ok(wanted.len() - 1)
            } else {
                let value = add.partition_values.get(field.name()).cloned().flatten();
                Err(partition_array(value.as_deref(), field, &path)?)
            });
        }
        Ok(Self { path, stored: Schema::new(stored), wanted: Arc::new(Schema::new(wanted)), columns, schema })
    }

    fn read(&self, batches: &mpsc::Sender<Result<RecordBatch, ConnectError>>) -> Result<(), ConnectError> {
        let failed = |(_, reason)| ConnectError::Path { path: self.path.clone(), reason };
        let open = |source| ConnectError::File { action: "open", path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(open)?;
        let mut reader =
            ParquetReader::new(file, &self.stored, Arc::clone(&self.wanted), 0, BATCH_ROWS).map_err(failed)?;
        while let Some(chunk) = reader.next().map_err(failed)? {
            if let Some(bad) = chunk.bad.into_iter().next() {
                return Err(failed((0, bad.reason)));
            }
            if batches.blocking_send(Ok(self.complete(&chunk.rows)?)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Puts the partition's values beside the columns of the file.
    fn complete(&self, rows: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(match column {
                Ok(index) => Arc::clone(rows.column(*index)),
                Err(value) => take(value, &UInt32Array::from(vec![0; rows.num_rows()]), None)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

#[async_trait]
impl PartitionReader for ChangesReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if let Some(batches) = &mut self.batches {
                let Some(batch) = batches.recv().await else {
                    self.batches = None;
                    continue;
                };
                let batch = batch?;
                let count = batch.num_rows();
                let known = usize::try_from(self.known).unwrap_or(usize::MAX).min(count);
                self.known -= known as u64;
                self.rows += count as u64;
                if known < count {
                    let position = (self.version << ROW_BITS) | self.rows;
                    return Ok(Read::Rows(batch.slice(known, count - known), position));
                }
                continue;
            }
            if let Some(files) = &mut self.files {
                match files.pop_front() {
                    Some(add) => self.batches = Some(self.open(add)?),
                    None => {
                        (self.files, self.rows, self.known) = (None, 0, 0);
                        self.version += 1;
                        // The next version may be there already.
                        self.due = Instant::now();
                    }
                }
                continue;
            }
            tokio::time::sleep_until(self.due).await;
            self.files = self.look().await?;
            if self.files.is_none() && !self.follow {
                return Ok(Read::End);
            }
        }
    }
}
