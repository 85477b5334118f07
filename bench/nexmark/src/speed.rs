//! Measures a question as a stream whose rows are thrown away: events per second, and the most memory that was resident.
//!
//! Each measurement is a process of its own, so that memory is that of one query.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use mulgil_connect::definition::TableName;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::Source;
use mulgil_dataflow::batch::Batch;
use mulgil_engine::job::{Job, JobOptions};
use mulgil_sql::session::{Session, single_statement};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::query::Query;
use crate::tables;

/// What a run of a query took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// From the statement's text to the end of the job.
    pub seconds: f64,
    /// Rows read.
    pub rows_in: u64,
    /// Rows and changes written.
    pub rows_out: u64,
    /// The most memory resident.
    pub peak_mib: u64,
    /// Processor time of all threads.
    pub cpu_seconds: f64,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Speed {
    /// The folder of the files.
    pub dir: PathBuf,
    /// Worker threads.
    pub parallelism: usize,
    /// How often each query runs.
    pub repeat: usize,
}

impl Speed {
    /// Runs a query several times, each in a process of its own; all runs, the fastest first.
    ///
    /// # Errors
    /// A run fails.
    pub fn query(&self, query: &str) -> Result<Vec<Run>> {
        let mut runs = Vec::with_capacity(self.repeat);
        for _ in 0..self.repeat.max(1) {
            let output = Command::new(std::env::current_exe()?)
                .args(["one", query, "--parallelism", &self.parallelism.to_string(), "--dir"])
                .arg(&self.dir)
                .output()?;
            if !output.status.success() {
                bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
            }
            runs.push(serde_json::from_slice::<Run>(&output.stdout).context("a run did not say what it took")?);
        }
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        Ok(runs)
    }
}

/// Runs a statement in this process.
///
/// # Errors
/// The query cannot be planned, or fails.
pub async fn run(dir: &Path, query: &Query, parallelism: usize) -> Result<Run> {
    let connectors = tables::connectors(dir);
    let catalog = tables::catalog(query, &connectors)?;
    let begin = Instant::now();
    let session = Session::new(Arc::new(catalog), Arc::clone(&connectors));
    let insert = if query.file_sink.is_some() { "INSERT INTO bid_log " } else { "" };
    let statement = single_statement(&format!("{insert}{}", query.text))?;
    let plan = session.stream_statement(&statement, 0)?;
    let mut sources: HashMap<String, Arc<dyn Source>> = HashMap::new();
    for name in &plan.sources {
        let table = session.catalog().table(name).ok_or_else(|| anyhow!("there is no table {name}"))?;
        sources.insert(name.to_string(), connectors.source(&table.definition)?);
    }
    let (sink_name, sink): (&str, Arc<dyn Sink>) = match session.catalog().table(&TableName::parse("bid_log")) {
        Some(table) => {
            let _ = std::fs::remove_dir_all(dir.join("written"));
            std::fs::create_dir_all(dir.join("written"))?;
            ("bid_log", connectors.sink(&table.definition)?)
        }
        None => (mulgil_sql::stream::RESULT_SINK, Arc::new(Nowhere)),
    };
    let sinks = HashMap::from([(sink_name.to_owned(), sink)]);
    let options = JobOptions { name: query.name.to_owned(), parallelism, ..JobOptions::default() };
    let job = Job::start(plan.graph, options, sources, sinks, &Handle::current()).await?;
    let summary = job.join().await?;
    let seconds = begin.elapsed().as_secs_f64();
    let (peak_mib, cpu_seconds) = (peak_mib()?, cpu_seconds()?);
    Ok(Run { seconds, rows_in: summary.rows_in, rows_out: summary.rows_out, peak_mib, cpu_seconds })
}

/// The most memory that this process has had resident.
fn peak_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024)
}

fn cpu_seconds() -> Result<f64> {
    /// Clock ticks of a second, as Linux counts them for programs.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
}

/// Where rows are thrown away.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl SinkWriter for Nowhere {
    async fn write(&mut self, _batch: Batch) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}
