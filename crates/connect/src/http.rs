//! Webhooks: `'connector' = 'http', 'url' = 'https://...'`. Rows are sent as JSON, some at a time. The same connector reads what a URL
//! answers: see [`download`].
//!
//! A request that is not answered, or with 408, 425, 429 or 5xx, is sent again, later and later, or when the answer asks for it; any other answer
//! that is no 2xx stops the statement. Every request has a key, the same however often it is sent: see [`requests`].

mod download;
pub(crate) mod endpoint;
pub(crate) mod requests;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use mulgil_log::EventLog;

use crate::conform::Conform;
use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::json;
use crate::options::Options;
use crate::sink::Sink;
use crate::source::Source;

use download::Download;
use endpoint::Endpoint;
use requests::{Body, Requests};

const OPTIONS: [&str; 7] = ["connector", "url", "method", "format", "body", "batch.size", "timeout"];
/// Rows of a request, where the table does not say.
const BATCH_ROWS: usize = 500;

/// `'connector' = 'http'`.
pub(crate) struct HttpConnector {
    project_dir: PathBuf,
    log: Option<EventLog>,
}

impl HttpConnector {
    /// `'header-file.*'` are relative to `project_dir`; dead letters go to `log`.
    pub(crate) fn new(project_dir: PathBuf, log: Option<EventLog>) -> Self {
        Self { project_dir, log }
    }

    fn download(&self, table: &TableDefinition) -> Result<Download, ConnectError> {
        Download::new(table, &self.project_dir, self.log.as_ref())
    }

    fn requests(&self, table: &TableDefinition) -> Result<Requests, ConnectError> {
        let headers: Vec<&str> =
            table.options.keys().map(String::as_str).filter(|name| endpoint::is_header(name)).collect();
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(headers).collect();
        let options = Options::new(table, &allowed)?;
        options.one_of("format", &[("json", ())], ())?;
        let methods = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];
        let method = options.one_of("method", &methods, "POST")?;
        let shapes = [("array", Shape::Array), ("lines", Shape::Lines), ("object", Shape::Object)];
        let shape = options.one_of("body", &shapes, Shape::Array)?;
        let default = if shape == Shape::Object { 1 } else { BATCH_ROWS };
        let batch_rows = options.number("batch.size")?.unwrap_or(default);
        if batch_rows == 0 || (shape == Shape::Object && batch_rows != 1) {
            return Err(options.refusal(
                "'batch.size' is the number of rows of a request: at least 1, and 1 with 'body' = 'object'; leave it out",
            ));
        }
        let mut endpoint = Endpoint::new(&options, method, &self.project_dir)?;
        let content_type = if shape == Shape::Lines { "application/x-ndjson" } else { "application/json" };
        endpoint.set_default_header("content-type", content_type);
        Ok(Requests {
            table: table.name.to_string(),
            conform: Conform::new(table.name.to_string(), table.writable_schema()),
            endpoint,
            body: Box::new(shape),
            batch_rows,
            has_keys: true,
        })
    }
}

#[async_trait]
impl Connector for HttpConnector {
    fn name(&self) -> &'static str {
        "http"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        match Download::is_meant(table) {
            true => self.download(table).map(|_| ()),
            false => self.requests(table).map(|_| ()),
        }
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(self.download(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(self.requests(table)?.sink()))
    }
}

/// How the rows of a request stand in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Array,
    Lines,
    /// One row alone.
    Object,
}

impl Body for Shape {
    fn of(&self, rows: &RecordBatch) -> Result<Option<Vec<u8>>, ConnectError> {
        let mut text = json::write_lines(Vec::new(), rows).map_err(ArrowError::from)?;
        match self {
            Self::Lines => {}
            Self::Object => text.truncate(text.trim_ascii_end().len()),
            Self::Array => {
                // A line break within a text is written as `\n`, so each that stands here ends a row.
                text.truncate(text.trim_ascii_end().len());
                text.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b',');
                text.insert(0, b'[');
                text.push(b']');
            }
        }
        Ok(Some(text))
    }
}
