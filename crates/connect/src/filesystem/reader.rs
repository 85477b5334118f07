//! Reads one file. A thread of tokio's blocking pool decodes ahead by a few batches, over a bounded queue.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use super::listing::{DataFile, file_error};
use super::{Files, Format};
use crate::bad_rows::BadRow;
use crate::error::ConnectError;
use crate::format::avro::AvroReader;
use crate::format::csv::CsvReader;
use crate::format::json::JsonLines;
use crate::format::parquet::ParquetReader;
use crate::format::{BadRecord, Chunk, Stop, quoted, sql_type};
use crate::source::{PartitionReader, Position, Read as Next};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;
/// Rows of a batch where they are narrow and cheap to read: what a batch costs beside its rows would show.
const NARROW_BATCH_ROWS_MAX: usize = 4 * BATCH_ROWS;
/// How much of the cache a batch of narrow rows may take.
const NARROW_BATCH_BYTES: usize = 256 * 1024;
/// Batches decoded ahead of the reader: enough to keep both sides busy.
const BATCHES_AHEAD: usize = 2;
/// How every gzip stream begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How every Zstandard frame begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file being read.
pub(crate) struct FileReader {
    path: PathBuf,
    batches: mpsc::Receiver<Result<Next, ConnectError>>,
    skipped_rows: Arc<AtomicU64>,
}

impl FileReader {
    /// Starts reading `file` behind its first `from` records.
    pub(crate) fn open(
        table: &Files,
        file: DataFile,
        from: Position,
        projection: &[usize],
    ) -> Result<Self, ConnectError> {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let skipped_rows = Arc::new(AtomicU64::new(0));
        let plan = Plan::new(table, &file, projection)?;
        let counter = Arc::clone(&skipped_rows);
        let table = table.clone();
        let path = file.path.clone();
        tokio::task::spawn_blocking(move || {
            let end = decode(&table, &file.path, from, &plan, &counter, &sender);
            // Nobody to tell means that nobody reads any more.
            let _ = sender.blocking_send(end.map(|()| Next::End));
        });
        Ok(Self { path, batches, skipped_rows })
    }
}

#[async_trait]
impl PartitionReader for FileReader {
    async fn next(&mut self) -> Result<Next, ConnectError> {
        self.batches.recv().await.unwrap_or_else(|| {
            // Not the end of the file, which is said: the thread is gone, or the caller reads on behind the end.
            let reason = "reading has stopped".to_owned();
            Err(ConnectError::Path { path: self.path.clone(), reason })
        })
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_rows.load(Ordering::Relaxed)
    }
}

/// How the wanted columns come from the file and from the folder's name.
struct Plan {
    schema: SchemaRef,
    /// The wanted columns of the file, as indices into the file's columns.
    file_projection: Vec<usize>,
    /// For each wanted column, its place among the file's wanted ones, or the one value of all its rows.
    columns: Vec<Origin>,
}

enum Origin {
    File(usize),
    Folder(ArrayRef),
}

impl Plan {
    fn new(table: &Files, file: &DataFile, projection: &[usize]) -> Result<Self, ConnectError> {
        let schema = Arc::new(table.schema.project(projection)?);
        let mut file_projection = Vec::new();
        let mut columns = Vec::new();
        for field in schema.fields() {
            let partition = table.partitioned_by.iter().position(|column| column == field.name());
            columns.push(match partition {
                Some(index) => {
                    let text = file.values.get(index).cloned().flatten();
                    Origin::Folder(partition_array(text.as_deref(), field, &file.path)?)
                }
                None => {
                    file_projection.push(table.file_schema.index_of(field.name())?);
                    Origin::File(file_projection.len() - 1)
                }
            });
        }
        Ok(Self { schema, file_projection, columns })
    }

