//! What changes in a lake table, version by version: a stream that goes on for ever.
//!
//! `'scan.startup.version' = '7'` reads what version 7 and each later one has added; a version that takes rows out (an overwrite, a
//! delete) stops it. With `'scan.changelog-mode' = 'all'` the table is a changelog: it is given as it was at version 7, and then each
//! later version takes back the rows of the files that it takes out, and gives those of the files that it puts in. What has been read
//! then adds up to the table, whatever was done to it.
//!
//! A position is a version and how many of its rows were read: its files are read in one order, whenever that is. At the end of a version
//! the position is the next one's beginning, so that nothing of what has been read is needed any more: it may be cleaned up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt8Array};
use async_trait::async_trait;
use mulgil_dataflow::batch::{Batch, RowKind};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::data_file::{DataFile, Piece};
use super::schema::LakeSchema;
use super::table::LakeTable;
use super::version::{FileChange, History};
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Read};

/// Bits of a position that count rows.
const ROW_BITS: u32 = 32;
/// The bit of a position that says that it is in the table as of the version, not in what the version changes.
const WHOLE: Position = 1 << 63;
/// Batches read ahead.
const BATCHES_AHEAD: usize = 2;

/// From where on changes are read, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// The version; `None` is the latest when reading begins, which needs `takes_back`.
    pub(super) version: Option<u64>,
    /// How often new versions are looked for.
    pub(super) interval: Duration,
    /// Whether rows are also taken back: what is read is a changelog.
    pub(super) takes_back: bool,
}

/// What is read, or waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// The table as it is now.
    Now,
    /// The table as of a version.
    Whole(u64),
    /// What a version changes.
    Version(u64),
}

impl At {
    fn of(position: Position) -> Self {
        let version = (position & !WHOLE) >> ROW_BITS;
        if position & WHOLE == 0 { Self::Version(version) } else { Self::Whole(version) }
    }

    /// The position behind so many rows.
    fn position(self, rows: u64) -> Position {
        match self {
            Self::Now => 0,
            Self::Whole(version) => WHOLE | (version << ROW_BITS) | rows,
            Self::Version(version) => (version << ROW_BITS) | rows,
        }
    }

    fn version(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Whole(version) | Self::Version(version) => version,
        }
    }
}

/// Reads versions.
pub(super) struct ChangesReader {
    history: History,
    projection: Vec<usize>,
    follow: bool,
    interval: Duration,
    at: At,
    /// The files that are left of it, once it is there.
    files: Option<VecDeque<FileChange>>,
    pieces: Option<mpsc::Receiver<Piece>>,
    /// Whether the rows of the file that is read are taken back.
    is_removed: bool,
    /// Rows passed, and how many of the first were read before.
    rows: u64,
    known: u64,
    /// When the table is looked at again.
    due: Instant,
}

impl ChangesReader {
    /// From where the table's options say, or from a position.
    pub(super) fn new(
        (table, schema): (LakeTable, Arc<LakeSchema>),
        since: Since,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Self {
        let at = match since.version {
            _ if from != 0 => At::of(from),
            None => At::Now,
            Some(version) if since.takes_back => At::Whole(version),
            Some(version) => At::Version(version),
        };
        Self {
            history: History { table, schema, takes_back: since.takes_back },
            projection: projection.to_vec(),
            follow,
            interval: since.interval,
            at,
            files: None,
            pieces: None,
            is_removed: false,
            rows: 0,
            known: from & ((1 << ROW_BITS) - 1),
            due: Instant::now(),
        }
    }

    /// Looks for the files of what comes next.
    async fn look(&mut self) -> Result<(), ConnectError> {
        self.due = Instant::now() + self.interval;
        self.files = match self.at {
            At::Now => match self.history.latest().await? {
                Some(version) => {
                    let files = self.history.as_of(version).await?;
                    self.at = At::Whole(version);
                    files
                }
                None => None,
            },
            At::Whole(version) => self.history.as_of(version).await?,
            At::Version(version) => self.history.changed_by(version).await?,
        };
        Ok(())
    }

    /// Starts to read a file.
    fn open(&mut self, file: &FileChange) -> Result<(), ConnectError> {
        let (sender, pieces) = mpsc::channel(BATCHES_AHEAD);
        let data = DataFile::new(&self.history, self.at.version(), file, &self.projection)?;
        let (rows, known) = (self.rows, self.known);
        tokio::task::spawn_blocking(move || data.read(rows, known, &sender));
        (self.pieces, self.is_removed) = (Some(pieces), file.is_removed);
        Ok(())
    }

    /// All of a version has been read.
    fn go_on(&mut self) -> Result<Read, ConnectError> {
        self.at = At::Version(self.at.version() + 1);
        (self.files, self.rows, self.known) = (None, 0, 0);
        // The next version may be there already.
        self.due = Instant::now();
        let nothing = self.history.schema.declared.project(&self.projection)?;
        Ok(self.read(RecordBatch::new_empty(Arc::new(nothing))))
    }

    fn read(&self, rows: RecordBatch) -> Read {
        let position = self.at.position(self.rows);
        if !self.history.takes_back {
            return Read::Rows(rows, position);
        }
        let kinds = self.is_removed.then(|| UInt8Array::from_value(RowKind::Delete as u8, rows.num_rows()));
        Read::Changes(Batch { rows, kinds }, position)
    }
}

#[async_trait]
impl PartitionReader for ChangesReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if let Some(pieces) = &mut self.pieces {
                let Some(piece) = pieces.recv().await else {
                    self.pieces = None;
                    continue;
                };
                let (batch, rows) = piece?;
                if rows >> ROW_BITS > 0 {
                    let reason = format!("it changes more than {} rows, which no position tells apart", u32::MAX);
                    return Err(self.history.refusal(self.at.version(), reason));
                }
                self.rows = rows;
                if batch.num_rows() > 0 {
                    return Ok(self.read(batch));
                }
                continue;
            }
            if let Some(files) = &mut self.files {
                match files.pop_front() {
                    Some(file) => self.open(&file)?,
                    None => return self.go_on(),
                }
                continue;
            }
            tokio::time::sleep_until(self.due).await;
            self.look().await?;
            if self.files.is_none() && !self.follow {
                return Ok(Read::End);
            }
        }
    }
}
