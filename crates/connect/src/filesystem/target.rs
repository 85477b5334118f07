//! How new files come into a table: written in a hidden folder beside it, synced, and moved into place by a rename, so
//! that nothing half-written is ever visible. A whole folder changes places with its successor in one step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

use super::listing::{file_error, folder_name};
use super::row_file::{Compression, RowFile};
use super::{Files, Format};
use crate::error::ConnectError;
use crate::partition::PartitionValues;
use crate::writer::WriteSummary;

/// New files of a table, not visible yet. Dropped, they are gone.
pub(super) struct Stage {
    table: Files,
    target: Target,
    folder: TempDir,
    files: BTreeMap<PartitionValues, RowFile>,
    /// What its files are called in the table, where not by a name of their own.
    name: Option<String>,
    summary: WriteSummary,
}

/// What a table's path is, or becomes with the first write.
pub(super) enum Target {
    /// One file.
    File(PathBuf),
    /// A folder of files.
    Folder(PathBuf),
}

impl Target {
    /// What is there; else a file if the path has an extension, and a folder if it has none.
    pub(super) fn of(table: &Files) -> Self {
        let path = fs::canonicalize(&table.path).unwrap_or_else(|_| table.path.clone());
        let is_file = if table.bucket.is_some() {
            false
        } else if path.exists() {
            path.is_file()
        } else {
            table.partitioned_by.is_empty() && path.extension().is_some()
        };
        if is_file { Self::File(path) } else { Self::Folder(path) }
    }

    fn path(&self) -> &Path {
        let (Self::File(path) | Self::Folder(path)) = self;
        path
    }
}

impl Stage {
    /// An empty stage beside the table's path.
    pub(super) fn new(table: &Files) -> Result<Self, ConnectError> {
        let target = Target::of(table);
        let parent = target.path().parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(file_error("create", parent))?;
        let folder = tempfile::Builder::new().prefix(".mulgil-").tempdir_in(parent);
        let folder = folder.map_err(file_error("create a folder in", parent))?;
        let (table, files, summary) = (table.clone(), BTreeMap::new(), WriteSummary::default());
        Ok(Self { table, target, folder, files, name: None, summary })
    }

