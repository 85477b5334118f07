//! Answers a question as a stream and in batch, and compares the final rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use mulgil_connect::connectors::Connectors;
use mulgil_serving::run::{Mode, RunOptions, StatementResult, collect, run_statements};
use mulgil_sql::catalog::Catalog;

use crate::multiset::Multiset;
use crate::query::{Compare, Query};
use crate::tables;

/// Memory for a query in batch mode.
const BATCH_MEMORY_BYTES: usize = 8 << 30;

/// Where the answers come from.
#[derive(Clone, Debug)]
pub struct Check {
    /// The folder of the files.
    pub dir: PathBuf,
    /// Worker threads of the stream.
    pub parallelism: usize,
}

impl Check {
    /// Compares; returns how many rows the answer has.
    ///
    /// # Errors
    /// The answers differ, or one mode cannot answer.
    pub async fn query(&self, query: &Query) -> Result<usize> {
        let asked = Asked::new(&self.dir, query, self.parallelism)?;
        match query.compare {
            Compare::Rows => asked.compare(None).await,
            Compare::Columns(columns) => asked.compare(Some(columns)).await,
            Compare::TotalOfBids(column) => {
                let found = asked.stream(None).await?;
                let expected = asked.batch("SELECT COUNT(*) AS bids FROM bid", None).await?;
                let (total, bids) = (found.total(column)?, expected.total("bids")?);
                if total != bids {
                    bail!("the total is {total}, but there are {bids} bids");
                }
                Ok(found.row_count())
            }
        }
    }
}

/// A question over its tables.
struct Asked<'a> {
    query: &'a Query,
    dir: &'a Path,
    catalog: Catalog,
    connectors: Arc<Connectors>,
    parallelism: usize,
}

impl<'a> Asked<'a> {
    fn new(dir: &'a Path, query: &'a Query, parallelism: usize) -> Result<Self> {
        let connectors = tables::connectors(dir);
        Ok(Self { query, dir, catalog: tables::catalog(query, &connectors)?, connectors, parallelism })
    }

    async fn compare(&self, columns: Option<&[&str]>) -> Result<usize> {
        let found = self.stream(columns).await.map_err(|error| error.context("as a stream"))?;
        let expected = self.batch(self.query.text, columns).await.map_err(|error| error.context("in batch"))?;
        match found.difference(&expected)? {
            Some(difference) => Err(anyhow!("the stream gives {difference}")),
            None => Ok(found.row_count()),
        }
    }

    async fn stream(&self, columns: Option<&[&str]>) -> Result<Multiset> {
        if self.query.file_sink.is_none() {
            let (schema, batches) = self.run(self.query.text, Mode::Stream).await?;
            return Multiset::new(&schema, &batches, columns);
        }
        // What was written is what counts.
        let written = self.dir.join("written");
        let _ = fs::remove_dir_all(&written);
        fs::create_dir_all(&written)?;
        self.run(&format!("INSERT INTO bid_log {}", self.query.text), Mode::Stream).await?;
        self.batch("SELECT auction, bidder, price, date_time, extra, dt, hm FROM bid_log", columns).await
    }

    async fn batch(&self, sql: &str, columns: Option<&[&str]>) -> Result<Multiset> {
        let (schema, batches) = self.run(sql, Mode::Batch).await?;
        Multiset::new(&schema, &batches, columns)
    }

    async fn run(&self, sql: &str, mode: Mode) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut options = RunOptions { mode, parallelism: self.parallelism, ..RunOptions::default() };
        options.session.memory_limit_bytes = BATCH_MEMORY_BYTES;
        let mut rows = None;
        let each = async |result| {
            rows = match result {
                StatementResult::Rows(result) => Some(collect(result).await?),
                StatementResult::FinalRows { schema, batches } => Some((schema, batches)),
                _ => None,
            };
            Ok(())
        };
        let file = PathBuf::from(format!("{}.sql", self.query.name));
        run_statements(&file, sql, &self.catalog, Arc::clone(&self.connectors), &options, each).await?;
        Ok(rows.unwrap_or_else(|| (Arc::new(arrow::datatypes::Schema::empty()), Vec::new())))
    }
}
