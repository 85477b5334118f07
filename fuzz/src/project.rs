//! A project in a temporary folder with the tables that are read, one for each way to read bytes.

use std::path::Path;
use std::sync::Arc;

use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_connect::definition::TableName;
use mulgil_connect::error::ConnectError;
use mulgil_connect::source::{PartitionReader, Read, Source};
use mulgil_log::{EventLog, LogOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::statement::parse_statements;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Columns of every type that text is turned into.
pub const COLUMNS: &str = "name VARCHAR, note VARCHAR NOT NULL, small INT, large BIGINT, ratio DOUBLE, is_on BOOLEAN, day DATE, price \
                           DECIMAL(10, 2), at_time TIMESTAMP(3), at_zone TIMESTAMP_LTZ(3), raw_bytes BYTES";

/// A project whose tables can be read.
pub struct Project {
    /// Its folder.
    pub dir: TempDir,
    /// Its event log.
    pub log: EventLog,
    /// Where futures run.
    pub io: Runtime,
    catalog: Catalog,
    connectors: Arc<Connectors>,
}

impl Project {
    /// A project with the tables `t0`, `t1`, and so on: each with these columns and options.
    pub fn new(tables: &[(&str, String)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let io = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let log = EventLog::open(dir.path().join("log"), LogOptions::default()).expect("a log");
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: dir.path().to_owned(),
            lake_dir: dir.path().join("lake"),
            log: Some(log.clone()),
            object_storage: Default::default(),
        });
        let mut catalog = Catalog::default();
        for (number, (columns, options)) in tables.iter().enumerate() {
            let text = format!("CREATE TABLE t{number} ({columns}) WITH ({options});");
            let (statements, problems) = parse_statements(Path::new("fuzz.sql"), &text);
            assert!(problems.is_empty(), "{text}: {problems:?}");
            for statement in &statements {
                let declared = catalog.declare(statement, Path::new("fuzz.sql"), &connectors);
                assert!(declared.is_ok(), "{text}: {:?}", declared.err());
            }
        }
        Self { dir, log, io, catalog, connectors: Arc::new(connectors) }
    }

    /// What is declared, and what opens it.
    pub fn into_parts(self) -> (Arc<Catalog>, Arc<Connectors>) {
        (Arc::new(self.catalog), self.connectors)
    }

    /// Table number `number`.
    pub fn source(&self, number: usize) -> Arc<dyn Source> {
        let table = self.catalog.table(&TableName::parse(&format!("t{number}"))).expect("a declared table");
        self.connectors.source(&table.definition).expect("a table that can be read")
    }

    /// Reads one partition of a source from a position to its end. What is wrong with it may be anything but a panic.
    pub fn read(&self, source: &dyn Source, partition: usize, from: u64) -> Result<u64, ConnectError> {
        let all: Vec<usize> = (0..source.schema().fields().len()).collect();
        self.io.block_on(async {
            let mut reader = source.open(partition, from, &all, false).await?;
            drain(reader.as_mut()).await
        })
    }
}

async fn drain(reader: &mut dyn PartitionReader) -> Result<u64, ConnectError> {
    let mut rows = 0;
    loop {
        match reader.next().await? {
            Read::Rows(batch, _) => rows += batch.num_rows() as u64,
            Read::Changes(batch, _) => rows += batch.num_rows() as u64,
            Read::Idle => {}
            Read::End => return Ok(rows + reader.skipped_rows()),
        }
    }
}
