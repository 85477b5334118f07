//! The stored result of a `FULL` view: one Parquet file, replaced by a rename.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::ViewError;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Writes a result in place of the former one.
pub(super) async fn write(
    view: String,
    path: PathBuf,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<(), ViewError> {
    let target = path.clone();
    off_thread(move || write_blocking(&target, schema, &batches)).await.map_err(|reason| ViewError::Store {
        name: view,
        action: "write",
        path,
        reason,
    })
}

/// Reads a stored result and when it was written; `None` where there is none.
pub(super) async fn read(view: String, path: PathBuf) -> Result<Option<(Vec<RecordBatch>, i64)>, ViewError> {
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

fn write_blocking(path: &Path, schema: SchemaRef, batches: &[RecordBatch]) -> Result<(), Failure> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let part = path.with_extension("parquet.part");
    let mut writer = ArrowWriter::try_new(File::create(&part)?, schema, None)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()?.sync_all()?;
    std::fs::rename(&part, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn read_blocking(path: &Path) -> Result<Option<(Vec<RecordBatch>, i64)>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let since = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let batches = rows.collect::<Result<Vec<RecordBatch>, _>>()?;
    Ok(Some((batches, i64::try_from(since.as_millis()).unwrap_or(i64::MAX))))
}
