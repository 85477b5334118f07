//! A lake table as it was at a version: a bounded input of one partition, whose rows come in the order in which their files
//! were written. A position counts rows; at the end it is [`READ_TO_END`], and the version is needed no more.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::mpsc;

use super::data_file::{DataFile, Piece};
use super::schema::LakeSchema;
use super::table::LakeTable;
use super::version::{FileChange, History};
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Progress, READ_TO_END, Read, Source};
use crate::wait::Waits;

/// Batches read ahead.
const BATCHES_AHEAD: usize = 2;

/// What to do when the version is gone.
const AGAIN: &str =
    "Begin again with the archive as it is now (`mulgil view replay NAME`), or without it (`--from TIME`)";

/// The name of the one partition that a table has as it was at a version.
pub fn partition_at(table: &str, version: u64) -> String {
    format!("{table} version {version}")
}

/// A version of a table that is read.
pub(super) struct PastSource {
    history: Arc<History>,
    version: u64,
}

impl PastSource {
    /// The rows of `table` at `version`.
    pub(super) fn new(table: LakeTable, schema: Arc<LakeSchema>, version: u64) -> Self {
        Self { history: Arc::new(History { table, schema, takes_back: false }), version }
    }
}

#[async_trait]
impl Source for PastSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.history.schema.declared)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec![partition_at(&self.history.table.name, self.version)])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let progress = Arc::new(Progress::new(Waits::default()));
        Ok(Box::new(PastReader {
            history: Arc::clone(&self.history),
            version: self.version,
            projection: projection.to_vec(),
            files: None,
            pieces: None,
            position: if from == READ_TO_END { from } else { 0 },
            from,
            rows: None,
            progress,
        }))
    }
}

struct PastReader {
    history: Arc<History>,
    version: u64,
    projection: Vec<usize>,
    /// The files that are left, once they are known.
    files: Option<VecDeque<FileChange>>,
    /// The file that is read.
    pieces: Option<mpsc::Receiver<Piece>>,
    /// Rows passed.
    position: Position,
    /// Rows before this one have been read before.
    from: Position,
    /// How many there are, where all files say.
    rows: Option<u64>,
    progress: Arc<Progress>,
}

impl PastReader {
    /// Looks for the files.
    async fn look(&mut self) -> Result<VecDeque<FileChange>, ConnectError> {
        let files = self.history.written_by(self.version, AGAIN).await?;
        let missing = || self.history.refusal(self.version, format!("there is no such version. {AGAIN}"));
        let files = files.ok_or_else(missing)?;
        self.rows = files.iter().map(|file| file.rows).sum();
        Ok(files.into_iter().map(|file| file.change).collect())
    }

    /// Starts to read a file.
    fn open(&mut self, file: &FileChange) -> Result<(), ConnectError> {
        let (sender, pieces) = mpsc::channel(BATCHES_AHEAD);
        let data = DataFile::new(&self.history, self.version, file, &self.projection)?;
        let (passed, known) = (self.position, self.from);
        tokio::task::spawn_blocking(move || data.read(passed, known, &sender));
        self.pieces = Some(pieces);
        Ok(())
    }

    fn read(&mut self, rows: RecordBatch, position: Position) -> Read {
        self.position = position;
        if let Some(all) = self.rows {
            self.progress.set_lag(all.saturating_sub(position));
        }
        Read::Rows(rows, position)
    }
}

#[async_trait]
impl PartitionReader for PastReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if self.position == READ_TO_END {
                return Ok(Read::End);
            }
            if let Some(pieces) = &mut self.pieces {
                let Some(piece) = pieces.recv().await else {
                    self.pieces = None;
                    continue;
                };
                let (batch, passed) = piece?;
                if batch.num_rows() > 0 {
                    return Ok(self.read(batch, passed));
                }
                self.position = passed;
                continue;
            }
            let mut files = match self.files.take() {
                Some(files) => files,
                None => self.look().await?,
            };
            let file = files.pop_front();
            self.files = Some(files);
            match file {
                Some(file) => self.open(&file)?,
                None => {
                    let nothing = Arc::new(self.history.schema.declared.project(&self.projection)?);
                    return Ok(self.read(RecordBatch::new_empty(nothing), READ_TO_END));
                }
            }
        }
    }

    fn progress(&self) -> Option<Arc<Progress>> {
        Some(Arc::clone(&self.progress))
    }
}
