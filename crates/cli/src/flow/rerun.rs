//! `mulgil flow rerun`

use anyhow::{Result, bail};
use mulgil_server::backfills::BackfillRerun;
use mulgil_server::client::Client;
use mulgil_server::reruns::{RerunAsk, RerunPreview, RerunScope, RerunsAsk};
use mulgil_server::runs::{RunSummary, RunsQuery};
use mulgil_server::status::RunStatus;
use serde_json::json;

use super::{find_run, follow, status};
use crate::arguments::{Format, RerunArguments};
use crate::exit::Exit;
use crate::output::{Listing, remark};

/// Runs that one command takes on: as many as the server does at once.
const RUNS_MAX: usize = 1000;

/// Runs again what failed and what depends on it, with the same parameters: in all of these runs, or in none.
pub(crate) fn execute(client: &Client, format: Format, rerun: &RerunArguments) -> Result<Exit> {
    if let [name] = rerun.runs.as_slice()
        && let Some(id) = name.strip_prefix("backfill/").and_then(|id| id.parse().ok())
    {
        return backfill(client, format, rerun, id);
    }
    let runs = chosen(client, rerun)?;
    let ask = RerunAsk {
        scope: match (&rerun.from, &rerun.group) {
            (Some(_), _) => RerunScope::From,
            (None, Some(_)) => RerunScope::Group,
            (None, None) if rerun.all => RerunScope::All,
            (None, None) => RerunScope::Failed,
        },
        task: rerun.from.clone(),
        group: rerun.group.clone(),
        latest: rerun.latest,
        confirm: rerun.confirm,
    };
    let ids = runs.iter().map(|run| run.id).collect();
    let answer = client.rerun_many(&RerunsAsk { runs: ids, ask, preview: rerun.dry_run })?;
    if rerun.dry_run {
        return show(format, &answer.runs);
    }
    for run in &answer.runs {
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

/// Runs again what failed in a backfill.
fn backfill(client: &Client, format: Format, rerun: &RerunArguments, id: i64) -> Result<Exit> {
    if rerun.dry_run || rerun.latest || rerun.all || rerun.from.is_some() || rerun.group.is_some() {
        bail!("of a backfill what failed runs again, and nothing else: only --confirm and --detach go with it");
    }
    client.rerun_backfill(id, &BackfillRerun { confirm: rerun.confirm })?;
    if rerun.detach { Ok(Exit::Done) } else { follow::backfill(client, format, id) }
}

/// The runs that the command means.
fn chosen(client: &Client, rerun: &RerunArguments) -> Result<Vec<RunSummary>> {
    if !rerun.failed && rerun.since.is_none() && rerun.until.is_none() {
        return rerun.runs.iter().map(|run| find_run(client, run)).collect();
    }
    let [flow] = rerun.runs.as_slice() else {
        bail!("--failed, --since and --until go with one flow: name it, and no run");
    };
    // What has nothing that failed is left out where only that is asked for.
    let failed_only = rerun.failed || (rerun.from.is_none() && rerun.group.is_none() && !rerun.all);
    let mut query =
        RunsQuery { flow: Some(flow.clone()), limit: Some(u32::try_from(RUNS_MAX)?), ..RunsQuery::default() };
    if rerun.failed {
        query.status = Some(RunStatus::Failed);
    }
    let mut runs = Vec::new();
    loop {
        let page = client.runs(&query)?;
        runs.extend(page.runs.into_iter().filter(|run| wanted(run, rerun, failed_only)));
        match page.next_before {
            Some(before) => query.before = Some(before),
            None => break,
        }
    }
    match runs.len() {
        0 if failed_only => bail!("{flow} has no failed run there"),
        0 => bail!("{flow} has no run there that has ended"),
        many if many > RUNS_MAX => bail!("{many} runs are more than {RUNS_MAX} at once: give a shorter range"),
        _ => Ok(runs),
    }
}

fn wanted(run: &RunSummary, rerun: &RerunArguments, failed_only: bool) -> bool {
    // The label of a run with an interval begins with the local date of its start.
    let day = run.label.get(..10).and_then(|day| day.parse::<jiff::civil::Date>().ok());
    let late_enough = rerun.since.is_none_or(|since| day.is_some_and(|day| day >= since));
    let early_enough = rerun.until.is_none_or(|until| day.is_some_and(|day| day <= until));
    let bad = matches!(run.status, RunStatus::Failed | RunStatus::Cancelled);
    late_enough && early_enough && (bad || (!failed_only && status::run_has_ended(run.status)))
}

/// What would run, a line a task; those of the runs that are called come after those of the run that calls them.
pub(super) fn show(format: Format, runs: &[RerunPreview]) -> Result<Exit> {
    let mut listing = Listing::new(["run", "task", "state now", "attempts", "idempotent"]);
    for run in runs {
        let called = run.called.iter().map(|called| (&called.name, &called.tasks));
        for (name, tasks) in std::iter::once((&run.name, &run.tasks)).chain(called) {
            for task in tasks {
                let (status, attempts) = (status::word(&task.status), json!(task.attempts));
                listing.push(vec![json!(name), json!(task.name), json!(status), attempts, json!(task.idempotent)]);
            }
        }
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
