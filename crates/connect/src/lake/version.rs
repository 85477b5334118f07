//! What a version of a lake table changes, as whole files: the rows of some are given, those of others are taken back. Files that
//! are put together anew (`optimize`) change nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use deltalake_core::DeltaResult;
use deltalake_core::kernel::{Action, Add, DeletionVectorDescriptor, LogicalFileView, Remove, Snapshot};
use deltalake_core::logstore::get_actions;
use futures::TryStreamExt;

use super::compaction::level_of;
use super::failure::failure;
use super::schema::LakeSchema;
use super::table::{Appended, LakeTable, LatestTable};
use crate::error::ConnectError;

/// The values of partition columns, by name.
type Values = HashMap<String, Option<String>>;

/// A file whose rows come or go.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FileChange {
    /// Its path below the table's folder.
    pub(super) path: String,
    /// Its partition.
    pub(super) values: Values,
    /// The append that has put it in, where that is told.
    pub(super) append: Option<String>,
    /// Whether its rows are taken back.
    pub(super) is_removed: bool,
}

/// The versions of a table.
pub(super) struct History {
    pub(super) table: LakeTable,
    pub(super) schema: Arc<LakeSchema>,
    /// Whether a version may take rows out.
    pub(super) takes_back: bool,
}

impl History {
    /// The latest version; `None` while there is no table.
    pub(super) async fn latest(&self) -> Result<Option<u64>, ConnectError> {
        Ok(self.table.latest(&self.schema).await?.map(|latest| latest.snapshot.version()))
    }

    /// The files of the table as of a version, in the same order whenever it is asked for; `None` while there is no such version.
    pub(super) async fn as_of(&self, version: u64) -> Result<Option<VecDeque<FileChange>>, ConnectError> {
        let Some(mut files) = self.files_as_of(version, AGAIN).await? else { return Ok(None) };
        files.sort_by(|a, b| a.change.path.cmp(&b.change.path));
        let told = files.into_iter().map(|file| self.told(version, file.change, file.vector.as_ref()));
        told.collect::<Result<_, _>>().map(Some)
    }

    /// The files of the table as of a version, those that were written first first; `None` while there is no such version.
    pub(super) async fn written_by(&self, version: u64, remedy: &str) -> Result<Option<Vec<Written>>, ConnectError> {
        let Some(mut files) = self.files_as_of(version, remedy).await? else { return Ok(None) };
        files.sort_by(|a, b| (a.written_ms, &a.change.path).cmp(&(b.written_ms, &b.change.path)));
        let told = files.into_iter().map(|file| {
            let StoredFile { change, vector, rows, written_ms, bytes, level } = file;
            let level = level.filter(|_| vector.is_none());
            Ok(Written { change: self.told(version, change, vector.as_ref())?, rows, written_ms, bytes, level })
        });
        told.collect::<Result<_, _>>().map(Some)
    }

    async fn files_as_of(&self, version: u64, remedy: &str) -> Result<Option<Vec<StoredFile>>, ConnectError> {
        let Some(latest) = self.reached(version).await? else { return Ok(None) };
        let files = files_of(&latest, version).await.map_err(|error| {
            let gone = "the table cannot be told as of this version: ";
            self.refusal(version, format!("{gone}{error}. {remedy}"))
        })?;
        Ok(Some(files))
    }

    /// The files that a version changes, first those that it takes out; `None` while there is no such version.
    pub(super) async fn changed_by(&self, version: u64) -> Result<Option<VecDeque<FileChange>>, ConnectError> {
        let Some(latest) = self.reached(version).await? else { return Ok(None) };
        let failed = |error| failure(&self.table.name, &self.table.path, "read a commit", &error);
        let Some(commit) = latest.log_store.read_commit_entry(version).await.map_err(failed)? else {
            return Err(
                self.refusal(version, format!("its commit is gone: old ones are removed after a time. {AGAIN}"))
            );
        };
        let (mut adds, mut removes) = (Vec::new(), Vec::new());
        for action in get_actions(version, &commit).map_err(failed)? {
            match action {
                Action::Add(add) if add.data_change => adds.push(add),
                Action::Remove(remove) if remove.data_change => removes.push(remove),
                _ => {}
            }
        }
        leave_out_same(&mut adds, &mut removes);
        if !removes.is_empty() && !self.takes_back {
            return Err(self.refusal(
                version,
                format!(
                    "it takes rows out, and only rows that are added are read; say 'scan.changelog-mode' = 'all' to have them taken \
                     back, or begin behind it, with 'scan.startup.version' = '{}'",
                    version + 1
                ),
            ));
        }
        let mut files = VecDeque::with_capacity(adds.len() + removes.len());
        let mut before: Option<HashMap<String, Values>> = None;
        for remove in removes {
            let values = match remove.partition_values {
                Some(values) => values,
                None if self.schema.partitioned_by.is_empty() => Values::new(),
                // Writers need not say of which partition a file is that they take out.
                None => {
                    if before.is_none() {
                        before = Some(self.partitions_before(&latest, version).await?);
                    }
                    let values = before.as_mut().and_then(|before| before.remove(&remove.path));
                    let unknown = || format!("it takes out {}, which was not there", remove.path);
                    values.ok_or_else(|| self.refusal(version, unknown()))?
                }
            };
            let file = FileChange { path: remove.path, values, append: None, is_removed: true };
            files.push_back(self.told(version, file, remove.deletion_vector.as_ref())?);
        }
        for add in adds {
            let file = FileChange { path: add.path, values: add.partition_values, append: None, is_removed: false };
            files.push_back(self.told(version, file, add.deletion_vector.as_ref())?);
        }
        Ok(Some(files))
    }

