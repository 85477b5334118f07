//! End-to-end exactly once for systems that take an epoch as one transaction: what a job writes between two checkpoints is
//! spooled to local files, which the checkpoint names; once the checkpoint is durable, they are applied as one epoch,
//! together with a note of it.
//!
//! A crash before the checkpoint is durable leaves files that nobody names: they are removed, and the rows are computed
//! again. A crash after it finds the files named by the checkpoint: they are applied, unless the system says by its note
//! that they are in already. So nothing is lost and nothing comes twice, with no more asked of the system than a
//! transaction.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use async_trait::async_trait;
use futures::StreamExt;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Delivery, Sink, SinkWriter};
use mulgil_connect::transaction::Transaction;
use mulgil_connect::wait::Waits;
use mulgil_dataflow::batch::{Batch, RowKind};

use crate::crash;

/// How a spool file ends.
pub(crate) const SPOOL: &str = "spool";

/// A sink whose rows go into a system epoch by epoch.
pub(crate) struct SpooledSink {
    /// The sink itself: it says what it takes.
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) transaction: Arc<dyn Transaction>,
    /// The job's name, by which the system knows its epochs.
    pub(crate) pipeline: String,
    /// Where the files are: the folder of the job's checkpoints.
    pub(crate) folder: PathBuf,
    /// The table, as a name for files.
    pub(crate) table: String,
    /// What the sink waits for, and what is waited for here.
    pub(crate) waits: Waits,
}

impl SpooledSink {
    fn failed(&self, reason: &impl ToString) -> ConnectError {
        ConnectError::Definition { table: self.table.clone(), reason: reason.to_string() }
    }

    /// Applies an epoch. A system that is away is waited for, and then says itself whether the epoch is in.
    async fn apply(&self, number: u64, staged: &[String]) -> Result<(), ConnectError> {
        let mut wait = self.waits.wait();
        loop {
            let paths: Vec<PathBuf> = staged.iter().map(|name| self.folder.join(name)).collect();
            let rows = futures::stream::iter(paths.into_iter().flat_map(SpoolRows::new)).boxed();
            let Err(error) = self.transaction.apply(&self.pipeline, number, rows).await else { break };
            wait.again(error).await?;
            if self.transaction.last_epoch(&self.pipeline).await? == Some(number) {
                break;
            }
        }
        wait.over(&self.table);
        Ok(())
    }

