//! A folder that is watched: `'source.monitor-interval' = '10 s'`. Its files are one ordered stream, in the order in which they
//! were found.
//!
//! That order is kept in a hidden file of the folder, the *ledger*: a line for each file, added before its first row is read. So a position
//! (how many files are over, and how many records of the next one) means the same after a restart, whatever has been moved
//! away in the meantime, and each file is read once.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use super::Files;
use super::listing::{DataFile, file_error};
use super::reader::FileReader;
use super::writer::blocking;
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Read};

/// The name of the ledger.
const LEDGER: &str = ".mulgil-files";
/// Bits of a position that count records.
const RECORD_BITS: u32 = 32;

/// Reads a watched folder.
pub(super) struct FolderReader {
    table: Files,
    projection: Vec<usize>,
    follow: bool,
    interval: Duration,
    /// The files in order; `None` for one that is not there any more.
    files: Vec<Found>,
    /// How many of them are over.
    over: usize,
    /// Records of the next one that were read before.
    records: Position,
    reader: Option<FileReader>,
    /// When the folder is looked at again.
    due: Instant,
    skipped_before: u64,
    /// What files looked like when they were found.
    stamps: HashMap<PathBuf, Stamp>,
}

type Stamp = (u64, Option<SystemTime>);

/// A file of the ledger.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    /// The file, if it is there.
    file: Option<(DataFile, Stamp)>,
}

impl FolderReader {
    pub(super) fn new(table: Files, interval: Duration, from: Position, projection: &[usize], follow: bool) -> Self {
        Self {
            table,
            projection: projection.to_vec(),
            follow,
            interval,
            files: Vec::new(),
            over: usize::try_from(from >> RECORD_BITS).unwrap_or(usize::MAX),
            records: from & ((1 << RECORD_BITS) - 1),
            reader: None,
            due: Instant::now(),
            skipped_before: 0,
            stamps: HashMap::new(),
        }
    }

    fn position(&self, records: Position) -> Position {
        ((self.over as u64) << RECORD_BITS) | records
    }

    /// Looks for new files, and for what has become of those that were read.
    async fn look(&mut self) -> Result<(), ConnectError> {
        let table = self.table.clone();
        let files = blocking(move || look(&table)).await?;
        if files.len() < self.over {
            let reason = format!(
                "its ledger {LEDGER} names {} files, but {} were read: it was removed or replaced; start from the beginning",
                files.len(),
                self.over
            );
            return Err(ConnectError::Path { path: self.table.path.clone(), reason });
        }
        for found in &files {
            let Some((_, stamp)) = &found.file else { continue };
            let before = self.stamps.insert(found.path.clone(), *stamp);
            if before.is_some_and(|before| before != *stamp) {
                let path = found.path.display();
                tracing::warn!(%path, "the file has changed since it was found; what has changed is not read again");
            }
        }
        self.files = files;
        self.due = Instant::now() + self.interval;
        Ok(())
    }

    /// Opens the next file; whether there is one.
    fn open_next(&mut self) -> Result<bool, ConnectError> {
        while let Some(found) = self.files.get(self.over) {
            let opened = match &found.file {
                Some((file, _)) => {
                    FileReader::open(&self.table, file.clone(), self.records, &self.projection).map(Some)?
                }
                None => None,
            };
            if let Some(reader) = opened {
                self.reader = Some(reader);
                return Ok(true);
            }
            tracing::warn!(path = %found.path.display(), "the file has gone before it was read to its end");
            self.over += 1;
            self.records = 0;
        }
        Ok(false)
    }
}

/// The files of the ledger, with those that are new in it.
fn look(table: &Files) -> Result<Vec<Found>, ConnectError> {
    let folder = &table.path;
    let path = folder.join(LEDGER);
    let listed = table.list_blocking()?;
    let mut ledger =
        OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(file_error("open", &path))?;
    // Two readers of one folder add to it one after the other.
    ledger.lock().map_err(file_error("lock", &path))?;
    let mut text = String::new();
    ledger.read_to_string(&mut text).map_err(file_error("read", &path))?;
    let torn = text.rfind('\n').map_or(0, |end| end + 1);
    if torn < text.len() {
        // A crash has left half a line, whose file nobody has read.
        ledger.set_len(torn as u64).map_err(file_error("truncate", &path))?;
        text.truncate(torn);
    }
    let mut paths: Vec<PathBuf> =
        text.lines().filter_map(|line| serde_json::from_str::<String>(line).ok()).map(Into::into).collect();
    let known: HashSet<PathBuf> = paths.iter().cloned().collect();
    let mut files = HashMap::new();
    let mut new = Vec::new();
    for file in listed {
        let relative = file.path.strip_prefix(folder).unwrap_or(&file.path).to_owned();
        // One that has gone since it was listed is not there.
        let Ok(metadata) = fs::metadata(&file.path) else { continue };
        let stamp = (metadata.len(), metadata.modified().ok());
        if !known.contains(&relative) {
            new.push((stamp.1, relative.clone()));
        }
        files.insert(relative, (file, stamp));
    }
    new.sort();
    append(&mut ledger, &path, new.iter().map(|(_, path)| path.as_path()))?;
    paths.extend(new.into_iter().map(|(_, path)| path));
    Ok(paths.into_iter().map(|path| Found { file: files.get(&path).cloned(), path: folder.join(path) }).collect())
}

fn append<'a>(ledger: &mut File, path: &Path, new: impl Iterator<Item = &'a Path>) -> Result<(), ConnectError> {
    let lines: String = new.map(|path| serde_json::Value::from(path.to_string_lossy()).to_string() + "\n").collect();
    if lines.is_empty() {
        return Ok(());
    }
    ledger.write_all(lines.as_bytes()).map_err(file_error("write", path))?;
    ledger.sync_data().map_err(file_error("sync", path))
}

#[async_trait]
impl PartitionReader for FolderReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next().await? {
                    Read::Rows(rows, records) => return Ok(Read::Rows(rows, self.position(records))),
                    Read::Changes(changes, records) => return Ok(Read::Changes(changes, self.position(records))),
                    Read::Idle => {}
                    Read::End => {
                        self.skipped_before += reader.skipped_rows();
                        self.reader = None;
                        self.over += 1;
                        self.records = 0;
                    }
                }
                continue;
            }
            if self.open_next()? {
                continue;
            }
            if self.follow {
                tokio::time::sleep_until(self.due).await;
            } else if !self.files.is_empty() || !self.stamps.is_empty() {
                return Ok(Read::End);
            }
            self.look().await?;
            if !self.follow && self.files.len() <= self.over {
                return Ok(Read::End);
            }
        }
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_before + self.reader.as_ref().map_or(0, PartitionReader::skipped_rows)
    }
}
