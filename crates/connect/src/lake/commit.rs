//! Makes the commits of one table. The task that owns this knows the latest version and which files it has; a commit is
//! one new file in the log, and storage lets only one writer make the file of a version. Whoever comes second, behind
//! another process, loads the table again and commits on top.
//!
//! `deltalake` could make the commit, but replays the log after each one: with a file a day that is time in proportion to
//! the days, for each of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use deltalake_core::kernel::transaction::{CommitData, PROTOCOL};
use deltalake_core::kernel::{Action, Remove, Transaction};
use deltalake_core::logstore::{LogStoreRef, commit_uri_from_version};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableError, TableProperty};
use object_store::{ObjectStore, PutMode};
use tokio::task::JoinHandle;

use super::compaction::FILE_BYTES_MAX;
use super::failure::failure;
use super::schema::LakeSchema;
use super::table::{Appended, Commit, Replace, exists, log_store};
use super::version::append_of;
use crate::error::ConnectError;
use crate::partition::PartitionValues;
use crate::transaction::EpochVersion;

/// A checkpoint after so many commits: readers have at most that many log files to read.
const CHECKPOINT_COMMITS: u64 = 50;
/// How often a commit that comes behind another process's is made anew on top of it.
const RETRIES_MAX: usize = 100;

/// Commits to one table.
pub(super) struct Committer {
    name: Arc<str>,
    path: Arc<Path>,
    storage: Arc<dyn ObjectStore>,
    open: Option<Open>,
    /// The checkpoint that is being written, beside the commits.
    checkpoint: Option<JoinHandle<()>>,
}

/// The table as it is known.
struct Open {
    /// Its schema and properties, as of some version: they change only by other hands, and then it is loaded again.
    table: DeltaTable,
    /// The latest version.
    version: u64,
    /// What takes each of its files out, partition by partition.
    files: HashMap<PartitionValues, Vec<Remove>>,
    /// The last epochs of writers that were asked for or committed since the table was loaded.
    epochs: HashMap<String, Option<u64>>,
}

impl Committer {
    /// Nothing is loaded yet.
    pub(super) fn new(name: Arc<str>, path: Arc<Path>, storage: Arc<dyn ObjectStore>) -> Self {
        Self { name, path, storage, open: None, checkpoint: None }
    }

    /// The table for writing files, made if it does not exist.
    pub(super) async fn for_writing(&mut self, schema: &LakeSchema) -> Result<DeltaTable, ConnectError> {
        let open = self.open(schema).await?;
        let state = open.table.snapshot();
        let table = open.table.clone();
        match state {
            Ok(state) => schema.check(&state.schema(), state.metadata().partition_columns())?,
            Err(error) => return Err(self.failure("read the table", &error)),
        }
        Ok(table)
    }

    /// The last epoch of a writer that is in the table.
    pub(super) async fn last_epoch(&mut self, schema: &LakeSchema, writer: &str) -> Result<Option<u64>, ConnectError> {
        let open = self.open(schema).await?;
        if let Some(last) = open.epochs.get(writer) {
            return Ok(*last);
        }
        match open.last_epoch(writer).await {
            Ok(last) => Ok(*open.epochs.entry(writer.to_owned()).or_insert(last)),
            Err(error) => Err(self.failure("read the table's transactions", &error)),
        }
    }

    /// A version, and the last epoch of a writer that it has: no commit comes between the two.
    pub(super) async fn version_of(&mut self, schema: &LakeSchema, writer: &str) -> Result<EpochVersion, ConnectError> {
        let epoch = self.last_epoch(schema, writer).await?;
        Ok(EpochVersion { version: self.open(schema).await?.version, epoch })
    }