    /// Puts the partition's values beside the columns of the file.
    fn complete(&self, rows: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for origin in &self.columns {
            columns.push(match origin {
                Origin::File(index) => Arc::clone(rows.column(*index)),
                Origin::Folder(value) => {
                    let indices = arrow::array::UInt32Array::from(vec![0; rows.num_rows()]);
                    arrow::compute::take(value, &indices, None)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The value of a partition column as an array of one.
pub(crate) fn partition_array(text: Option<&str>, field: &Field, path: &Path) -> Result<ArrayRef, ConnectError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let value = cast_with_options(&StringArray::from(vec![text]), field.data_type(), &options);
    let (name, data_type) = (field.name(), sql_type(field.data_type()));
    let reason = match (value, text) {
        (Ok(_), None) if !field.is_nullable() => {
            format!("the folder's name says NULL for \"{name}\", a NOT NULL column")
        }
        (Ok(value), _) => return Ok(value),
        (Err(_), text) => {
            let text = quoted(text.unwrap_or_default());
            format!("the folder's name says {text} for \"{name}\", which is not a {data_type}")
        }
    };
    Err(ConnectError::Path { path: path.to_owned(), reason })
}

enum RowReader {
    Csv(Box<CsvReader<Box<dyn BufRead + Send>>>),
    Json(JsonLines<Box<dyn BufRead + Send>>),
    Parquet(Box<ParquetReader>),
    Avro(Box<AvroReader<BufReader<File>>>),
}

impl RowReader {
    /// Opens a file behind its first `from` records.
    fn open(table: &Files, path: &Path, plan: &Plan, from: Position) -> Result<Self, ConnectError> {
        let at_line = |stop| at_line(path, stop);
        let wanted = Arc::new(table.file_schema.project(&plan.file_projection)?);
        // What is open stays open when its name is gone.
        let fetched = table.fetched(table.calls().as_ref(), path)?;
        let local = fetched.as_ref().map_or(path, |file| file.path());
        if table.format == Format::Parquet {
            let file = File::open(local).map_err(file_error("open", path))?;
            let batch_rows = batch_rows(&wanted);
            let reader = ParquetReader::new(file, &table.file_schema, wanted, from, batch_rows);
            return Ok(Self::Parquet(Box::new(reader.map_err(at_line)?)));
        }
        if let Format::Avro(_) = table.format {
            let file = BufReader::with_capacity(64 * 1024, File::open(local).map_err(file_error("open", path))?);
            let reader = AvroReader::new(file, &table.file_schema, wanted, from, BATCH_ROWS);
            return Ok(Self::Avro(Box::new(reader.map_err(at_line)?)));
        }
        let text = open_text(local).map_err(file_error("open", path))?;
        if let Format::Csv(options) = &table.format {
            let reader = CsvReader::new(text, options, &table.file_schema, &plan.file_projection);
            let mut reader = reader.map_err(at_line)?;
            reader.skip(from).map_err(at_line)?;
            return Ok(Self::Csv(Box::new(reader)));
        }
        let mut reader = JsonLines::new(text, wanted);
        reader.skip(from).map_err(at_line)?;
        Ok(Self::Json(reader))
    }

    fn next(&mut self) -> Result<Option<Chunk>, Stop> {
        match self {
            Self::Csv(reader) => reader.next(BATCH_ROWS),
            Self::Json(reader) => reader.next(BATCH_ROWS),
            Self::Parquet(reader) => reader.next(),
            Self::Avro(reader) => reader.next(),
        }
    }
}

/// How many rows of these columns make a batch.
fn batch_rows(columns: &Schema) -> usize {
    let widths = columns.fields().iter().map(|field| field.data_type().primitive_width());
    let row_bytes = widths.sum::<Option<usize>>().map_or(usize::MAX, |bytes| bytes.max(1));
    (NARROW_BATCH_BYTES / row_bytes).clamp(BATCH_ROWS, NARROW_BATCH_ROWS_MAX)
}

fn at_line(path: &Path, (line, reason): Stop) -> ConnectError {
    let path = path.to_owned();
    if line == 0 { ConnectError::Path { path, reason } } else { ConnectError::Row { path, line, reason } }
}

type Batches = mpsc::Sender<Result<Next, ConnectError>>;

fn decode(
    table: &Files,
    path: &Path,
    from: Position,
    plan: &Plan,
    skipped_rows: &AtomicU64,
    batches: &Batches,
) -> Result<(), ConnectError> {
    let at_line = |stop| at_line(path, stop);
    let mut reader = RowReader::open(table, path, plan, from)?;
    let mut position = from;
    while let Some(chunk) = reader.next().map_err(at_line)? {
        let place = |line| if line == 0 { path.display().to_string() } else { format!("{}:{line}", path.display()) };
        let bad_row = |bad: BadRecord| BadRow { place: place(bad.line), reason: bad.reason, raw: bad.raw };
        if table.bad_rows.are_fatal() {
            if let Some(first) = chunk.bad.into_iter().next() {
                let stop = (first.line, first.reason.clone());
                table.bad_rows.show(bad_row(first));
                return Err(at_line(stop));
            }
        } else {
            skipped_rows.fetch_add(chunk.bad.len() as u64, Ordering::Relaxed);
            table.bad_rows.put_aside(&chunk.bad.into_iter().map(bad_row).collect::<Vec<_>>())?;
        }
        position += chunk.records;
        if batches.blocking_send(Ok(Next::Rows(plan.complete(&chunk.rows)?, position))).is_err() {
            break;
        }
    }
    Ok(())
}

/// The text of a file, unpacked where it is compressed, whatever its name says.
fn open_text(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        let text: Box<dyn Read + Send> = Box::new(MultiGzDecoder::new(file));
        return Ok(Box::new(BufReader::with_capacity(64 * 1024, text)));
    }
    if file.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        let text: Box<dyn Read + Send> = Box::new(zstd::stream::read::Decoder::with_buffer(file)?);
        return Ok(Box::new(BufReader::with_capacity(64 * 1024, text)));
    }
    Ok(Box::new(file))
}
