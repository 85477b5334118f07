//! Points for a time-series database: `'connector' = 'influxdb', 'url' = 'http://localhost:8428'`, in InfluxDB's line protocol, as
//! InfluxDB, VictoriaMetrics, QuestDB and others take it.
//!
//! A point is told from others by its series (measurement and tags) and its time: writing it again puts it in place of itself. So what is
//! delivered at least once is there once.

mod lines;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::conform::Conform;
use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::http::endpoint::{self, Endpoint};
use crate::http::requests::Requests;
use crate::options::Options;
use crate::sink::Sink;

use lines::{Lines, Precision};

const OPTIONS: [&str; 14] = [
    "connector",
    "url",
    "measurement",
    "tags",
    "time-column",
    "precision",
    "bucket",
    "org",
    "database",
    "token",
    "token-file",
    "gzip",
    "batch.size",
    "timeout",
];
/// Points of a request, where the table does not say: what InfluxDB's makers advise.
const BATCH_ROWS: usize = 5000;

/// `'connector' = 'influxdb'`.
pub(crate) struct InfluxConnector {
    project_dir: PathBuf,
}

impl InfluxConnector {
    /// `'token-file'` and `'header-file.*'` are relative to `project_dir`.
    pub(crate) fn new(project_dir: PathBuf) -> Self {
        Self { project_dir }
    }

    fn requests(&self, table: &TableDefinition) -> Result<Requests, ConnectError> {
        let headers: Vec<&str> =
            table.options.keys().map(String::as_str).filter(|name| endpoint::is_header(name)).collect();
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(headers).collect();
        let options = Options::new(table, &allowed)?;
        let precisions =
            [("ns", Precision::Nano), ("us", Precision::Micro), ("ms", Precision::Milli), ("s", Precision::Second)];
        let precision = options.one_of("precision", &precisions, Precision::Nano)?;
        let batch_rows = options.number("batch.size")?.unwrap_or(BATCH_ROWS);
        if batch_rows == 0 {
            return Err(options.refusal("'batch.size' must be at least 1"));
        }
        let lines = Lines::new(table, &options, precision)?;
        let mut endpoint = Endpoint::new(&options, "POST", &self.project_dir)?;
        endpoint.set_default_header("content-type", "text/plain; charset=utf-8");
        // The second version names a bucket, the first a database.
        match (options.optional("bucket"), options.optional("database")) {
            (Some(_), Some(_)) => {
                return Err(options.refusal("'bucket' and 'database' exclude each other; give one of them"));
            }
            (Some(bucket), None) => {
                endpoint.set_default_path("/api/v2/write");
                endpoint.set_query("bucket", bucket);
            }
            (None, database) => {
                endpoint.set_default_path("/write");
                database.iter().for_each(|database| endpoint.set_query("db", database));
            }
        }
        options.optional("org").iter().for_each(|org| endpoint.set_query("org", org));
        endpoint.set_query("precision", precision.word(options.optional("bucket").is_some()));
        match (options.optional("token"), options.optional("token-file")) {
            (Some(_), Some(_)) => {
                return Err(options.refusal("'token' and 'token-file' exclude each other; give one of them"));
            }
            (Some(token), None) => endpoint.set_default_header("authorization", format!("Token {token}")),
            (None, Some(path)) => endpoint.set_token_file(self.project_dir.join(path)),
            (None, None) => {}
        }
        if options.boolean("gzip", true)? {
            endpoint.set_gzip();
        }
        let name = table.name.to_string();
        let conform = Conform::new(name.clone(), table.writable_schema());
        Ok(Requests { table: name, conform, endpoint, body: Box::new(lines), batch_rows, has_keys: false })
    }
}

#[async_trait]
impl Connector for InfluxConnector {
    fn name(&self) -> &'static str {
        "influxdb"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        self.requests(table).map(|_| ())
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        Ok(Arc::new(self.requests(table)?.sink()))
    }
}