    /// Makes a commit; the version that has it. `None` where it rests on a version that is not the latest any more.
    pub(super) async fn commit(
        &mut self,
        schema: &LakeSchema,
        mut commit: Commit,
    ) -> Result<Option<u64>, ConnectError> {
        for _ in 0..RETRIES_MAX {
            self.for_writing(schema).await?;
            match &commit.replace {
                Replace::Files { version, paths } => {
                    let open = self.open(schema).await?;
                    // Another process has written since, or the files are known here by other spellings than a reader has.
                    if open.version < *version || open.removes(&commit.replace).len() != paths.len() {
                        self.open = None;
                        self.for_writing(schema).await?;
                    }
                    if self.open(schema).await?.version != *version {
                        return Ok(None);
                    }
                }
                Replace::Together(paths) => {
                    if self.open(schema).await?.removes(&commit.replace).len() != paths.len() {
                        // The files may be known here by other spellings than a reader has.
                        self.open = None;
                    }
                    if self.open(schema).await?.removes(&commit.replace).len() != paths.len() {
                        return Ok(None);
                    }
                }
                Replace::Appended(append) => {
                    let append = append.clone();
                    self.check_append(schema, &append).await?;
                    commit.epoch = Some(append.epoch(commit.adds.len()));
                }
                _ => {
                    if let Some(epoch) = &commit.epoch
                        && self.last_epoch(schema, &epoch.writer).await?.is_some_and(|last| last >= epoch.number)
                    {
                        return Ok(Some(self.open(schema).await?.version));
                    }
                }
            }
            match self.try_commit(schema, &commit).await {
                Ok(Some(version)) => {
                    self.checkpoint_if_due(version);
                    return Ok(Some(version));
                }
                Ok(None) => {
                    tracing::debug!(table = %self.name, "another process has committed; committing on top of it");
                    self.open = None;
                }
                Err(error) => {
                    // What was known may be what made it fail.
                    self.open = None;
                    return Err(self.failure("commit", &error));
                }
            }
        }
        let reason = format!("other processes commit all the time; gave up after {RETRIES_MAX} attempts");
        Err(ConnectError::Lake { table: self.name.to_string(), reason })
    }

    /// Refuses an attempt at an append that comes behind a later one, or whose earlier rows cannot be told any more.
    async fn check_append(&mut self, schema: &LakeSchema, append: &Appended) -> Result<(), ConnectError> {
        let refusal = |reason: String| ConnectError::Lake { table: schema.table.clone(), reason };
        let name = &append.name;
        let Some(last) = self.last_epoch(schema, &Appended::writer(name)).await? else { return Ok(()) };
        if append.known != Some(last) && Appended::attempt_of(last) >= append.attempt {
            return Err(refusal(format!(
                "another attempt has appended {name} while this one did; this one is left out"
            )));
        }
        let there = self.open(schema).await?.removes(&Replace::Appended(append.clone())).len() as u64;
        if there < Appended::files_of(last) {
            return Err(refusal(format!(
                "{name} has been appended before, but the files are not all there any more: they were put together anew, or \
                 replaced. So what it had appended cannot be taken out, and appending again could double it; if its rows are gone \
                 for good, append them under another task's name"
            )));
        }
        Ok(())
    }

    /// Makes the next version, or says that another process has made it.
    async fn try_commit(&mut self, schema: &LakeSchema, commit: &Commit) -> DeltaResult<Option<u64>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let removes = open.removes(&commit.replace);
        let is_empty_append = matches!(commit.replace, Replace::Appended(_));
        if removes.is_empty() && commit.adds.is_empty() && (commit.epoch.is_none() || is_empty_append) {
            return Ok(Some(open.version));
        }
        let actions = removes.into_iter().map(Action::Remove);
        let actions: Vec<Action> = actions.chain(commit.adds.iter().cloned().map(Action::Add)).collect();
        let operation = operation(schema, &commit.replace);
        PROTOCOL.can_commit(open.table.snapshot()?, &actions, &operation)?;
        let transactions = commit
            .epoch
            .iter()
            .map(|epoch| Transaction::new(&epoch.writer, i64::try_from(epoch.number).unwrap_or(i64::MAX)));
        let data = CommitData::new(actions, operation, HashMap::new(), transactions.collect());
        let bytes = data.get_bytes()?;
        let version = open.version + 1;
        let location = commit_uri_from_version(Some(version));
        match open.table.object_store().put_opts(&location, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        open.apply(version, schema, commit);
        Ok(Some(version))
    }

