//! New files of a table: Parquet, one folder a partition, not part of the table until a commit says so.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use deltalake_core::kernel::Add;
use deltalake_core::writer::{DeltaWriter, RecordBatchWriter};
use deltalake_core::{DeltaTable, DeltaTableError};

use super::failure::failure;
use super::table::{Appended, LakeTable};
use crate::error::ConnectError;
use crate::writer::WriteSummary;

/// A file is closed, and a new one begun, when it has grown to this.
const FILE_BYTES: u64 = 128 << 20;

/// Files being written.
pub(super) struct Stage {
    table: LakeTable,
    writer: RecordBatchWriter,
    rows: u64,
    /// The append that puts them in.
    append: Option<String>,
}

impl Stage {
    /// No files yet.
    pub(super) fn new(table: LakeTable, open: &DeltaTable) -> Result<Self, ConnectError> {
        let writer = RecordBatchWriter::for_table(open);
        let writer = writer.map_err(|error| failure(&table.name, &table.path, "write", &error))?;
        Ok(Self { table, writer: writer.with_target_file_size(FILE_BYTES), rows: 0, append: None })
    }

    /// The files say which append has put them in.
    pub(super) fn in_name_of(self, append: &str) -> Self {
        Self { append: Some(append.to_owned()), ..self }
    }

    /// Writes rows, which have the stored columns.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<(), ConnectError> {
        self.rows += rows.num_rows() as u64;
        if let Err(error) = self.writer.write(rows).await {
            self.writer.reset();
            return Err(self.failure(&error));
        }
        Ok(())
    }

    /// Closes the files: they are on disk, and what a commit has to say about them.
    pub(super) async fn close(mut self) -> Result<(Vec<Add>, WriteSummary), ConnectError> {
        let mut adds = match self.writer.flush().await {
            Ok(adds) => adds,
            Err(error) => return Err(self.failure(&error)),
        };
        for add in &mut adds {
            let tag = self.append.clone().map(|append| (Appended::TAG.to_owned(), Some(append)));
            add.tags = tag.map(|tag| HashMap::from([tag]));
        }
        let bytes = adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum();
        let summary = WriteSummary { rows: self.rows, files: adds.len() as u64, bytes, ..WriteSummary::default() };
        Ok((adds, summary))
    }

    fn failure(&self, error: &DeltaTableError) -> ConnectError {
        failure(&self.table.name, &self.table.path, "write", error)
    }
}
