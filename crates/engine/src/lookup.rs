//! Looking up tables beside the dataflow: the questions of subtasks go to the tables' systems, and answers come back, over
//! two queues a subtask. A table that cannot be asked for single keys is read as a whole, once for all subtasks, and while
//! the job follows its tables it is read again when it has changed.
//!
//! What fails is tried again, each time after twice as long; what goes on failing fails the job.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use mulgil_connect::error::ConnectError;
use mulgil_connect::fold::Fold;
use mulgil_connect::lookup::Lookup;
use mulgil_connect::source::{Read, Source};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::definition::LookupRead;
use mulgil_dataflow::operator::{Answer, Question};

use crate::error::JobError;
use crate::metrics::JobMetrics;
use crate::queue::{Message, Queue};

/// After a failure it is tried again so much later at first, and so much at most.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// A table that changes while it is read is read so often for one moment of it.
const READS_MAX: usize = 3;
/// Rows of a batch of a table that was read as a changelog.
const FOLDED_ROWS: usize = 8192;
/// A table that is held as a whole may take so much memory.
const TABLE_BYTES_MAX: usize = 1 << 30;

/// The way from a subtask to a table's system, and back.
#[derive(Clone, Debug)]
pub(crate) struct LookupPort {
    pub(crate) questions: Arc<Queue>,
    pub(crate) answers: Arc<Queue>,
}

/// A table that the subtasks of a stage look up.
#[derive(Debug)]
pub(crate) struct LookupService {
    pub(crate) read: LookupRead,
    /// By subtask.
    pub(crate) ports: Vec<LookupPort>,
}

/// Answers the questions of all subtasks, for as long as it is let.
pub(crate) async fn serve(
    service: LookupService,
    source: Arc<dyn Source>,
    follow: bool,
    job: Arc<JobMetrics>,
) -> Result<(), JobError> {
    let failed = |error: ConnectError| JobError::Source {
        table: service.read.table.clone(),
        reason: format!("looking up: {error}"),
        of_rows: error.is_of_rows(),
    };
    let Some(keys) = &service.read.keys else {
        return hold(&service, &source, follow, &job).await.map_err(failed);
    };
    let lookup = source.lookup(keys, &service.read.projection).unwrap_or_else(|| {
        let reason = "it cannot be asked for single keys; set 'lookup.cache' = 'FULL'".to_owned();
        Err(ConnectError::Definition { table: service.read.table.clone(), reason })
    });
    let lookup = lookup.map_err(failed)?;
    let retries_max = service.read.retries_max;
    let each = service.ports.iter().map(|port| answer(port.clone(), Arc::clone(&lookup), retries_max));
    let mut each: FuturesUnordered<_> = each.collect();
    // None of them ends but by failing.
    match each.next().await {
        Some(Err(error)) => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Answers the questions of one subtask, several at a time: it lets no more rows wait than it has room for.
async fn answer(port: LookupPort, lookup: Arc<dyn Lookup>, retries_max: u32) -> Result<(), ConnectError> {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            item = port.questions.wait_for_item() => {
                if let Message::Question(question) = item.message {
                    open.push(find(Arc::clone(&lookup), question, retries_max, item.read_ns));
                }
            }
            Some(found) = open.next(), if !open.is_empty() => {
                let (answer, read_ns) = found?;
                port.answers.push(0, Message::Answer(answer), read_ns);
            }
        }
    }
}

async fn find(
    lookup: Arc<dyn Lookup>,
    question: Question,
    retries_max: u32,
    read_ns: u64,
) -> Result<(Answer, u64), ConnectError> {
    let mut patience = Patience::new(retries_max);
    loop {
        match lookup.find(&question.keys).await {
            Ok(rows) => return Ok((Answer::Rows { number: question.number, rows }, read_ns)),
            Err(error) => patience.wait_after(error).await?,
        }
    }
}

/// Gives the whole table to all subtasks, and again whenever it has changed.
async fn hold(
    service: &LookupService,
    source: &Arc<dyn Source>,
    follow: bool,
    job: &JobMetrics,
) -> Result<(), ConnectError> {
    let LookupRead { projection, retries_max, reload_ms, .. } = &service.read;
    let mut held: Option<String> = None;
    let mut patience = Patience::new(*retries_max);
    loop {
        match read_changed(source, projection, held.as_deref()).await {
            Err(error) => {
                patience.wait_after(error).await?;
                continue;
            }
            Ok(None) => {}
            Ok(Some((table, state))) => {
                for port in &service.ports {
                    port.answers.wait_for_room().await;
                    port.answers.push(0, Message::Answer(Answer::Table(table.clone())), job.elapsed_ns());
                }
                held = state;
            }
        }
        patience = Patience::new(*retries_max);
        let Some(reload_ms) = reload_ms.filter(|_| follow) else { return Ok(()) };
        tokio::time::sleep(Duration::from_millis(reload_ms)).await;
    }
}

/// The table and its state, unless that is the one that is held.
async fn read_changed(
    source: &Arc<dyn Source>,
    projection: &[usize],
    held: Option<&str>,
) -> Result<Option<(Vec<RecordBatch>, Option<String>)>, ConnectError> {
    if held.is_some() && source.state().await?.as_deref() == held {
        return Ok(None);
    }
    read_whole(source, projection).await.map(Some)
}

/// The table as of one moment, as far as can be told, and its state then.
async fn read_whole(
    source: &Arc<dyn Source>,
    projection: &[usize],
) -> Result<(Vec<RecordBatch>, Option<String>), ConnectError> {
    let mut reads = 0;
    loop {
        let source = source.renewed().unwrap_or_else(|| Arc::clone(source));
        let before = source.state().await?;
        let mut table = Vec::new();
        let mut fold = Fold::new(Arc::new(source.schema().project(projection)?));
        let mut size_bytes = 0;
        for partition in 0..source.partitions().await?.len() {
            let mut reader = source.open(partition, 0, projection, false).await?;
            loop {
                match reader.next().await? {
                    Read::Rows(rows, _) => {
                        size_bytes += Batch::append(rows.clone()).size_bytes();
                        table.push(rows);
                    }
                    Read::Changes(changes, _) => {
                        fold.add(&changes)?;
                        size_bytes = fold.size_bytes();
                    }
                    Read::Idle => {}
                    Read::End => break,
                }
                if size_bytes > TABLE_BYTES_MAX {
                    let reason = "it takes more than 1 GiB in memory; select the columns and rows that are needed, or join \
                                  it without FOR SYSTEM_TIME AS OF";
                    return Err(ConnectError::Told(reason.to_owned()));
                }
            }
        }
        while let Some(rows) = fold.take(FOLDED_ROWS)? {
            table.push(rows);
        }
        let after = source.state().await?;
        reads += 1;
        if before == after || reads >= READS_MAX {
            return Ok((table, before));
        }
    }
}

/// How often it is tried again, and how long it waits before.
struct Patience {
    left: u32,
    delay: Duration,
}

impl Patience {
    fn new(retries_max: u32) -> Self {
        Self { left: retries_max, delay: RETRY_DELAY }
    }

    /// Waits until it is worth trying again; gives the error back when it has been tried often enough.
    async fn wait_after(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        let Some(left) = self.left.checked_sub(1) else { return Err(error) };
        tracing::warn!(%error, "looking up failed; trying again");
        self.left = left;
        tokio::time::sleep(self.delay).await;
        self.delay = (2 * self.delay).min(RETRY_DELAY_MAX);
        Ok(())
    }
}