    /// The table as it is known, loaded or made if need be.
    async fn open(&mut self, schema: &LakeSchema) -> Result<&mut Open, ConnectError> {
        if self.open.is_none() {
            let opened = match self.load_or_create(schema).await {
                Ok(table) => Open::new(table, schema),
                Err(error) => Err(error),
            };
            self.open = Some(opened.map_err(|error| self.failure("open the table", &error))?);
        }
        self.open
            .as_mut()
            .ok_or_else(|| failure(&self.name, &self.path, "open the table", &DeltaTableError::NotInitialized))
    }

    async fn load_or_create(&self, schema: &LakeSchema) -> DeltaResult<DeltaTable> {
        let is_there = exists(&self.path).await;
        let log_store = log_store(&self.path, &self.storage)?;
        if is_there {
            let mut table = DeltaTable::new(log_store);
            table.load().await?;
            return Ok(table);
        }
        let mut table = match self.create(schema, log_store).await {
            Ok(table) => table,
            // Another process was faster.
            Err(_) if exists(&self.path).await => {
                let mut table = DeltaTable::new(self::log_store(&self.path, &self.storage)?);
                table.load().await?;
                return Ok(table);
            }
            Err(error) => return Err(error),
        };
        // Another process may have made it in the meantime, and written to it.
        table.update_state().await?;
        Ok(table)
    }

    async fn create(&self, schema: &LakeSchema, log_store: LogStoreRef) -> DeltaResult<DeltaTable> {
        let checkpoint_commits = CHECKPOINT_COMMITS.to_string();
        CreateBuilder::new()
            .with_log_store(log_store)
            .with_table_name(&*self.name)
            .with_columns(schema.fields.clone())
            .with_partition_columns(schema.partitioned_by.clone())
            .with_configuration_property(TableProperty::CheckpointInterval, Some(checkpoint_commits))
            .with_save_mode(SaveMode::Ignore)
            .await
    }

    /// Starts a checkpoint after every so many commits, beside the commits that follow. One that fails is made up for by
    /// the next; nothing depends on it but the time that loading takes.
    fn checkpoint_if_due(&mut self, version: u64) {
        let is_writing = self.checkpoint.as_ref().is_some_and(|checkpoint| !checkpoint.is_finished());
        if !(version + 1).is_multiple_of(CHECKPOINT_COMMITS) || is_writing {
            return;
        }
        let (name, path, storage) = (Arc::clone(&self.name), Arc::clone(&self.path), Arc::clone(&self.storage));
        self.checkpoint = Some(tokio::spawn(async move {
            if let Err(error) = write_checkpoint(&path, &storage).await {
                tracing::warn!(table = %name, %error, "a checkpoint could not be written; the next will be tried");
            }
        }));
    }

    fn failure(&self, action: &str, error: &DeltaTableError) -> ConnectError {
        failure(&self.name, &self.path, action, error)
    }
}

async fn write_checkpoint(path: &Path, storage: &Arc<dyn ObjectStore>) -> DeltaResult<()> {
    let mut table = DeltaTable::new(log_store(path, storage)?);
    table.load().await?;
    deltalake_core::checkpoints::create_checkpoint(&table, None).await?;
    deltalake_core::checkpoints::cleanup_metadata(&table, None).await?;
    Ok(())
}

impl Open {
    fn new(table: DeltaTable, schema: &LakeSchema) -> DeltaResult<Self> {
        let state = table.snapshot()?;
        let mut files: HashMap<PartitionValues, Vec<Remove>> = HashMap::new();
        for file in state.log_data().iter() {
            let values = in_order(schema, &file.partition_values_map());
            let tags = append_of(&file).map(|append| HashMap::from([(Appended::TAG.to_owned(), Some(append))]));
            files.entry(values).or_default().push(Remove { tags, ..file.remove_action(true) });
        }
        Ok(Self { version: state.version(), files, epochs: HashMap::new(), table })
    }

    async fn last_epoch(&self, writer: &str) -> DeltaResult<Option<u64>> {
        let log_store = self.table.log_store();
        let last = self.table.snapshot()?.transaction_version(log_store.as_ref(), writer).await?;
        Ok(last.and_then(|last| u64::try_from(last).ok()))
    }

