//! One Parquet file of a lake table, read as rows of the table: its partition's values stand beside the columns that are in it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::Schema;
use tokio::sync::mpsc;

use super::version::{AGAIN, FileChange, History};
use crate::error::ConnectError;
use crate::filesystem::partition_array;
use crate::format::parquet::ParquetReader;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// Rows, and how many rows of the version have been passed behind them.
pub(super) type Piece = Result<(RecordBatch, u64), ConnectError>;

/// How the wanted columns come from a file.
pub(super) struct DataFile {
    path: PathBuf,
    /// All columns that are in files, and the wanted ones of them.
    stored: Schema,
    wanted: Arc<Schema>,
    /// Each wanted column of the table: the one of the file, or the partition's value.
    columns: Vec<Result<usize, ArrayRef>>,
    schema: Arc<Schema>,
    /// What to say when the file is not there.
    gone: ConnectError,
}

impl DataFile {
    /// The columns `projection` of a file that `version` changes.
    pub(super) fn new(
        history: &History,
        version: u64,
        file: &FileChange,
        projection: &[usize],
    ) -> Result<Self, ConnectError> {
        let (declared, partitioned_by) = (&history.schema.declared, &history.schema.partitioned_by);
        let path = history.table.path.join(&file.path);
        let is_stored = |name: &String| !partitioned_by.contains(name);
        let stored: Vec<_> = declared.fields().iter().filter(|field| is_stored(field.name())).cloned().collect();
        let schema = Arc::new(declared.project(projection)?);
        let mut wanted = Vec::new();
        let mut columns = Vec::new();
        for field in schema.fields() {
            columns.push(if is_stored(field.name()) {
                wanted.push(Arc::clone(field));
                Ok(wanted.len() - 1)
            } else {
                let value = file.values.get(field.name()).cloned().flatten();
                Err(partition_array(value.as_deref(), field, &path)?)
            });
        }
        let whose = if file.is_removed { "takes out" } else { "has" };
        let gone =
            format!("file {}, which it {whose}, is not there any more (VACUUM removes old ones). {AGAIN}", file.path);
        let gone = history.refusal(version, gone);
        Ok(Self { path, stored: Schema::new(stored), wanted: Arc::new(Schema::new(wanted)), columns, schema, gone })
    }

    /// Reads the file, before which `passed` rows of its version have been passed; rows up to number `known` are not wanted.
    pub(super) fn read(self, passed: u64, known: u64, pieces: &mpsc::Sender<Piece>) {
        if let Err(error) = self.read_all(passed, known, pieces) {
            // Nobody to tell means that nobody reads any more.
            let _ = pieces.blocking_send(Err(error));
        }
    }

    fn read_all(self, passed: u64, known: u64, pieces: &mpsc::Sender<Piece>) -> Result<(), ConnectError> {
        let path = self.path.clone();
        let failed = |(_, reason)| ConnectError::Path { path: path.clone(), reason };
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.gone),
            opened => opened.map_err(|source| ConnectError::File { action: "open", path: path.clone(), source })?,
        };
        let from = known.saturating_sub(passed);
        let wanted = Arc::clone(&self.wanted);
        let mut reader = ParquetReader::new(file, &self.stored, wanted, from, BATCH_ROWS).map_err(failed)?;
        let mut passed = passed + from.min(reader.rows_in_file());
        if from > 0 && pieces.blocking_send(Ok((RecordBatch::new_empty(Arc::clone(&self.schema)), passed))).is_err() {
            return Ok(());
        }
        while let Some(chunk) = reader.next().map_err(failed)? {
            if let Some(bad) = chunk.bad.into_iter().next() {
                return Err(failed((0, bad.reason)));
            }
            passed += chunk.records;
            if pieces.blocking_send(Ok((self.complete(&chunk.rows)?, passed))).is_err() {
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