    /// Writes rows (without the partition columns) of one partition.
    pub(super) fn write(&mut self, values: PartitionValues, rows: &RecordBatch) -> Result<(), ConnectError> {
        let path = self.staged_folder(&values).join(self.file_name());
        if !self.files.contains_key(&values) {
            let file = self.create(&path).map_err(file_error("create", &path))?;
            self.files.insert(values.clone(), file);
        }
        if let Some(file) = self.files.get_mut(&values) {
            file.write(rows).map_err(file_error("write", &path))?;
            self.summary.rows += rows.num_rows() as u64;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<RowFile> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        RowFile::new(File::create_new(path)?, &self.table)
    }

    /// Syncs all files, and so makes them ready to be moved.
    fn seal(&mut self) -> Result<Vec<PartitionValues>, ConnectError> {
        let mut partitions = Vec::new();
        for (values, file) in std::mem::take(&mut self.files) {
            let path = self.staged_folder(&values).join(self.file_name());
            let bytes = file.finish().map_err(file_error("write", &path))?;
            self.summary.bytes += bytes;
            self.summary.files += 1;
            partitions.push(values);
        }
        Ok(partitions)
    }

    /// Lets the files have names in the table by which the next attempt at the same append finds them.
    pub(super) fn in_name_of(self, append: &str) -> Self {
        let name = format!("append-{:032x}.{}", xxh3_128(append.as_bytes()), extension(&self.table));
        Self { name: Some(name), ..self }
    }

    /// Puts the new files in place of those that an earlier attempt at the same append has added.
    pub(super) fn append_again(self) -> Result<WriteSummary, ConnectError> {
        let Target::Folder(folder) = &self.target else {
            return Err(self.table.refusal(
                "'path' is one file, which cannot tell what a run has appended, so a retry could double it; let it be a folder, or say `idempotent: false`",
            ));
        };
        let (table, name, folder) = (self.table.clone(), self.name_in_table(), folder.clone());
        let columns = table.partitioned_by.clone();
        let written: Vec<PathBuf> =
            self.files.keys().map(|values| partition_folder(&folder, &columns, values).join(&name)).collect();
        let summary = self.append()?;
        let real = |path: PathBuf| fs::canonicalize(&path).unwrap_or(path);
        let written: Vec<PathBuf> = written.into_iter().map(real).collect();
        let there = if folder.exists() { table.list_blocking()? } else { Vec::new() };
        for file in there {
            let path = real(file.path);
            if path.file_name().is_some_and(|found| *found == *name) && !written.contains(&path) {
                fs::remove_file(&path).map_err(file_error("remove", &path))?;
                path.parent().map_or(Ok(()), sync_folder)?;
            }
        }
        Ok(summary)
    }

    /// Adds the new files to the table. A partition becomes visible at once, several one after the other.
    pub(super) fn append(mut self) -> Result<WriteSummary, ConnectError> {
        let partitions = self.seal()?;
        let name = self.file_name();
        for values in &partitions {
            let staged = self.staged_folder(values).join(&name);
            match &self.target {
                Target::File(path) => self.append_to_file(&staged, path)?,
                Target::Folder(path) => {
                    let folder = partition_folder(path, &self.table.partitioned_by, values);
                    fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
                    let path = folder.join(self.name_in_table());
                    fs::rename(&staged, &path).map_err(file_error("rename", &path))?;
                    sync_folder(&folder)?;
                }
            }
        }
        Ok(self.summary)
    }

    /// Puts a copy of the file with the new rows behind the old ones in its place.
    fn append_to_file(&self, staged: &Path, path: &Path) -> Result<(), ConnectError> {
        if path.exists() && matches!(self.table.format, Format::Parquet | Format::Avro(_)) {
            let reason = "a Parquet or Avro file cannot be appended to; let 'path' be a folder";
            return Err(self.table.refusal(reason));
        }
        if path.exists() && self.table.compression != Compression::None {
            return Err(self.table.refusal("a compressed file cannot be appended to; let 'path' be a folder"));
        }
        if path.exists() {
            let header_bytes = RowFile::header_bytes(&self.table).map_err(file_error("write", staged))?;
            let joined = self.folder.path().join("joined");
            join(path, staged, header_bytes, &joined).map_err(file_error("write", path))?;
            fs::rename(&joined, path).map_err(file_error("rename", path))?;
        } else {
            fs::rename(staged, path).map_err(file_error("rename", path))?;
        }
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// Puts the new files in place of all that the table held.
    pub(super) fn replace_table(mut self) -> Result<WriteSummary, ConnectError> {
        if let Target::File(_) = self.target {
            // A table without rows is a file with a header, not no file.
            self.write(vec![], &RecordBatch::new_empty(self.table.file_schema.clone()))?;
        }
        self.seal()?;
        let rows = self.rows_folder();
        match &self.target {
            Target::File(path) => {
                let staged = rows.join(self.file_name());
                fs::rename(&staged, path).map_err(file_error("rename", path))?;
            }
            Target::Folder(path) => {
                fs::create_dir_all(&rows).map_err(file_error("create", &rows))?;
                put_in_place(&rows, path)?;
            }
        }
        self.target.path().parent().map_or(Ok(()), sync_folder)?;
        Ok(self.summary)
    }

    /// Puts the new files in place of all that one partition held.
    pub(super) fn replace_partition(mut self, values: &PartitionValues) -> Result<WriteSummary, ConnectError> {
        self.seal()?;
        let staged = self.staged_folder(values);
        fs::create_dir_all(&staged).map_err(file_error("create", &staged))?;
        let folder = partition_folder(self.target.path(), &self.table.partitioned_by, values);
        let parent = folder.parent().unwrap_or(Path::new("/")).to_owned();
        fs::create_dir_all(&parent).map_err(file_error("create", &parent))?;
        put_in_place(&staged, &folder)?;
        sync_folder(&parent)?;
        Ok(self.summary)
    }

    /// Where the staged files are, one folder a partition, as in the table.
    fn rows_folder(&self) -> PathBuf {
        self.folder.path().join("rows")
    }

    fn staged_folder(&self, values: &PartitionValues) -> PathBuf {
        partition_folder(&self.rows_folder(), &self.table.partitioned_by, values)
    }

    /// A name that no other write gives: the stage's own.
    fn name_in_table(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.file_name())
    }

    fn file_name(&self) -> String {
        let stage = self.folder.path().file_name().map(|name| name.to_string_lossy().into_owned());
        let stage = stage.unwrap_or_default();
        format!("part-{}.{}", stage.trim_start_matches(".mulgil-"), extension(&self.table))
    }
}

/// How the names of a table's files end.
pub(super) fn extension(table: &Files) -> String {
    let extension = match table.format {
        Format::Csv(_) => "csv",
        Format::Json => "json",
        Format::Parquet => "parquet",
        Format::Avro(_) => "avro",
    };
    format!("{extension}{}", table.compression.suffix())
}

/// The folders of a partition, as names begin with them: `day=2013-01-01/`.
pub(super) fn partition_name(columns: &[String], values: &PartitionValues) -> String {
    columns.iter().zip(values).map(|(column, value)| folder_name(column, value.as_deref()) + "/").collect()
}

fn partition_folder(table: &Path, columns: &[String], values: &PartitionValues) -> PathBuf {
    let names = columns.iter().zip(values).map(|(column, value)| folder_name(column, value.as_deref()));
    names.fold(table.to_owned(), |folder, name| folder.join(name))
}

/// Moves `new` to where `old` is; what was there goes where `new` was, and with the stage.
fn put_in_place(new: &Path, old: &Path) -> Result<(), ConnectError> {
    sync_folder(new)?;
    let moved = if old.exists() {
        renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).map_err(io::Error::from)
    } else {
        fs::rename(new, old)
    };
    moved.map_err(file_error("rename", old))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), ConnectError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file_error("sync", folder))
}

/// Writes `joined`: the file `first`, then `second` without its header.
fn join(first: &Path, second: &Path, header_bytes: u64, joined: &Path) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut source = File::open(first)?;
    let mut joined = File::create(joined)?;
    let copied = io::copy(&mut source, &mut joined)?;
    let mut last = [0];
    if copied > 0 {
        source.seek(SeekFrom::End(-1))?;
        source.read_exact(&mut last)?;
        if last != *b"\n" {
            joined.write_all(b"\n")?;
        }
    }
    let mut second = File::open(second)?;
    second.seek(SeekFrom::Start(if copied > 0 { header_bytes } else { 0 }))?;
    io::copy(&mut second, &mut joined)?;
    joined.sync_all()
}
