//! State beyond memory, in files: written once, read from the beginning to the end, and removed when nobody names them.
//!
//! They are no checkpoint: nothing is synced, and what is found at the start is a killed process's and is removed.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use mulgil_dataflow::spill::{StateBudget, StateMemory};
use mulgil_dataflow::state::{ReadRows, StateStore, StoreError, StoredRows};

/// How much memory the state of a job may take, and where the rest goes.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// What it may take; jobs that are given the same budget share it.
    pub budget: Arc<StateBudget>,
    /// A folder of the job's own, on a local disk. What is in it is removed.
    pub folder: PathBuf,
}

impl StateOptions {
    /// The same budget, and the folder of one of the jobs that share it.
    #[must_use]
    pub fn of(&self, job: &str) -> Self {
        Self { budget: Arc::clone(&self.budget), folder: self.folder.join(job) }
    }

    /// What operators need to put state away. What a killed process has left is removed.
    pub(crate) fn memory(&self) -> std::io::Result<StateMemory> {
        let store = Arc::new(Store(StateFiles::open(&self.folder)?));
        Ok(StateMemory { budget: Arc::clone(&self.budget), store })
    }
}

/// The files of a job, in a folder that is there while there are any.
#[derive(Debug)]
struct StateFiles {
    folder: PathBuf,
    next: AtomicU64,
}

#[derive(Debug)]
struct Store(Arc<StateFiles>);

/// Batches in a file.
#[derive(Debug)]
struct StateFile {
    path: PathBuf,
    row_count: usize,
    size_bytes: usize,
    /// The folder stays as long as its files.
    _files: Arc<StateFiles>,
}

impl StateFiles {
    fn open(folder: &Path) -> std::io::Result<Arc<Self>> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Of its own for each start: a job that has just ended removes its folder when the last of its files goes.
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let own = format!("{}-{}", std::process::id(), STARTS.fetch_add(1, Relaxed));
        Ok(Arc::new(Self { folder: folder.join(own), next: 0.into() }))
    }
}

impl Drop for StateFiles {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = fs::remove_dir_all(&self.folder);
        if let Some(parent) = self.folder.parent() {
            // Only if it is empty.
            let _ = fs::remove_dir(parent);
        }
    }
}

impl StateStore for Store {
    fn put(&self, rows: &[RecordBatch]) -> Result<Arc<dyn StoredRows>, StoreError> {
        let Store(files) = self;
        let path = files.folder.join(format!("{:08}.arrow", files.next.fetch_add(1, Relaxed)));
        let size_bytes = write(&path, rows).map_err(|error| {
            let _ = fs::remove_file(&path);
            StoreError(format!(
                "its state needs more memory than it may take, and cannot be written to {}: {error}; make room on that \
                 disk, or give state more memory ('state-memory'), and start it again",
                path.display()
            ))
        })?;
        let row_count = rows.iter().map(RecordBatch::num_rows).sum();
        Ok(Arc::new(StateFile { path, row_count, size_bytes, _files: Arc::clone(files) }))
    }
}

/// Writes batches of one schema; gives how many bytes they take.
fn write(path: &Path, rows: &[RecordBatch]) -> Result<usize, ArrowError> {
    let Some(first) = rows.first() else { return Ok(0) };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = BufWriter::with_capacity(1 << 16, File::create(path)?);
    let mut stream = StreamWriter::try_new(file, &first.schema())?;
    for rows in rows {
        stream.write(&compact(rows)?)?;
    }
    stream.finish()?;
    let mut file = stream.into_inner()?;
    file.flush()?;
    let size = file.get_ref().metadata()?.len();
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

/// The same rows without what they only point past: some rows of a large batch would bring all of its text.
fn compact(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    };
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), rows.columns().iter().map(column).collect(), &options)
}

impl StoredRows for StateFile {
    fn read(&self) -> Result<ReadRows, StoreError> {
        let path = self.path.clone();
        let failed = move |error: ArrowError| {
            StoreError(format!("state that was put away cannot be read from {}: {error}", path.display()))
        };
        let file = File::open(&self.path).map_err(|error| failed(error.into()))?;
        let stream = StreamReader::try_new(BufReader::with_capacity(1 << 16, file), None).map_err(&failed)?;
        Ok(Box::new(stream.map(move |rows| rows.map_err(&failed))))
    }

    fn row_count(&self) -> usize {
        self.row_count
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        // What cannot be removed now goes with the folder.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn rows(count: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let texts = (0..count).map(|number| format!("a text that is not short, of number {number}"));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
        RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
    }

    #[test]
    fn rows_come_back_as_they_were_put_and_their_files_go_with_them() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("state");
        // A killed process has left something.
        fs::create_dir_all(folder.join("17-0")).unwrap();
        fs::write(folder.join("17-0/00000000.arrow"), "left").unwrap();
        let options = StateOptions { budget: StateBudget::new(1), folder: folder.clone() };
        let memory = options.memory().unwrap();
        assert!(!folder.exists(), "what was left is gone, and nothing new is there before it is needed");

        let all = rows(1_000);
        let (first, second) = (all.slice(0, 10), all.slice(10, 990));
        let large = memory.store.put(&[first.clone(), second.clone()]).unwrap();
        let small = memory.store.put(std::slice::from_ref(&first)).unwrap();
        let read: Vec<RecordBatch> = large.read().unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [first, second]);
        assert_eq!((large.row_count(), small.row_count()), (1_000, 10));
        assert!(small.size_bytes() * 20 < large.size_bytes(), "ten rows bring no more than their own text");

        let files = || walk(&folder).len();
        assert_eq!(files(), 2);
        drop(small);
        assert_eq!(files(), 1);
        drop(memory);
        assert_eq!(files(), 1, "who still has the rows can read them");
        drop(large);
        assert!(!folder.exists());
    }

    fn walk(folder: &Path) -> Vec<PathBuf> {
        let own = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        own.flat_map(|own| fs::read_dir(own).unwrap()).map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn where_nothing_can_be_written_it_is_said_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("state");
        let memory = StateOptions { budget: StateBudget::new(1), folder: folder.clone() }.memory().unwrap();
        fs::write(&folder, "a file is in the way").unwrap();
        let refused = memory.store.put(&[rows(1)]).unwrap_err().to_string();
        assert!(refused.contains("state-memory") && refused.contains(folder.to_str().unwrap()), "{refused}");
    }
}