    /// What takes out the files that a commit replaces.
    fn removes(&self, replace: &Replace) -> Vec<Remove> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).ok();
        let replaced: Vec<&Remove> = match replace {
            Replace::Nothing => vec![],
            Replace::Partition(values) => self.files.get(values).into_iter().flatten().collect(),
            Replace::Table => self.files.values().flatten().collect(),
            Replace::Files { paths, .. } | Replace::Together(paths) => self.those(|file| paths.contains(&file.path)),
            Replace::Appended(append) => self.those(|file| has_tag(file, append)),
        };
        let data_change = !matches!(replace, Replace::Together(_));
        let removed = |remove: &Remove| Remove { deletion_timestamp: now_ms, data_change, ..remove.clone() };
        replaced.into_iter().map(removed).collect()
    }

    fn those(&self, is_wanted: impl Fn(&Remove) -> bool) -> Vec<&Remove> {
        self.files.values().flatten().filter(|file| is_wanted(file)).collect()
    }

    fn forget(&mut self, is_unwanted: impl Fn(&Remove) -> bool) {
        self.files.values_mut().for_each(|files| files.retain(|file| !is_unwanted(file)));
    }

    /// Takes note of a commit that was made.
    fn apply(&mut self, version: u64, schema: &LakeSchema, commit: &Commit) {
        self.version = version;
        if let Some(epoch) = &commit.epoch {
            self.epochs.insert(epoch.writer.clone(), Some(epoch.number));
        }
        match &commit.replace {
            Replace::Nothing => {}
            Replace::Partition(values) => drop(self.files.remove(values)),
            Replace::Table => self.files.clear(),
            Replace::Files { paths, .. } | Replace::Together(paths) => self.forget(|file| paths.contains(&file.path)),
            Replace::Appended(append) => self.forget(|file| has_tag(file, append)),
        }
        for add in &commit.adds {
            let remove = Remove {
                path: add.path.clone(),
                data_change: true,
                extended_file_metadata: Some(true),
                partition_values: Some(add.partition_values.clone()),
                size: Some(add.size),
                tags: add.tags.clone(),
                ..Remove::default()
            };
            self.files.entry(in_order(schema, &add.partition_values)).or_default().push(remove);
        }
    }
}

/// Whether the append has put the file in.
fn has_tag(file: &Remove, append: &Appended) -> bool {
    let tag = file.tags.as_ref().and_then(|tags| tags.get(Appended::TAG));
    tag.is_some_and(|tag| tag.as_ref() == Some(&append.name))
}

/// The values of the partition columns, in the order of `PARTITIONED BY`.
fn in_order(schema: &LakeSchema, values: &HashMap<String, Option<String>>) -> PartitionValues {
    schema.partitioned_by.iter().map(|column| values.get(column).cloned().flatten()).collect()
}

/// What the table's history says about the commit; the predicate tells other processes what it depends on.
fn operation(schema: &LakeSchema, replace: &Replace) -> DeltaOperation {
    let (mode, predicate) = match replace {
        Replace::Files { .. } => {
            return DeltaOperation::Merge {
                predicate: None,
                merge_predicate: None,
                matched_predicates: vec![],
                not_matched_predicates: vec![],
                not_matched_by_source_predicates: vec![],
            };
        }
        Replace::Together(_) => {
            return DeltaOperation::Optimize { predicate: None, target_size: FILE_BYTES_MAX as i64 };
        }
        Replace::Nothing | Replace::Appended(_) => (SaveMode::Append, None),
        Replace::Table => (SaveMode::Overwrite, None),
        Replace::Partition(values) => (SaveMode::Overwrite, Some(predicate(&schema.partitioned_by, values))),
    };
    let partition_by = Some(schema.partitioned_by.clone()).filter(|columns| !columns.is_empty());
    DeltaOperation::Write { mode, partition_by, predicate }
}

/// `day = '2013-01-01'`.
fn predicate(columns: &[String], values: &PartitionValues) -> String {
    let conditions = columns.iter().zip(values).map(|(column, value)| match value {
        Some(value) => format!("{column} = '{}'", value.replace('\'', "''")),
        None => format!("{column} IS NULL"),
    });
    conditions.collect::<Vec<_>>().join(" AND ")
}
