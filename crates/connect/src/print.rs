//! Ends of streams for looking and measuring: `print` writes each change to standard output as Flink does
//! (`+I[UA, 1545]`), `blackhole` throws rows away.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use mulgil_dataflow::batch::{Batch, RowKind};

use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::{Sink, SinkWriter};

/// `'connector' = 'print'`.
pub(crate) struct PrintConnector;

/// `'connector' = 'blackhole'`.
pub(crate) struct BlackholeConnector;

#[async_trait]
impl Connector for PrintConnector {
    fn name(&self) -> &'static str {
        "print"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Options::new(table, &["connector", "print-identifier"]).map(|_| ())
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        self.check(table)?;
        let identifier = table.options.get("print-identifier");
        let prefix = identifier.map(|identifier| format!("{identifier}> ")).unwrap_or_default();
        Ok(Arc::new(Print { prefix }))
    }
}

#[async_trait]
impl Connector for BlackholeConnector {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        Options::new(table, &["connector"]).map(|_| ())
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        self.check(table)?;
        Ok(Arc::new(Blackhole))
    }
}

#[derive(Clone)]
struct Print {
    prefix: String,
}

#[async_trait]
impl Sink for Print {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl SinkWriter for Print {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let text = changelog_text(&self.prefix, &batch)?;
        std::io::stdout().write_all(text.as_bytes()).map_err(|source| ConnectError::File {
            action: "write to",
            path: "standard output".into(),
            source,
        })
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// A line a change, as Flink's `print` writes them.
pub(crate) fn changelog_text(prefix: &str, batch: &Batch) -> Result<String, ArrowError> {
    let rows: &RecordBatch = &batch.rows;
    let options = FormatOptions::new().with_null("null");
    let columns = rows.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for row in 0..rows.num_rows() {
        let kind = batch.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
        let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
        text.push_str(&format!("{prefix}{}[{}]\n", letters(kind), cells.join(", ")));
    }
    Ok(text)
}

fn letters(kind: u8) -> &'static str {
    match kind {
        kind if kind == RowKind::UpdateBefore as u8 => "-U",
        kind if kind == RowKind::UpdateAfter as u8 => "+U",
        kind if kind == RowKind::Delete as u8 => "-D",
        _ => "+I",
    }
}

#[derive(Clone)]
struct Blackhole;

#[async_trait]
impl Sink for Blackhole {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl SinkWriter for Blackhole {
    async fn write(&mut self, _batch: Batch) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}
