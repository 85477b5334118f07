//! `mulgil flow rerun`

use anyhow::{Result, bail};
use mulgil_server::client::Client;
use mulgil_server::runs::{RerunAsk, RerunPreview, RerunScope, RunSummary, RunsQuery};
use mulgil_server::status::RunStatus;
use serde_json::json;

use super::{find_run, follow, status};
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{Listing, remark};

/// Failed runs that one command takes on.
const RUNS_MAX: u32 = 1000;

/// What is to be run again.
pub(crate) struct Rerun {
    /// All failed runs of a flow instead of one run.
    pub(crate) failed: bool,
    /// From this task on.
    pub(crate) from: Option<String>,
    /// The tasks of this group.
    pub(crate) group: Option<String>,
    /// Only show it.
    pub(crate) dry_run: bool,
    /// Also tasks that are not idempotent.
    pub(crate) confirm: bool,
    /// Do not follow it.
    pub(crate) detach: bool,
}

/// Runs again what failed and what depends on it, with the same parameters.
pub(crate) fn execute(client: &Client, format: Format, run: &str, rerun: &Rerun) -> Result<Exit> {
    let ask = RerunAsk {
        scope: match (&rerun.from, &rerun.group) {
            (Some(_), _) => RerunScope::From,
            (None, Some(_)) => RerunScope::Group,
            (None, None) => RerunScope::Failed,
        },
        task: rerun.from.clone(),
        group: rerun.group.clone(),
        confirm: rerun.confirm,
    };
    let runs = if rerun.failed { failed_runs(client, run)? } else { vec![find_run(client, run)?] };
    if rerun.dry_run {
        return preview(client, format, &runs, &ask);
    }
    for run in &runs {
        client.rerun(run.id, &ask)?;
        remark(&format!("{} runs again", run.name));
    }
    if rerun.detach {
        return Ok(Exit::Done);
    }
    let mut exit = Exit::Done;
    for run in &runs {
        if follow::run(client, format, run.id)? == Exit::Failed {
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

fn failed_runs(client: &Client, flow: &str) -> Result<Vec<RunSummary>> {
    let query = RunsQuery {
        flow: Some(flow.to_owned()),
        status: Some(RunStatus::Failed),
        limit: Some(RUNS_MAX),
        ..RunsQuery::default()
    };
    let runs = client.runs(&query)?.runs;
    if runs.is_empty() {
        bail!("{flow} has no failed run");
    }
    Ok(runs)
}

fn preview(client: &Client, format: Format, runs: &[RunSummary], ask: &RerunAsk) -> Result<Exit> {
    let mut listing = Listing::new(["run", "task", "state now", "attempts", "idempotent"]);
    for run in runs {
        let RerunPreview { name, tasks, .. } = client.preview_rerun(run.id, ask)?;
        for task in tasks {
            let status = status::word(&task.status);
            listing.push(vec![
                json!(name),
                json!(task.name),
                json!(status),
                json!(task.attempts),
                json!(task.idempotent),
            ]);
        }
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
