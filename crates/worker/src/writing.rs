//! Puts the rows of a task into a table, in one commit, in the way that the task says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::writer::{Append, WriteSummary};
use mulgil_flow::{Write, WriteTarget};
use mulgil_sql::catalog::Table;
use mulgil_sql::session::{QueryResult, Session};

use crate::crash;
use crate::log::AttemptLog;
use crate::tables::Failure;

/// How often the log says how far a task has come.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What is written where.
pub(crate) struct Writing<'a> {
    pub(crate) session: &'a Session,
    pub(crate) table: &'a Table,
    pub(crate) target: &'a WriteTarget,
    /// The partition that is replaced, if one is.
    pub(crate) partition: Vec<(String, String)>,
    /// As what rows are appended, if they are, and once.
    pub(crate) append: Option<&'a Append>,
    pub(crate) log: &'a AttemptLog,
}

impl Writing<'_> {
    /// Writes the rows; how many they were, as the task's result.
    pub(crate) async fn write(&self, rows: QueryResult) -> Result<serde_json::Value, Failure> {
        let begun = Instant::now();
        // What does not fit is said before anything is read, also where no row would come.
        self.session.connectors().check_rows(&self.table.definition, &rows.schema)?;
        let (rows, read) = counted(told(points(rows.stream), self.log.clone()));
        let definition = &self.table.definition;
        let writer = self.session.connectors().writer(definition)?;
        let summary = match (&self.target.write, self.append) {
            (Write::ReplacePartition { .. }, _) => writer.replace_partition(&self.partition, rows).await,
            (Write::ReplaceTable, _) => writer.replace_table(rows).await,
            (Write::Merge { key }, _) => writer.merge(key_of(key, definition), rows).await,
            (Write::Append, Some(append)) => writer.append_once(append, rows).await,
            (Write::Append, None) => writer.append(rows).await,
        }?;
        crash::point("after rows are committed");
        let read = read.load(Ordering::Relaxed);
        let place = self.place();
        if summary.is_repeated {
            let what = self.append.map_or("it", |append| append.name.as_str());
            self.log.note(&format!(
                "{what} is in {place} already, by an earlier attempt, and stays as it is: nothing was written"
            ));
        } else {
            self.log.note(&format!("{read} rows read"));
            self.log.note(&format!("{} to {place}", written(&summary, begun)));
        }
        Ok(result_of(&summary, read))
    }

    fn place(&self) -> String {
        let partition: Vec<String> = self.partition.iter().map(|(column, value)| format!("{column}={value}")).collect();
        match partition.is_empty() {
            true => self.target.table.clone(),
            false => format!("{} {}", self.target.table, partition.join("/")),
        }
    }
}

/// The key that the task says, else the table's.
fn key_of<'a>(key: &'a [String], table: &'a TableDefinition) -> &'a [String] {
    if key.is_empty() { &table.primary_key } else { key }
}

fn result_of(summary: &WriteSummary, read: u64) -> serde_json::Value {
    let counts = [("rows_read", Some(read)), ("rows", Some(summary.rows)), ("bytes", Some(summary.bytes))];
    let counts = counts.into_iter().chain([("version", summary.version)]);
    let counts = counts.filter_map(|(name, count)| Some((name.to_owned(), count?.into())));
    let repeated = summary.is_repeated.then(|| ("repeated".to_owned(), true.into()));
    counts.chain(repeated).collect::<serde_json::Map<_, _>>().into()
}

/// What was written, for people.
pub(crate) fn written(summary: &WriteSummary, begun: Instant) -> String {
    let WriteSummary { rows, files, bytes, version, .. } = *summary;
    let version = version.map_or(String::new(), |version| format!(", version {version}"));
    let seconds = begun.elapsed().as_secs_f64();
    format!("{rows} rows in {files} files ({bytes} bytes{version}) written in {seconds:.3} s")
}

/// The same rows, counted as they pass.
pub(crate) fn counted(rows: SendableRecordBatchStream) -> (SendableRecordBatchStream, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let schema = rows.schema();
    let rows = rows.inspect(move |batch| {
        if let Ok(batch) = batch {
            counter.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
    });
    (Box::pin(RecordBatchStreamAdapter::new(schema, rows)), count)
}

/// The same rows; the log says now and then how many have passed.
fn told(rows: SendableRecordBatchStream, log: AttemptLog) -> SendableRecordBatchStream {
    let (schema, mut passed, mut last) = (rows.schema(), 0, Instant::now());
    let rows = rows.inspect(move |batch| {
        passed += batch.as_ref().map_or(0, |batch| batch.num_rows());
        if last.elapsed() >= TOLD_EVERY {
            log.note(&format!("{passed} rows so far"));
            last = Instant::now();
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}

/// The same rows, with the points at which tests let the process die.
fn points(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.inspect(|_| crash::point("while rows are written"));
    let end = futures::stream::poll_fn(|_| {
        crash::point("before rows are committed");
        Poll::Ready(None)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.chain(end)))
}