    /// What is wrong with a version, and what to do.
    pub(super) fn refusal(&self, version: u64, reason: String) -> ConnectError {
        ConnectError::LakeVersion { table: self.table.name.to_string(), version, reason }
    }

    /// The table, once it has the version.
    async fn reached(&self, version: u64) -> Result<Option<LatestTable>, ConnectError> {
        let latest = self.table.latest(&self.schema).await?;
        Ok(latest.filter(|latest| latest.snapshot.version() >= version))
    }

    /// The partitions of the files as they were before a version.
    async fn partitions_before(
        &self,
        latest: &LatestTable,
        version: u64,
    ) -> Result<HashMap<String, Values>, ConnectError> {
        let files = files_of(latest, version.saturating_sub(1)).await;
        let files =
            files.map_err(|error| failure(&self.table.name, &self.table.path, "read the version before", &error))?;
        Ok(files.into_iter().map(|file| (file.change.path, file.change.values)).collect())
    }

    /// The file, if all rows in it are rows of the table, and it is in the table's folder.
    fn told(
        &self,
        version: u64,
        file: FileChange,
        vector: Option<&DeletionVectorDescriptor>,
    ) -> Result<FileChange, ConnectError> {
        let reason = if vector.is_some() {
            "has a deletion vector, and those are not read where changes are; rewrite its files (REORG TABLE ... APPLY (PURGE)), \
             and begin behind that version"
        } else if file.path.contains("://") || file.path.starts_with('/') {
            "is not in the table's folder (a shallow clone), which is not read where changes are"
        } else {
            return Ok(file);
        };
        Err(self.refusal(version, format!("file {} {reason}", file.path)))
    }
}

/// What to do when something is gone for good.
pub(super) const AGAIN: &str = "Begin again without what is kept of the table (`mulgil view replay NAME`), at a version whose files are all there: \
                                a later 'scan.startup.version', or none with 'scan.changelog-mode' = 'all', which begins with the table as it is now";

/// A file as of a version.
struct StoredFile {
    change: FileChange,
    vector: Option<DeletionVectorDescriptor>,
    /// When it was written, in milliseconds since the epoch.
    written_ms: i64,
    /// How many rows are in it, where that is known.
    rows: Option<u64>,
    bytes: u64,
    level: Option<u32>,
}

/// A file that is in the table.
pub(super) struct Written {
    /// Itself.
    pub(super) change: FileChange,
    /// How many rows it has, where that is known.
    pub(super) rows: Option<u64>,
    /// Its place among the others: when its rows were written, in milliseconds since the epoch.
    pub(super) written_ms: i64,
    /// How large it is.
    pub(super) bytes: u64,
    /// How often its rows have been put together with others; `None` where that is not to be done.
    pub(super) level: Option<u32>,
}

/// The files as of a version.
async fn files_of(latest: &LatestTable, version: u64) -> DeltaResult<Vec<StoredFile>> {
    let snapshot = if latest.snapshot.version() == version {
        Arc::clone(&latest.snapshot)
    } else {
        Arc::new(Snapshot::try_new(&latest.log_store, Some(version)).await?)
    };
    let files = snapshot.file_views(&latest.log_store, None).map_ok(|file| {
        let (path, values) = (file.path().into_owned(), file.partition_values_map());
        let mut tags = tags_of(&file);
        let append = tags.remove(Appended::TAG).flatten();
        StoredFile {
            level: level_of(&tags, append.as_deref()),
            bytes: u64::try_from(file.size()).unwrap_or_default(),
            change: FileChange { path, values, append, is_removed: false },
            vector: file.deletion_vector_descriptor(),
            written_ms: file.modification_time(),
            rows: file.num_records().and_then(|rows| u64::try_from(rows).ok()),
        }
    });
    files.try_collect().await
}

/// The append that has put a file in.
pub(super) fn append_of(file: &LogicalFileView) -> Option<String> {
    tags_of(file).remove(Appended::TAG).flatten()
}

fn tags_of(file: &LogicalFileView) -> HashMap<String, Option<String>> {
    #[expect(deprecated, reason = "the arrays that it is made from are not public")]
    let add = file.add_action();
    add.tags.unwrap_or_default()
}

/// Leaves out the files that a version takes out and puts in again as they were.
fn leave_out_same(adds: &mut Vec<Add>, removes: &mut Vec<Remove>) {
    let whole = |vector: &Option<DeletionVectorDescriptor>| vector.is_none();
    let removed: HashSet<&str> =
        removes.iter().filter(|file| whole(&file.deletion_vector)).map(|file| file.path.as_str()).collect();
    let same: HashSet<String> = adds
        .iter()
        .filter(|file| whole(&file.deletion_vector) && removed.contains(file.path.as_str()))
        .map(|file| file.path.clone())
        .collect();
    adds.retain(|file| !same.contains(&file.path));
    removes.retain(|file| !same.contains(&file.path));
}
