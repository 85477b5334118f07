//! The registry of connectors: from what a `CREATE TABLE` says to something that can be read or written.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::sink::Sink;
use crate::source::Source;
use crate::writer::TableWriter;

/// Where the systems of a project are.
#[derive(Clone)]
pub struct ConnectorsOptions {
    /// The folder that relative paths are relative to.
    pub project_dir: PathBuf,
    /// The folder of the lake.
    pub lake_dir: PathBuf,
}

/// Makes sources, sinks, providers and writers. One per process: it holds the lake's table caches.
pub struct Connectors {
    options: ConnectorsOptions,
}

impl Connectors {
    /// Connectors for a project.
    pub fn new(options: ConnectorsOptions) -> Self {
        Self { options }
    }

    /// Checks the connector, its options and the columns, and touches no system.
    pub fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Err(self.unknown(table))
    }

    /// The table as a stream or bounded input.
    pub fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Err(self.unknown(table))
    }

    /// The physical columns of the table for DataFusion. Partition columns are pruned before anything is opened.
    pub async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        Err(self.unknown(table))
    }

    /// The table as the end of a stream.
    pub fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        Err(self.unknown(table))
    }

    /// The table as the target of a batch write.
    pub fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        Err(self.unknown(table))
    }

    fn unknown(&self, table: &TableDefinition) -> ConnectError {
        ConnectError::Definition {
            table: table.name.to_string(),
            reason: format!("no connector is built for project {} yet", self.options.project_dir.display()),
        }
    }
}
