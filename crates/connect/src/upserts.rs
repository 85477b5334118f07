//! The rows of a merge, while it is found out which rows of the table they take the place of. The rows are on disk, their
//! keys in memory. Of several rows of one key the last one counts.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};
use std::path::Path;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use futures::{Stream, StreamExt};

use crate::error::ConnectError;
use crate::key::MergeKey;

/// Rows that are to be merged.
pub(crate) struct Upserts {
    key: MergeKey,
    /// The number of the last row of each key.
    last: HashMap<Box<[u8]>, u64>,
    file: File,
}

impl Upserts {
    /// Reads all rows, which have the table's columns, into a file without a name in `folder`.
    pub(crate) async fn gather(
        key: MergeKey,
        schema: &SchemaRef,
        folder: &Path,
        rows: impl Stream<Item = Result<RecordBatch, ConnectError>> + Send,
    ) -> Result<Self, ConnectError> {
        let failed = |source| ConnectError::File { action: "write a file in", path: folder.to_owned(), source };
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        let mut writer = StreamWriter::try_new(BufWriter::new(file.try_clone().map_err(failed)?), schema)?;
        let mut last = HashMap::new();
        let mut number = 0;
        let mut rows = std::pin::pin!(rows);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            key.check(&batch)?;
            for row in &key.encode(&batch.project(key.indices())?)? {
                last.insert(Box::from(row.as_ref()), number);
                number += 1;
            }
            writer.write(&batch)?;
        }
        writer.finish()?;
        Ok(Self { key, last, file })
    }

    /// The key.
    pub(crate) fn key(&self) -> &MergeKey {
        &self.key
    }

    /// How many rows count: one a key.
    pub(crate) fn row_count(&self) -> u64 {
        self.last.len() as u64
    }

    /// Which rows of the table they take the place of, by the table's key columns.
    pub(crate) fn replaces(&self, keys: &RecordBatch) -> Result<BooleanArray, ConnectError> {
        let rows = self.key.encode(keys)?;
        Ok(rows.iter().map(|row| Some(self.last.contains_key(row.as_ref()))).collect())
    }

    /// The rows that count, in the order in which they came.
    pub(crate) fn rows(&self) -> Result<impl Iterator<Item = Result<RecordBatch, ConnectError>>, ConnectError> {
        let mut file = &self.file;
        file.rewind().map_err(|source| ConnectError::File { action: "read", path: "rows to merge".into(), source })?;
        let reader = StreamReader::try_new(BufReader::new(file), None)?;
        let mut number = 0_u64;
        Ok(reader.map(move |batch| {
            let batch = batch?;
            let keys = self.key.encode(&batch.project(self.key.indices())?)?;
            let counts =
                keys.iter().zip(number..).map(|(row, number)| Some(self.last.get(row.as_ref()) == Some(&number)));
            let counts: BooleanArray = counts.collect();
            number += batch.num_rows() as u64;
            Ok(filter_record_batch(&batch, &counts)?)
        }))
    }
}
