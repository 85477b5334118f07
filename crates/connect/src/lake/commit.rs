//! Makes the commits of one table: keeps its latest version in memory, brings it up to date, and adds to it.

use std::path::Path;
use std::sync::Arc;

use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Remove};
use deltalake_core::logstore::LogStoreRef;
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError, TableProperty, ensure_table_uri};
use object_store::ObjectStore;

use super::failure::{failure, is_conflict};
use super::schema::LakeSchema;
use super::table::{Commit, Replace};
use crate::error::ConnectError;
use crate::partition::PartitionValues;

/// A checkpoint after so many commits: readers have at most that many log files to read.
const CHECKPOINT_COMMITS: u64 = 50;
/// How often a commit that conflicts with another process's is made anew on top of it.
const CONFLICT_RETRIES: usize = 10;

/// Commits to one table.
pub(super) struct Committer {
    name: Arc<str>,
    path: Arc<Path>,
    storage: Arc<dyn ObjectStore>,
    /// The table as it was seen last.
    table: Option<DeltaTable>,
}

impl Committer {
    /// Nothing is loaded yet.
    pub(super) fn new(name: Arc<str>, path: Arc<Path>, storage: Arc<dyn ObjectStore>) -> Self {
        Self { name, path, storage, table: None }
    }

    /// The table as it is now, if it exists.
    pub(super) async fn latest(&mut self) -> Result<Option<DeltaTable>, ConnectError> {
        if let Err(error) = self.load().await {
            return Err(self.failure("read the table", &error));
        }
        Ok(self.table.clone())
    }

    /// The table for writing, made if it does not exist.
    pub(super) async fn for_writing(&mut self, schema: &LakeSchema) -> Result<DeltaTable, ConnectError> {
        if self.table.is_none() {
            self.latest().await?;
        }
        if self.table.is_none() {
            let created = self.create(schema).await;
            self.table = Some(created.map_err(|error| self.failure("create the table", &error))?);
        }
        match &self.table {
            Some(table) => {
                if let Some(state) = &table.state {
                    schema.check(state)?;
                }
                Ok(table.clone())
            }
            None => Err(self.failure("create the table", &DeltaTableError::NotInitialized)),
        }
    }

    /// Makes a commit; the version that has it.
    pub(super) async fn commit(&mut self, schema: &LakeSchema, commit: Commit) -> Result<u64, ConnectError> {
        let mut retries = 0;
        loop {
            let mut table = self.for_writing(schema).await?;
            match self.try_commit(&mut table, schema, &commit).await {
                Ok(version) => {
                    self.table = Some(table);
                    return Ok(version);
                }
                Err(error) if is_conflict(&error) && retries < CONFLICT_RETRIES => {
                    retries += 1;
                    tracing::info!(table = %self.name, retries, "another process has committed; committing on top of it");
                    self.latest().await?;
                }
                Err(error) => {
                    // What was cached may be what made it fail.
                    self.table = None;
                    return Err(self.failure("commit", &error));
                }
            }
        }
    }

    async fn try_commit(&self, table: &mut DeltaTable, schema: &LakeSchema, commit: &Commit) -> DeltaResult<u64> {
        let state = table.snapshot()?;
        let removes: Vec<Remove> = match &commit.replace {
            Replace::Nothing => vec![],
            replace => {
                let files = state.log_data();
                let replaced = files.iter().filter(|file| is_replaced(replace, schema, &file.partition_values_map()));
                replaced.map(|file| file.remove_action(true)).collect()
            }
        };
        if removes.is_empty() && commit.adds.is_empty() {
            return Ok(state.version());
        }
        let removes = removes.into_iter().map(Action::Remove);
        let actions = removes.chain(commit.adds.iter().cloned().map(Action::Add)).collect();
        // Old log files are looked for when a checkpoint has made them superfluous, not with every commit.
        let is_checkpoint = (state.version() + 2).is_multiple_of(CHECKPOINT_COMMITS);
        let properties = CommitProperties::default().with_cleanup_expired_logs(Some(is_checkpoint));
        let commit = CommitBuilder::from(properties).with_actions(actions).build(
            Some(state),
            table.log_store(),
            operation(schema, &commit.replace),
        );
        let committed = commit.await?;
        let version = committed.version();
        table.state = Some(committed.snapshot);
        Ok(version)
    }

    /// Brings the table in memory up to date.
    async fn load(&mut self) -> DeltaResult<()> {
        if let Some(table) = &mut self.table {
            return match table.update_state().await {
                Ok(()) => Ok(()),
                Err(_) => {
                    // The folder may have been emptied or replaced since: look at it afresh.
                    self.table = None;
                    Box::pin(self.load()).await
                }
            };
        }
        let mut table = DeltaTable::new(self.log_store()?);
        if table.verify_deltatable_existence().await? {
            table.load().await?;
            self.table = Some(table);
        }
        Ok(())
    }

    async fn create(&self, schema: &LakeSchema) -> DeltaResult<DeltaTable> {
        let checkpoint_commits = CHECKPOINT_COMMITS.to_string();
        CreateBuilder::new()
            .with_log_store(self.log_store()?)
            .with_table_name(&*self.name)
            .with_columns(schema.fields.clone())
            .with_partition_columns(schema.partitioned_by.clone())
            .with_configuration_property(TableProperty::CheckpointInterval, Some(checkpoint_commits))
            .with_save_mode(SaveMode::Ignore)
            .await
    }

    fn log_store(&self) -> DeltaResult<LogStoreRef> {
        let url = ensure_table_uri(self.path.to_string_lossy())?;
        let builder = DeltaTableBuilder::from_url(url.clone())?;
        builder.with_storage_backend(Arc::clone(&self.storage), url).build_storage()
    }

    fn failure(&self, action: &str, error: &DeltaTableError) -> ConnectError {
        failure(&self.name, &self.path, action, error)
    }
}

fn is_replaced(
    replace: &Replace,
    schema: &LakeSchema,
    values: &std::collections::HashMap<String, Option<String>>,
) -> bool {
    match replace {
        Replace::Nothing => false,
        Replace::Table => true,
        Replace::Partition(partition) => {
            let mut columns = schema.partitioned_by.iter().zip(partition);
            columns.all(|(column, value)| values.get(column).and_then(Option::as_ref) == value.as_ref())
        }
    }
}

/// What the table's history says about the commit; the predicate also tells other processes what it depends on.
fn operation(schema: &LakeSchema, replace: &Replace) -> DeltaOperation {
    let (mode, predicate) = match replace {
        Replace::Nothing => (SaveMode::Append, None),
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
