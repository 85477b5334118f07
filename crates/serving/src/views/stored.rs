//! The stored result of a `FULL` view, or a batch view: one Parquet file, replaced by a rename, with what it was computed by.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::ViewError;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Under which key the file holds its note.
const NOTE: &str = "mulgil.result";

/// A number for each file that is being written.
static PART: AtomicU64 = AtomicU64::new(0);

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) rows: Vec<RecordBatch>,
    /// What it says of itself; `None` where another note does.
    pub(super) note: Option<StoredNote>,
}

/// What a stored result says of itself: in its file, so that both are replaced together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredNote {
    /// What the rows were computed by.
    pub(super) meaning: Vec<String>,
    /// When, in milliseconds since the epoch.
    pub(super) made_ms: i64,
}

/// Writes a result in place of the former one.
pub(super) async fn write(view: String, path: PathBuf, schema: SchemaRef, stored: Stored) -> Result<(), ViewError> {
    let target = path.clone();
    off_thread(move || write_blocking(&target, schema, &stored)).await.map_err(|reason| ViewError::Store {
        name: view,
        action: "write",
        path,
        reason,
    })
}

/// Reads a stored result; `None` where there is none.
pub(super) async fn read(view: String, path: PathBuf) -> Result<Option<Stored>, ViewError> {
    let target = path.clone();
    off_thread(move || read_blocking(&target)).await.map_err(|reason| ViewError::Store {
        name: view,
        action: "read",
        path,
        reason,
    })
}

/// Files are read and written off tokio's threads.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn write_blocking(path: &Path, schema: SchemaRef, stored: &Stored) -> Result<(), Failure> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    // Two may be at it at once: a server that hands its views over, and who takes them.
    let part = path.with_extension(format!("parquet.part{}", PART.fetch_add(1, Ordering::Relaxed)));
    let written = write_part(&part, schema, stored).and_then(|()| Ok(std::fs::rename(&part, path)?));
    if let Err(error) = written {
        // What is left of it takes room, and nothing else.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn write_part(part: &Path, schema: SchemaRef, stored: &Stored) -> Result<(), Failure> {
    let mut writer = ArrowWriter::try_new(File::create(part)?, schema, None)?;
    for batch in &stored.rows {
        writer.write(batch)?;
    }
    if let Some(note) = &stored.note {
        writer.append_key_value_metadata(KeyValue::new(NOTE.to_owned(), serde_json::to_string(note)?));
    }
    writer.into_inner()?.sync_all()?;
    Ok(())
}

fn read_blocking(path: &Path) -> Result<Option<Stored>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let said = reader.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let note = said.filter(|said| said.key == NOTE).find_map(|said| said.value.as_deref());
    let note = note.map(serde_json::from_str).transpose()?;
    let rows = reader.build()?.collect::<Result<Vec<RecordBatch>, _>>()?;
    Ok(Some(Stored { rows, note }))
}
