//! Drops what is kept no longer: runs, what belongs to them, and files of logs.
//!
//! A handful of runs at a time, through the scheduler's loop, which is the only writer and knows what is open; between two of them
//! whatever waits for the loop goes first.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::Retention;
use mulgil_history::History;
use mulgil_history::read::ExpiredRun;
use mulgil_history::retention::{EXPIRED_MAX, RUNS_MAX};
use mulgil_sched::id::RunId;
use tokio::task::JoinHandle;

use crate::{Dropping, SchedulerError, SchedulerHandle};

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// The first time: a server that starts has better things to do.
const FIRST: Duration = Duration::from_secs(60);
/// Where logs are, relative to the project's folder.
const LOGS: &str = ".mulgil/logs";

/// Looks now and then, until it is dropped with its scheduler.
pub fn keep(
    history: Arc<dyn History>,
    scheduler: SchedulerHandle,
    retention: Retention,
    project_dir: PathBuf,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::time::sleep(FIRST).await;
        loop {
            match sweep(history.as_ref(), &scheduler, &retention, &project_dir, Timestamp::now()).await {
                Ok(0) => {}
                Ok(runs) => tracing::info!(runs, "dropped what is kept no longer"),
                Err(SchedulerError::Stopped) => return,
                Err(error) => tracing::warn!(%error, "what is kept no longer could not be dropped; trying again"),
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

/// Drops everything that is too old now, and says how many runs that were.
///
/// # Errors
/// The history could not be read or written; what was dropped so far is gone.
pub async fn sweep(
    history: &dyn History,
    scheduler: &SchedulerHandle,
    retention: &Retention,
    project_dir: &Path,
    now: Timestamp,
) -> Result<usize, SchedulerError> {
    let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
    let mut dropped = 0;
    if let Some(age) = retention.runs {
        loop {
            let expired = history.expired(before(age), EXPIRED_MAX).await?;
            let mut gone = 0;
            for some in expired.chunks(RUNS_MAX) {
                gone += drop_some(scheduler, some, &project_dir.join(LOGS)).await?;
            }
            dropped += gone;
            if gone == 0 {
                break;
            }
        }
    }
    let never = SignedDuration::MAX;
    let rest = (before(retention.runs.unwrap_or(never)), before(retention.notices.unwrap_or(never)));
    scheduler.drop_runs(Dropping { runs: Vec::new(), rest: Some(rest) }).await?;
    if let Some(age) = retention.logs {
        drop_logs(history, &project_dir.join(LOGS), before(age)).await?;
    }
    Ok(dropped)
}

/// Drops a handful of runs with their logs, and says how many of them were over.
async fn drop_some(scheduler: &SchedulerHandle, some: &[ExpiredRun], logs: &Path) -> Result<usize, SchedulerError> {
    let runs = some.iter().map(|run| run.id).collect();
    let gone = scheduler.drop_runs(Dropping { runs, rest: None }).await?;
    for run in some.iter().filter(|run| gone.contains(&run.id)) {
        // Gone already, or never there: such as on another machine.
        let _ = std::fs::remove_dir_all(logs.join(&run.flow).join(run.id.to_string()));
    }
    Ok(gone.len())
}

/// Removes the logs of runs that ended before a time; those of the last run of each flow stay.
async fn drop_logs(history: &dyn History, logs: &Path, before: Timestamp) -> Result<(), SchedulerError> {
    for flow in folders(logs) {
        let mut runs: Vec<(i64, PathBuf)> =
            folders(&flow).filter_map(|run| Some((run.file_name()?.to_str()?.parse().ok()?, run))).collect();
        runs.sort_unstable();
        runs.pop();
        for (run, folder) in runs {
            // The history is asked only where nothing has been written for long.
            if !is_older(&folder, before) {
                continue;
            }
            let ended = match history.run(RunId(run)).await? {
                Some(detail) => detail.run.ended_at.is_some_and(|at| at < before) && detail.run.status.is_terminal(),
                None => true,
            };
            if ended && let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(%error, folder = %folder.display(), "old logs could not be removed");
            }
        }
    }
    Ok(())
}

fn folders(of: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Whether nothing in a folder was written since.
fn is_older(folder: &Path, than: Timestamp) -> bool {
    let changed = |path: &Path| {
        let at = std::fs::metadata(path).and_then(|found| found.modified()).ok();
        at.and_then(|at| Timestamp::try_from(at).ok())
    };
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.chain([folder.to_owned()]).all(|path| changed(&path).is_none_or(|at| at < than))
}
