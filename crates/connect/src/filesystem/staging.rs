//! Where a stream's files are before they are published: a hidden folder in the table's own, one for each job, laid out as the
//! table is, so that a rename publishes. All that the sink asks of the file system is here.
//!
//! ```text
//! <table>/.mulgil-<job>/day=1/part-….csv      staged          <table>/day=1/part-….csv      published
//! <table>/.mulgil-<job>/published             a note of what has been published: written when all renames are durable
//! ```
//!
//! In object storage the same names are keys: a file is uploaded when it is closed, and copied when it is published.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Files;
use super::listing::file_error;
use super::target::sync_folder;
use crate::error::ConnectError;
use crate::object_storage::ObjectCalls;

/// The name of the note.
const NOTE: &str = "published";

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    /// The table's folder.
    table: PathBuf,
    /// The hidden folder.
    folder: PathBuf,
    /// The name of the hidden folder.
    hidden: String,
    /// The bucket, where the table is in one.
    calls: Option<ObjectCalls>,
}

/// What a job has published.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Published {
    /// The last checkpoint.
    pub(super) checkpoint: u64,
    /// Folders of partitions that have rows and no marker yet.
    pub(super) unmarked: BTreeSet<String>,
}

impl Staging {
    /// For the job of that name.
    pub(super) fn new(files: &Files, job: &str) -> Self {
        let table = fs::canonicalize(&files.path).unwrap_or_else(|_| files.path.clone());
        let name: String =
            job.chars().map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '.' }).collect();
        let hidden = format!(".mulgil-{name}");
        Self { folder: table.join(&hidden), table, hidden, calls: files.calls() }
    }

    /// A new file. `name` is its path in the table.
    pub(super) fn create(&self, name: &str) -> Result<File, ConnectError> {
        let path = self.folder.join(name);
        let parent = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(file_error("create", parent))?;
        File::create_new(&path).map_err(file_error("create", &path))
    }

    /// Whether it is on this machine: then a file can be cut, and be published with the rows that it has then.
    pub(super) fn is_local(&self) -> bool {
        self.calls.is_none()
    }

    /// A staged file is closed and synced: it is brought to where it outlives this machine, if its table does.
    pub(super) fn close(&self, name: &str) -> Result<(), ConnectError> {
        let Some(calls) = &self.calls else { return Ok(()) };
        let path = self.folder.join(name);
        calls.put_file(&format!("{}/{name}", self.hidden), &path)?;
        fs::remove_file(&path).map_err(file_error("remove", &path))
    }

    /// Where a staged file is, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Cuts a staged file off behind `length` bytes, unless it has been published.
    pub(super) fn cut(&self, name: &str, length: u64) -> Result<(), ConnectError> {
        let path = self.folder.join(name);
        let cut = OpenOptions::new().write(true).open(&path).and_then(|file| {
            file.set_len(length)?;
            file.sync_all()
        });
        match cut {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            cut => cut.map_err(file_error("truncate", &path)),
        }
    }

    /// Makes staged files part of the table. Those that are already, stay.
    pub(super) fn publish<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), ConnectError> {
        if let Some(calls) = &self.calls {
            return self.publish_objects(calls, names);
        }
        let mut folders = BTreeSet::new();
        for name in names {
            let (staged, path) = (self.folder.join(name), self.table.join(name));
            let parent = path.parent().unwrap_or(&self.table).to_owned();
            fs::create_dir_all(&parent).map_err(file_error("create", &parent))?;
            match fs::rename(&staged, &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.exists() => {}
                renamed => renamed.map_err(file_error("publish", &staged))?,
            }
            folders.insert(parent);
        }
        for folder in folders {
            // A new folder has its name in the one above.
            folder.ancestors().take_while(|folder| folder.starts_with(&self.table)).try_for_each(sync_folder)?;
        }
        Ok(())
    }

    fn publish_objects<'a>(
        &self,
        calls: &ObjectCalls,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<(), ConnectError> {
        names.try_for_each(|name| {
            if calls.rename(&format!("{}/{name}", self.hidden), name)? {
                return Ok(());
            }
            Err(file_error("publish", &self.folder.join(name))(io::ErrorKind::NotFound.into()))
        })
    }

    /// Puts a marker, an empty file, into a folder of the table.
    pub(super) fn mark(&self, folder: &str, marker: &str) -> Result<(), ConnectError> {
        if let Some(calls) = &self.calls {
            return calls.put(&format!("{folder}/{marker}"), Bytes::new());
        }
        let folder = self.table.join(folder);
        let path = folder.join(marker);
        fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
        File::create(&path).and_then(|file| file.sync_all()).map_err(file_error("create", &path))?;
        sync_folder(&folder)
    }

    /// The note of what was published; `None` before the first.
    pub(super) fn published(&self) -> Result<Option<Published>, ConnectError> {
        let path = self.folder.join(NOTE);
        let parse = |text: &[u8], path: PathBuf| {
            serde_json::from_slice(text).map(Some).map_err(|error| ConnectError::Path {
                path,
                reason: format!("this is not a note of what was published: {error}"),
            })
        };
        if let Some(calls) = &self.calls {
            return calls.read(&format!("{}/{NOTE}", self.hidden))?.map_or(Ok(None), |text| parse(&text, path));
        }
        match fs::read(&path) {
            Ok(text) => parse(&text, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("read", &path)(error)),
        }
    }

    /// Notes what was published.
    pub(super) fn note(&self, published: &Published) -> Result<(), ConnectError> {
        if let Some(calls) = &self.calls {
            let text = serde_json::to_vec(published).unwrap_or_default();
            return calls.put(&format!("{}/{NOTE}", self.hidden), text.into());
        }
        fs::create_dir_all(&self.folder).map_err(file_error("create", &self.folder))?;
        let (part, path) = (self.folder.join("published.part"), self.folder.join(NOTE));
        let text = serde_json::to_vec(published).unwrap_or_default();
        fs::write(&part, text).map_err(file_error("write", &part))?;
        File::open(&part).and_then(|file| file.sync_all()).map_err(file_error("sync", &part))?;
        fs::rename(&part, &path).map_err(file_error("rename", &path))?;
        sync_folder(&self.folder)
    }

    /// Removes what is staged. The note stays.
    pub(super) fn clear(&self) -> Result<(), ConnectError> {
        self.remove_objects(|name| name != NOTE)?;
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(file_error("list", &self.folder))?,
        };
        for entry in entries {
            let path = entry.map_err(file_error("list", &self.folder))?.path();
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else if path.ends_with(NOTE) {
                Ok(())
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(file_error("remove", &path))?;
        }
        Ok(())
    }

    /// Removes hidden objects.
    fn remove_objects(&self, is_unwanted: impl Fn(&str) -> bool) -> Result<(), ConnectError> {
        let Some(calls) = &self.calls else { return Ok(()) };
        let prefix = format!("{}/", self.hidden);
        for (name, _) in calls.list()? {
            if name.strip_prefix(&prefix).is_some_and(&is_unwanted) {
                calls.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes the folder, and the note with it.
    pub(super) fn remove(&self) {
        // What stays is hidden, and in nobody's way.
        let _ = self.remove_objects(|_| true);
        let _ = fs::remove_dir_all(&self.folder);
    }
}
