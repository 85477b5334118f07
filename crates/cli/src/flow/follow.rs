//! Following what was started to its end: a progress bar for a backfill, a line a task for a run, and the errors.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use mulgil_server::backfills::{Backfill, BackfillStatus};
use mulgil_server::client::Client;
use mulgil_server::items::ItemsQuery;
use mulgil_server::runs::{Attempt, RunDetail, RunsQuery};
use mulgil_server::status::{RunStatus, TaskStatus};

use super::status;
use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{print_json, remark};

/// How often the command line looks: often enough for an eye.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many failed runs of a backfill, and items of a task, are named.
const FAILURES_SHOWN_MAX: u32 = 10;

/// Follows a run, and says how each of its tasks ended.
pub(crate) fn run(client: &Client, format: Format, id: i64) -> Result<Exit> {
    let mut said = BTreeMap::new();
    let detail = loop {
        let detail = client.run(id)?;
        for task in &detail.tasks {
            let now = (task.status, task.attempts.len());
            if format != Format::Json
                && status::task_has_ended(task.status)
                && said.insert(task.name.clone(), now) != Some(now)
            {
                let items = task.items.map_or_else(String::new, |items| {
                    format!("  ({} of {} items succeeded)", items.succeeded, items.total)
                });
                let child = task.child.as_ref().map_or_else(String::new, |child| format!("  (run {})", child.name));
                remark(&format!("{}  {}{items}{child}", status::word(&task.status), task.name));
            }
        }
        if status::run_has_ended(detail.summary.status) {
            break detail;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if format == Format::Json {
        print_json(&detail)?;
    } else {
        let called =
            detail.parent.as_ref().map_or_else(String::new, |by| format!("  (called by {} of {})", by.task, by.name));
        remark(&format!("{} {}{called}", detail.summary.name, status::word(&detail.summary.status)));
        say_errors(client, &detail)?;
    }
    Ok(if detail.summary.status == RunStatus::Succeeded { Exit::Done } else { Exit::Failed })
}

/// Follows a backfill with a progress bar, and names what failed.
pub(crate) fn backfill(client: &Client, format: Format, id: i64) -> Result<Exit> {
    let bar = ProgressBar::new(1).with_style(style());
    let backfill = loop {
        let backfill = client.backfill(id)?;
        show(&bar, &backfill);
        if backfill.status != BackfillStatus::Running {
            break backfill;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    bar.finish();
    if format == Format::Json {
        print_json(&backfill)?;
    } else if backfill.status == BackfillStatus::Paused {
        let done = backfill.succeeded + backfill.failed + backfill.cancelled;
        remark(&format!("paused after {done} of {} runs, {} failed", backfill.total, backfill.failed));
        say_failed_runs(client, &backfill)?;
        remark(&format!("mulgil flow resume backfill/{id} lets it go on, mulgil flow cancel backfill/{id} ends it"));
    } else {
        remark(&format!(
            "{} runs: {} succeeded, {} failed, {} cancelled",
            backfill.total, backfill.succeeded, backfill.failed, backfill.cancelled
        ));
        if backfill.round > 0 {
            remark(&format!("what had failed ran again at the end, {} of {} times", backfill.round, backfill.rounds));
        }
        say_failed_runs(client, &backfill)?;
    }
    let well = match backfill.status {
        BackfillStatus::Succeeded => true,
        // After its trial it is as good as what has run.
        BackfillStatus::Paused => backfill.failed == 0,
        _ => false,
    };
    Ok(if well { Exit::Done } else { Exit::Failed })
}

fn say_failed_runs(client: &Client, backfill: &Backfill) -> Result<()> {
    if backfill.failed == 0 {
        return Ok(());
    }
    let query = RunsQuery {
        backfill: Some(backfill.id),
        status: Some(RunStatus::Failed),
        limit: Some(FAILURES_SHOWN_MAX),
        ..RunsQuery::default()
    };
    for run in client.runs(&query)?.runs {
        remark(&format!("{} failed", run.name));
        say_errors(client, &client.run(run.id)?)?;
    }
    if backfill.failed > u64::from(FAILURES_SHOWN_MAX) {
        remark(&format!("and {} more", backfill.failed - u64::from(FAILURES_SHOWN_MAX)));
    }
    remark(&format!("after mending: mulgil flow rerun backfill/{}", backfill.id));
    Ok(())
}

/// The last error of each task that failed, and of some of its items.
fn say_errors(client: &Client, detail: &RunDetail) -> Result<()> {
    for task in detail.tasks.iter().filter(|task| task.status == TaskStatus::Failed) {
        say_error(&task.name, &task.attempts);
        if let Some(note) = &task.note {
            remark(&format!("  {}: {note}", task.name));
        }
        if let Some(child) = task.child.as_ref().filter(|child| child.status == RunStatus::Failed) {
            say_errors(client, &client.run(child.id)?)?;
        }
        if task.items.is_some_and(|items| items.failed > 0) {
            let failed = ItemsQuery { status: Some(TaskStatus::Failed), limit: Some(FAILURES_SHOWN_MAX), after: None };
            for item in client.items(detail.summary.id, &task.name, &failed)?.items {
                say_error(&item.name, &item.attempts);
                if let Some(note) = &item.note {
                    remark(&format!("  {}: {note}", item.name));
                }
            }
        }
    }
    Ok(())
}

fn say_error(task: &str, attempts: &[Attempt]) {
    if let Some(error) = attempts.last().and_then(|attempt| attempt.error.as_ref()) {
        remark(&format!("  {task}: {}", error.message));
        if let Some(more) = &error.detail {
            remark(&format!("    {}", more.replace('\n', "\n    ")));
        }
        if let Some(found) = attempts.last().and_then(|attempt| attempt.usage.as_ref()?.finding.as_ref()) {
            remark(&format!("    {}; what helps: {}", found.sentence, found.remedy));
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40.cyan/blue} {pos}/{len} {msg} {elapsed} (about {eta} left)")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn show(bar: &ProgressBar, backfill: &Backfill) {
    bar.set_length(backfill.total);
    bar.set_position(backfill.succeeded + backfill.failed + backfill.cancelled);
    let round =
        if backfill.round > 0 { format!("what failed again, round {}: ", backfill.round) } else { String::new() };
    bar.set_message(format!("{round}{} running of {}, {} failed", backfill.running, backfill.pace, backfill.failed));
}
