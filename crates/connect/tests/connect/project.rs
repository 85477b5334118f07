//! A project in a temporary folder, and short ways to define, read and write its tables.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionContext;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_connect::definition::{ColumnDefinition, MetadataDefinition, TableDefinition, TableName};
use mulgil_connect::error::ConnectError;
use mulgil_connect::object_storage::ObjectStorageOptions;
use mulgil_connect::source::{PartitionReader, Position, Read};
use mulgil_log::{EventLog, LogOptions};
use tempfile::TempDir;

pub struct Project {
    pub dir: TempDir,
    pub connectors: Arc<Connectors>,
    pub log: EventLog,
}

impl Project {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EventLog::open(dir.path().join("log"), LogOptions::default()).unwrap();
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: dir.path().to_owned(),
            lake_dir: dir.path().join("lake"),
            log: Some(log.clone()),
            object_storage: Default::default(),
        });
        Self { dir, connectors: Arc::new(connectors), log }
    }

    /// A project that can reach object storage.
    pub fn with_object_storage(options: ObjectStorageOptions) -> Self {
        let project = Self::new();
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: project.dir.path().to_owned(),
            lake_dir: project.dir.path().join("lake"),
            log: Some(project.log.clone()),
            object_storage: options,
        });
        Self { connectors: Arc::new(connectors), ..project }
    }

    /// The same project with everything opened anew.
    pub fn reopened(&self) -> Connectors {
        Connectors::new(ConnectorsOptions {
            project_dir: self.dir.path().to_owned(),
            lake_dir: self.dir.path().join("lake"),
            log: None,
            object_storage: Default::default(),
        })
    }

    /// The same project with everything but the log, which one process has open once, opened anew.
    pub fn reopened_with_log(&self) -> Connectors {
        Connectors::new(ConnectorsOptions {
            project_dir: self.dir.path().to_owned(),
            lake_dir: self.dir.path().join("lake"),
            log: Some(self.log.clone()),
            object_storage: Default::default(),
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The result of a query over one table, `t`, as DataFusion prints it.
    pub async fn query(&self, table: &TableDefinition, sql: &str) -> Result<String, ConnectError> {
        query(&self.connectors, table, sql).await
    }

    /// All rows of the table as a bounded source.
    pub async fn read(&self, table: &TableDefinition) -> Result<RecordBatch, ConnectError> {
        let source = self.connectors.source(table)?;
        let projection: Vec<usize> = (0..source.schema().fields().len()).collect();
        let mut batches = Vec::new();
        for partition in 0..source.partitions().await?.len() {
            let mut reader = source.open(partition, 0, &projection, false).await?;
            batches.extend(drain(reader.as_mut()).await?.0);
        }
        Ok(concat_batches(&source.schema(), &batches)?)
    }
}

pub async fn query(connectors: &Connectors, table: &TableDefinition, sql: &str) -> Result<String, ConnectError> {
    let session = SessionContext::new();
    session.register_table("t", connectors.provider(table).await?)?;
    let batches = session.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

/// Everything up to the end, and the last position.
pub async fn drain(reader: &mut dyn PartitionReader) -> Result<(Vec<RecordBatch>, Position), ConnectError> {
    let mut batches = Vec::new();
    let mut position = 0;
    loop {
        match reader.next().await? {
            Read::Rows(rows, behind) => {
                batches.push(rows);
                position = behind;
            }
            Read::Changes(..) => panic!("this is no changelog"),
            Read::Idle => {}
            Read::End => return Ok((batches, position)),
        }
    }
}

/// A table: `name TYPE, ...` in a shorthand of SQL, and its options.
pub fn table(name: &str, columns: &str, options: &[(&str, &str)]) -> TableDefinition {
    let columns = columns.split(", ").map(|column| {
        let (name, sql_type) = column.split_once(' ').unwrap();
        let bare = sql_type.trim_end_matches(" NOT NULL");
        ColumnDefinition {
            name: name.to_owned(),
            data_type: data_type(bare),
            nullable: bare == sql_type,
            computed: None,
            metadata: None,
        }
    });
    TableDefinition {
        name: TableName::parse(name),
        columns: columns.collect(),
        watermark: None,
        partitioned_by: vec![],
        primary_key: vec![],
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

/// The same table, with column `name` as metadata.
pub fn metadata(mut table: TableDefinition, name: &str, key: &str, is_virtual: bool) -> TableDefinition {
    let column = table.columns.iter_mut().find(|column| column.name == name).unwrap();
    column.metadata = Some(MetadataDefinition { key: key.to_owned(), is_virtual });
    table
}

/// The same table with a primary key.
pub fn primary_key(mut table: TableDefinition, columns: &[&str]) -> TableDefinition {
    table.primary_key = columns.iter().map(|column| (*column).to_owned()).collect();
    table
}

pub fn partitioned_by(mut table: TableDefinition, columns: &[&str]) -> TableDefinition {
    table.partitioned_by = columns.iter().map(|column| (*column).to_owned()).collect();
    table
}

fn data_type(sql_type: &str) -> DataType {
    match sql_type {
        "STRING" => DataType::Utf8,
        "BYTES" => DataType::Binary,
        "INT" => DataType::Int32,
        "BIGINT" => DataType::Int64,
        "DOUBLE" => DataType::Float64,
        "BOOLEAN" => DataType::Boolean,
        "DATE" => DataType::Date32,
        "DECIMAL" => DataType::Decimal128(10, 2),
        "TIMESTAMP" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "TIMESTAMP_LTZ" => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        other => panic!("no type {other}"),
    }
}

/// Rows for a writer.
pub fn rows(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema: SchemaRef = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let batches = futures::stream::iter(batches.into_iter().map(Ok));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// The rows of a query without tables, as `SELECT ... FROM (VALUES ...)`.
pub async fn select(sql: &str) -> SendableRecordBatchStream {
    SessionContext::new().sql(sql).await.unwrap().execute_stream().await.unwrap()
}

pub fn text(rows: &RecordBatch) -> String {
    pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string()
}