    /// Removes files that no checkpoint names: what they hold is computed again.
    fn remove_all(&self) -> Result<(), ConnectError> {
        let mine = format!("{}-", file_name(&self.table));
        for entry in fs::read_dir(&self.folder).map_err(|error| self.failed(&error))? {
            let path = entry.map_err(|error| self.failed(&error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_spool = path.extension().is_some_and(|end| end == SPOOL) && name.starts_with(&mine);
            if is_spool {
                fs::remove_file(&path).map_err(|error| self.failed(&error))?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for SpooledSink {
    fn accepts_changes(&self) -> bool {
        self.sink.accepts_changes()
    }

    fn delivery(&self) -> Delivery {
        if self.transaction.remembers_epochs() { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce }
    }

    fn waits(&self) -> Option<Waits> {
        Some(self.waits.clone())
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let prefix = format!("{}-{subtask}", file_name(&self.table));
        Ok(Box::new(SpoolWriter { folder: self.folder.clone(), prefix, file_count: 0, open: None }))
    }

    async fn begin(&self, _job: &str, last: Option<(u64, &[String])>) -> Result<(), ConnectError> {
        let (number, staged) = last.unwrap_or_default();
        self.publish(number, staged).await?;
        self.remove_all()
    }

    async fn publish(&self, number: u64, staged: &[String]) -> Result<(), ConnectError> {
        let last = self.transaction.last_epoch(&self.pipeline).await?;
        let is_in = if self.transaction.remembers_epochs() {
            last == Some(number)
        } else {
            // Files are removed when what they hold has been taken.
            staged.iter().any(|name| !self.folder.join(name).exists())
        };
        if let Some(last) = last.filter(|last| *last > number) {
            return Err(self.failed(&format!(
                "it has the rows of checkpoint {last} of {}, but this is checkpoint {number}: going on would write rows \
                 twice; empty the table and forget its epochs, or write to another",
                self.pipeline
            )));
        }
        if !staged.is_empty() && !is_in {
            crash::point("before the sink's commit");
            self.apply(number, staged).await?;
            crash::point("after the sink's commit");
        }
        for name in staged {
            // One that stays is removed at the next start.
            let _ = fs::remove_file(self.folder.join(name));
        }
        Ok(())
    }
}

/// Whether that is the name of a spool file.
pub(crate) fn is_spool(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == SPOOL)
}

/// Letters and digits of a table's name.
pub(crate) fn file_name(table: &str) -> String {
    table.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '.' }).collect()
}

struct SpoolWriter {
    folder: PathBuf,
    prefix: String,
    file_count: u64,
    open: Option<Spool>,
}

/// A file that is being written.
struct Spool {
    name: String,
    schema: SchemaRef,
    stream: StreamWriter<BufWriter<File>>,
}

impl SpoolWriter {
    fn open(&mut self, rows: &RecordBatch) -> Result<&mut Spool, ConnectError> {
        if self.open.is_none() {
            // Unlike that of any file of an earlier run: its process has another time and number.
            let name = format!(
                "{}-{}-{}-{}.{SPOOL}",
                self.prefix,
                crate::clock::now_ms(),
                std::process::id(),
                self.file_count
            );
            self.file_count += 1;
            let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
            fields.push(Arc::new(Field::new("kind", DataType::UInt8, false)));
            let schema = Arc::new(Schema::new(fields));
            let path = self.folder.join(&name);
            let file = File::create(&path).map_err(|source| ConnectError::File { action: "create", path, source })?;
            let stream = StreamWriter::try_new(BufWriter::with_capacity(1 << 18, file), &schema)?;
            self.open = Some(Spool { name, schema, stream });
        }
        self.open.as_mut().ok_or_else(|| ConnectError::Definition {
            table: self.prefix.clone(),
            reason: "its spool is not open; this is a defect, please report it".to_owned(),
        })
    }
}

#[async_trait]
impl SinkWriter for SpoolWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let spool = self.open(&batch.rows)?;
        let kinds = batch.kinds.unwrap_or_else(|| UInt8Array::from_value(RowKind::Insert as u8, batch.rows.num_rows()));
        let mut columns = batch.rows.columns().to_vec();
        columns.push(Arc::new(kinds) as ArrayRef);
        spool.stream.write(&RecordBatch::try_new(Arc::clone(&spool.schema), columns)?)?;
        Ok(())
    }

    async fn seal(&mut self, _number: u64) -> Result<Vec<String>, ConnectError> {
        let Some(spool) = self.open.take() else { return Ok(Vec::new()) };
        let path = self.folder.join(&spool.name);
        let synced = tokio::task::spawn_blocking(move || {
            let mut stream = spool.stream;
            stream.finish()?;
            let file = stream.into_inner()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()?;
            Ok::<String, ArrowError>(spool.name)
        });
        let failed = |reason: String| ConnectError::Path { path: path.clone(), reason };
        let name =
            synced.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        Ok(vec![name])
    }

    /// What is spooled is published by checkpoints alone.
    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// The batches of a spool file.
struct SpoolRows {
    path: PathBuf,
    stream: Option<StreamReader<BufReader<File>>>,
    is_over: bool,
}

impl SpoolRows {
    fn new(path: PathBuf) -> Self {
        Self { path, stream: None, is_over: false }
    }

    fn read(&mut self) -> Result<Option<Batch>, ConnectError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(opened(&self.path)?),
        };
        stream.next().transpose()?.map(batch_of).transpose()
    }
}

fn opened(path: &Path) -> Result<StreamReader<BufReader<File>>, ConnectError> {
    let failed = |source| ConnectError::File { action: "open", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    Ok(StreamReader::try_new(BufReader::with_capacity(1 << 18, file), None)?)
}

fn batch_of(rows: RecordBatch) -> Result<Batch, ConnectError> {
    let width = rows.num_columns().saturating_sub(1);
    let kinds = rows.columns().last().and_then(|kinds| kinds.as_primitive_opt::<UInt8Type>()).cloned();
    let is_insert = |kind: &u8| *kind == RowKind::Insert as u8;
    let kinds = kinds.filter(|kinds| !kinds.values().iter().all(is_insert));
    Ok(Batch { rows: rows.project(&(0..width).collect::<Vec<usize>>())?, kinds })
}

impl Iterator for SpoolRows {
    type Item = Result<Batch, ConnectError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.read().transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}
