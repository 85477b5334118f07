//! A folder that is watched, here or in object storage: `'source.monitor-interval' = '10 s'`. Its files are one ordered stream, in the
//! order in which they were found.
//!
//! That order is kept in a hidden file of the folder, the [ledger](super::ledger): a line for each file, added before its first row is
//! read. So a position (how many files are over, and how many records of the next one) means the same after a restart, whatever has been
//! moved away in the meantime, and each file is read once.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;

use super::Files;
use super::ledger::{LEDGER, Ledger, Pages};
use super::listing::DataFile;
use super::reader::FileReader;
use super::writer::blocking;
use crate::error::ConnectError;
use crate::object_storage::ObjectCalls;
use crate::source::{PartitionReader, Position, Read};

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
    stamps: HashMap<String, Stamp>,
    /// Their order. A look that nobody waits for any more ends before the next begins.
    ledger: Arc<Mutex<Ledger>>,
}

/// What a file looks like from outside: whoever writes it anew changes this.
#[derive(Clone, Debug, PartialEq)]
struct Stamp {
    bytes: u64,
    changed: Option<SystemTime>,
    tag: Option<String>,
}

/// A file of the ledger.
#[derive(Clone, Debug)]
struct Found {
    /// Its name in the folder.
    name: String,
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
            ledger: Arc::default(),
        }
    }

    fn position(&self, records: Position) -> Position {
        ((self.over as u64) << RECORD_BITS) | records
    }

    /// Looks for new files, and for what has become of those that were read.
    async fn look(&mut self) -> Result<(), ConnectError> {
        let (table, ledger) = (self.table.clone(), Arc::clone(&self.ledger));
        let looked = blocking(move || look(&table, &mut ledger.lock().unwrap_or_else(PoisonError::into_inner)));
        let files = looked.await?;
        if files.len() < self.over {
            let reason = format!(
                "its ledger {LEDGER} names {} files, but {} were read: it was removed or replaced; start from the beginning",
                files.len(),
                self.over
            );
            return Err(ConnectError::Path { path: self.table.place(), reason });
        }
        for found in &files {
            let Some((file, stamp)) = &found.file else { continue };
            let before = self.stamps.insert(found.name.clone(), stamp.clone());
            if before.is_some_and(|before| before != *stamp) {
                let path = file.path.display();
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
            let folder = self.table.place();
            tracing::warn!(file = found.name, folder = %folder.display(), "the file has gone before it was read to its end");
            self.over += 1;
            self.records = 0;
        }
        Ok(false)
    }
}

/// The files of the ledger, with those that are new in it.
fn look(table: &Files, ledger: &mut Ledger) -> Result<Vec<Found>, ConnectError> {
    let calls = table.calls();
    let (mut listed, pages) = match &calls {
        Some(calls) => objects(table, calls)?,
        None => (files(table)?, Pages::default()),
    };
    listed.sort_by(|(a, _, a_stamp), (b, _, b_stamp)| (a_stamp.changed, a).cmp(&(b_stamp.changed, b)));
    let names: Vec<String> = listed.iter().map(|(name, ..)| name.clone()).collect();
    match &calls {
        Some(calls) => ledger.add_remote(calls, &pages, &names)?,
        None => ledger.add_local(&table.path, &names)?,
    }
    let mut files: HashMap<String, (DataFile, Stamp)> =
        listed.into_iter().map(|(name, file, stamp)| (name, (file, stamp))).collect();
    Ok(ledger.names().iter().map(|name| Found { file: files.remove(name), name: name.clone() }).collect())
}

/// What is there, with names.
type Listed = Vec<(String, DataFile, Stamp)>;

fn files(table: &Files) -> Result<Listed, ConnectError> {
    let mut listed = Vec::new();
    for file in table.list_blocking()? {
        let name = file.path.strip_prefix(&table.path).unwrap_or(&file.path).to_string_lossy().into_owned();
        // One that has gone since it was listed is not there.
        let Ok(metadata) = fs::metadata(&file.path) else { continue };
        let stamp = Stamp { bytes: metadata.len(), changed: metadata.modified().ok(), tag: None };
        listed.push((name, file, stamp));
    }
    Ok(listed)
}

/// The objects that are there, and the ledger's pages.
fn objects(table: &Files, calls: &ObjectCalls) -> Result<(Listed, Pages), ConnectError> {
    let (mut listed, mut pages) = (Vec::new(), Pages::default());
    for (name, object) in calls.list()? {
        if !pages.take(&name)
            && let Some(file) = table.object(calls, &name)?
        {
            let changed = Some(object.last_modified.into());
            listed.push((name, file, Stamp { bytes: object.size, changed, tag: object.e_tag }));
        }
    }
    Ok((listed, pages))
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
