//! Tables of a PostgreSQL database: `'connector' = 'postgres', 'url' = 'postgresql://user@host/database'`.
//!
//! A table can be read as a whole, in parts side by side that are all as of one moment, and looked up by key. Every column is asked
//! for in its declared type: what does not fit is an error of the database's, with its own words.
//!
//! A table can be written: rows are added, or, where a PRIMARY KEY is declared, added, updated and deleted by key. What comes
//! between two checkpoints is one transaction, with a note of the checkpoint: exactly once.
//!
//! The password comes from `'password-file'`, or stands in `'password'` or the URL. It is in no message: errors name the
//! host, the port and the database alone.

mod cells;
mod client;
mod encode;
mod lookup;
mod note;
mod parts;
mod provider;
mod session;
mod sink;
mod source;
mod target;
mod transaction;
mod writer;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;

use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::sql_type;
use crate::options::{Options, refusal};
use crate::sink::Sink;
use crate::source::Source;

use crate::writer::TableWriter;
use client::Database;
use parts::PartOptions;
use provider::PostgresProvider;
use sink::PostgresSink;
use source::PostgresSource;
use transaction::EPOCH_TABLE;
use writer::PostgresWriter;

const OPTIONS: [&str; 10] = [
    "connector",
    "url",
    "table-name",
    "username",
    "password",
    "password-file",
    "ssl.root-cert",
    "sink.buffer-flush.max-rows",
    "sink.epoch-table",
    QUERY,
];

/// What is read in place of a table.
const QUERY: &str = "scan.query";

/// A writer without checkpoints commits when so many rows have come, where the table does not say.
const FLUSH_ROWS: usize = 100_000;

/// `'connector' = 'postgres'`.
pub(crate) struct PostgresConnector {
    project_dir: std::path::PathBuf,
}

impl PostgresConnector {
    /// `'password-file'` is relative to `project_dir`.
    pub(crate) fn new(project_dir: std::path::PathBuf) -> Self {
        Self { project_dir }
    }

    fn writable(&self, table: &TableDefinition) -> Result<PostgresTable, ConnectError> {
        let opened = PostgresTable::new(table, &self.project_dir)?;
        match opened.query {
            Some(_) => {
                Err(refusal(table, format!("what '{QUERY}' gives can only be read; name a table with 'table-name'")))
            }
            None => Ok(opened),
        }
    }
}

#[async_trait]
impl Connector for PostgresConnector {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        PostgresTable::new(table, &self.project_dir).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(PostgresSource::new(PostgresTable::new(table, &self.project_dir)?)))
    }

    async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        Ok(Arc::new(PostgresProvider::new(PostgresTable::new(table, &self.project_dir)?).await?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(PostgresSink::new(self.writable(table)?)))
    }

    fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        Ok(Arc::new(PostgresWriter::new(self.writable(table)?, table)?))
    }
}

/// A table of a database.
#[derive(Clone)]
pub(crate) struct PostgresTable {
    database: Arc<Database>,
    /// Its name as a statement spells it: `"public"."rates"`.
    quoted_name: String,
    /// What is read in its place.
    query: Option<String>,
    /// Which of its rows are read, as a statement says it.
    condition: Option<String>,
    /// Its name here.
    name: String,
    schema: SchemaRef,
    /// How it is read side by side.
    part_options: PartOptions,
    /// The columns that an `INSERT` brings.
    writable: SchemaRef,
    primary_key: Vec<String>,
    /// A writer without checkpoints commits when so many rows have come.
    flush_rows: usize,
    /// Where the notes of epochs are, as a statement spells it.
    epoch_table: String,
}

impl PostgresTable {
    /// The table that a definition describes. Connects to nothing.
    fn new(table: &TableDefinition, project_dir: &Path) -> Result<Self, ConnectError> {
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(PartOptions::NAMES).collect();
        let options = Options::new(table, &allowed)?;
        let schema = table.physical_schema();
        for field in schema.fields() {
            if type_name(field).is_none() {
                let (name, data_type) = (field.name(), sql_type(field.data_type()));
                return Err(options.refusal(format!(
                    "column {name} is {data_type}, which is not read from PostgreSQL; declare it as STRING"
                )));
            }
        }
        let own_name = table.name.to_string();
        let name = options.optional("table-name").unwrap_or(&own_name);
        let flush_rows = options.number("sink.buffer-flush.max-rows")?.unwrap_or(FLUSH_ROWS);
        Ok(Self {
            database: Arc::new(Database::new(table, &options, project_dir)?),
            quoted_name: quoted_name(name),
            query: options.optional(QUERY).map(|query| query.trim().trim_end_matches(';').to_owned()),
            condition: None,
            name: own_name.clone(),
            part_options: PartOptions::new(&options, &schema)?,
            schema,
            writable: table.writable_schema(),
            primary_key: table.primary_key.clone(),
            flush_rows: flush_rows.max(1),
            epoch_table: quoted_name(options.optional("sink.epoch-table").unwrap_or(EPOCH_TABLE)),
        })
    }

    /// What stands behind `FROM`.
    fn relation(&self) -> String {
        match &self.query {
            Some(query) => format!("({query}) AS mulgil_query"),
            None => self.quoted_name.clone(),
        }
    }

    /// `SELECT` of some columns, each in its declared type.
    fn select(&self, projection: &[usize]) -> Result<String, ConnectError> {
        let wanted = self.schema.project(projection)?;
        let column = |field: &Arc<Field>| {
            Some(format!("{}::{} AS {}", quoted(field.name()), type_name(field)?, quoted(field.name())))
        };
        let columns: Vec<String> = wanted.fields().iter().filter_map(column).collect();
        Ok(format!("SELECT {}", columns.join(", ")))
    }
}

/// `schema.table` as a statement spells it.
fn quoted_name(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<String>>().join(".")
}

/// A name as a statement spells it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The type in which the database is asked for a column; `None` for a type that is not read.
fn type_name(field: &Field) -> Option<String> {
    let name = match field.data_type() {
        DataType::Boolean => "bool",
        DataType::Int8 | DataType::Int16 => "int2",
        DataType::Int32 => "int4",
        DataType::Int64 => "int8",
        DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Utf8 => "text",
        DataType::Binary => "bytea",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Second, _) => return None,
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        // Decimals travel as text.
        DataType::Decimal128(precision, scale) => return Some(format!("numeric({precision},{scale})::text")),
        _ => return None,
    };
    Some(name.to_owned())
}
