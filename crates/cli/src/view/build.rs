//! A view that is built anew, or is to be kept in another way: begun, followed with a progress bar until it has taken over, or given up.

use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use mulgil_server::client::Client;
use mulgil_server::views::{ArchiveRead, Build, ReplayAsk, ViewDetail, ViewState};

use crate::arguments::Format;
use crate::exit::Exit;
use crate::output::{print_json, remark};

/// How often the command line looks: often enough for an eye.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The bar goes by parts in ten thousand.
const WHOLE: u64 = 10_000;

/// `mulgil view replay`
pub(super) fn replay(client: &Client, format: Format, view: &str, ask: &ReplayAsk, waits: bool) -> Result<Exit> {
    let detail = client.replay_view(view, ask).with_context(|| format!("failed to replay the view {view}"))?;
    if detail.building.is_some() {
        return follow(client, format, view, detail, waits);
    }
    said(format, &detail, &format!("{view} reads its sources again from the beginning"))
}

/// `mulgil view replay --cancel`
pub(super) fn cancel(client: &Client, format: Format, view: &str) -> Result<Exit> {
    let detail = client.cancel_replay(view).with_context(|| format!("failed to cancel the replay of {view}"))?;
    said(format, &detail, &format!("{view} is built anew no longer; it answers as before"))
}

/// `mulgil view rollback`
pub(super) fn roll_back(client: &Client, format: Format, view: &str, waits: bool) -> Result<Exit> {
    let detail = client.roll_back_view(view).with_context(|| format!("failed to roll the view {view} back"))?;
    follow(client, format, view, detail, waits)
}

fn said(format: Format, detail: &ViewDetail, remarked: &str) -> Result<Exit> {
    if format == Format::Json {
        print_json(detail)?;
    } else {
        remark(remarked);
    }
    Ok(Exit::Done)
}

/// Follows what is being built until it has taken over, or cannot.
pub(super) fn follow(client: &Client, format: Format, view: &str, begun: ViewDetail, waits: bool) -> Result<Exit> {
    let Some(number) = begun.building.as_ref().map(|build| build.number) else {
        return said(format, &begun, &format!("{view} is at generation {}", begun.generation));
    };
    if !waits {
        let past = begun.building.as_ref().map(past).unwrap_or_default();
        let building = format!("generation {number} of {view} is being built{past}; mulgil view show {view}");
        return said(format, &begun, &building);
    }
    if format != Format::Json
        && let Some(past) = begun.building.as_ref().map(past).filter(|past| !past.is_empty())
    {
        remark(&format!("it is read{past}"));
    }
    let bar = ProgressBar::new(WHOLE).with_style(style());
    let (mut detail, mut was_live) = (begun, false);
    while let Some(build) = detail.building.as_ref().filter(|build| build.number == number) {
        show(&bar, build);
        if build.state == ViewState::Failed {
            bar.abandon();
            let error = build.error.clone().unwrap_or_default();
            let end = format!("generation {number} of {view} failed: {error}; the view answers as before");
            said(format, &detail, &end)?;
            return Ok(Exit::Failed);
        }
        std::thread::sleep(LOOK_EVERY);
        detail = client.view(view)?;
        was_live |= detail.generation == number;
    }
    bar.finish_and_clear();
    if !was_live {
        said(format, &detail, &format!("generation {number} of {view} has been given up; the view answers as before"))?;
        return Ok(Exit::Failed);
    }
    answers(format, view, &detail)
}

/// Says that a generation answers.
pub(super) fn answers(format: Format, view: &str, detail: &ViewDetail) -> Result<Exit> {
    let back = detail.former.as_ref().map_or_else(String::new, |former| {
        format!("; mulgil view rollback {view} goes back to generation {}", former.number)
    });
    said(format, detail, &format!("generation {} of {view} answers now{back}", detail.generation))
}

fn show(bar: &ProgressBar, build: &Build) {
    // A cast of what is out of range gives the nearest.
    bar.set_position((build.done * WHOLE as f64) as u64);
    bar.set_message(told(build));
}

/// ` from archive.departures up to version 7, then departures`, where archives are read first.
pub(super) fn past(build: &Build) -> String {
    let read = |read: &ArchiveRead| {
        let done = if read.is_read { " (read)" } else { "" };
        format!("{} up to version {}{done}, then {}", read.archive, read.version, read.table)
    };
    let archives: Vec<String> = build.archives.iter().map(read).collect();
    if archives.is_empty() { String::new() } else { format!(" from {}", archives.join(" and ")) }
}

/// `1200 rows, 340 rows/s, 12 s left`
pub(super) fn told(build: &Build) -> String {
    let left = build.left_ms.map_or_else(String::new, |ms| format!(", {} s left", ms.div_ceil(1_000)));
    let waits: String = build.waits.iter().map(|wait| format!(", waits for {}: {}", wait.table, wait.what)).collect();
    format!("{} rows, {:.0} rows/s{left}{waits}", build.rows_in, build.rows_in_per_second)
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}
