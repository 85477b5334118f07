//! The lake: tables in Delta format, `'connector' = 'delta'`, each a folder of Parquet files and a log of commits.
//!
//! Writers write Parquet files side by side; a file belongs to the table only once a commit says so, and one task a
//! table makes the commits, one after the other. So writers of one process never conflict, and a writer that is killed
//! leaves files that nobody reads.

mod changes;
mod commit;
mod compaction;
mod data_file;
mod durable;
mod failure;
mod merge;
mod past;
mod provider;
mod schema;
mod source;
mod stage;
mod table;
mod transaction;
mod version;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use object_store::ObjectStore;

pub use self::past::partition_at;
use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::Sink;
use crate::source::Source;
use crate::writer::TableWriter;
use changes::Since;
use durable::DurableStore;
use schema::LakeSchema;
use table::LakeTable;
use writer::LakeWriter;

/// The value of `connector`.
const NAME: &str = "delta";

/// The tables of the lake that are in use, each open once.
pub struct Lake {
    project_dir: PathBuf,
    lake_dir: PathBuf,
    storage: Arc<dyn ObjectStore>,
    tables: Mutex<HashMap<PathBuf, LakeTable>>,
}

impl Lake {
    /// The lake in a local folder. Tables with an own `path` are relative to the project.
    pub fn new(project_dir: PathBuf, lake_dir: PathBuf) -> Self {
        Self::with_storage(project_dir, lake_dir, Arc::new(DurableStore::default()))
    }

    /// The lake on other storage, whose root is the root of the file system.
    pub fn with_storage(project_dir: PathBuf, lake_dir: PathBuf, storage: Arc<dyn ObjectStore>) -> Self {
        Self { project_dir, lake_dir, storage, tables: Mutex::default() }
    }

    /// Local storage as [`Lake::new`] uses it: synced before it is acknowledged.
    pub fn durable_storage() -> Arc<dyn ObjectStore> {
        Arc::new(DurableStore::default())
    }

    /// The table that a definition describes. It need not exist yet.
    fn table(&self, definition: &TableDefinition) -> Result<(LakeTable, Arc<LakeSchema>), ConnectError> {
        let (schema, path) = self.read(definition)?;
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let open = tables
            .entry(path.clone())
            .or_insert_with(|| LakeTable::new(definition.name.to_string(), path, Arc::clone(&self.storage)));
        Ok((open.clone(), Arc::new(schema)))
    }

    fn read(&self, definition: &TableDefinition) -> Result<(LakeSchema, PathBuf), ConnectError> {
        let options = Options::new(definition, &OPTIONS)?;
        since(&options)?;
        compacts(&options)?;
        let path = match options.optional("path") {
            Some(path) => self.project_dir.join(path),
            None => self.lake_dir.join(&definition.name.namespace).join(&definition.name.name),
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        Ok((LakeSchema::new(definition)?, clean(&path)))
    }
}

/// Whether rows that are taken out are taken back.
const CHANGELOG_MODE: &str = "scan.changelog-mode";
/// The mode in which they are.
const ALL: &str = "all";

/// Whether small files that a stream has written are put together.
pub const AUTO_COMPACTION: &str = "auto-compaction";

/// The options.
const OPTIONS: [&str; 6] =
    ["connector", "path", "scan.startup.version", CHANGELOG_MODE, "source.monitor-interval", AUTO_COMPACTION];

/// How often a table whose changes are read is looked at, where nothing is said.
const MONITOR_INTERVAL: Duration = Duration::from_secs(1);

/// Whether what is read of a table is a changelog.
pub(crate) fn has_changes(table: &TableDefinition) -> bool {
    let option = |name: &str| table.options.get(name).map_or("", String::as_str);
    option("connector") == NAME && option(CHANGELOG_MODE) == ALL
}

fn compacts(options: &Options<'_>) -> Result<bool, ConnectError> {
    options.one_of(AUTO_COMPACTION, &[("true", true), ("false", false)], false)
}

/// From where on changes are read; `None` reads the table as it is.
fn since(options: &Options<'_>) -> Result<Option<Since>, ConnectError> {
    let takes_back = options.one_of(CHANGELOG_MODE, &[("insert-only", false), (ALL, true)], false)?;
    let interval = options.duration("source.monitor-interval")?;
    let version = options.number("scan.startup.version")?;
    if version.is_none() && !takes_back {
        return match interval {
            Some(_) => Err(options.refusal(
                "'source.monitor-interval' does nothing without 'scan.startup.version' = '0' or 'scan.changelog-mode' = 'all'",
            )),
            None => Ok(None),
        };
    }
    Ok(Some(Since { version, interval: interval.unwrap_or(MONITOR_INTERVAL), takes_back }))
}

/// The path without `.` and `..`, so that a table has one name.
fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[async_trait]
impl Connector for Lake {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        self.read(table).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        let (open, schema) = self.table(table)?;
        Ok(Arc::new(source::LakeSource::new(open, schema, since(&Options::new(table, &OPTIONS)?)?)))
    }

    fn source_at(&self, table: &TableDefinition, version: u64) -> Result<Arc<dyn Source>, ConnectError> {
        let (open, schema) = self.table(table)?;
        Ok(Arc::new(past::PastSource::new(open, schema, version)))
    }

    async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        let (table, schema) = self.table(table)?;
        provider::provider(&table, &schema).await
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(self.lake_writer(table)?))
    }

    fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        Ok(Arc::new(self.lake_writer(table)?))
    }
}

impl Lake {
    fn lake_writer(&self, definition: &TableDefinition) -> Result<LakeWriter, ConnectError> {
        let (table, schema) = self.table(definition)?;
        let compacts = compacts(&Options::new(definition, &OPTIONS)?)?;
        LakeWriter::new(table, schema, definition, compacts)
    }
}
