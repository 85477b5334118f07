//! `mulgil view`: list, show, refresh, replay and explain views.

mod build;
mod drift;
mod subscribe;

use anyhow::{Context, Result};
use mulgil_connect::definition::TableName;
use mulgil_server::changes::ChangesQuery;
use mulgil_server::client::Client;
use mulgil_server::progress::Latency;
use mulgil_server::views::{
    ArchiveOfTable, BadRow, Build, Checkpoints, ExportOfView, HeldBackBy, LayersOfView, ReplayAsk, Restarts, Savepoint,
    SavepointAsk, SwitchAsk, SystemWait, ViewDetail,
};
use mulgil_serving::run::guarantee_of_view;
use serde_json::json;

use crate::arguments::{Arguments, Format, ViewCommand};
use crate::connection::Connection;
use crate::exit::Exit;
use crate::explain::{self, Graph};
use crate::offline::Offline;
use crate::output::{Listing, print_json, remark};

/// Runs one of the commands.
pub(crate) async fn execute(arguments: &Arguments, command: &ViewCommand) -> Result<Exit> {
    if let ViewCommand::Explain { view, physical, dot } = command {
        let offline = Offline::open(&arguments.project)?;
        let plan = offline.session().stream_view(&TableName::parse(view))?;
        let graph = if *physical { Graph::Physical } else { Graph::Logical };
        let given = guarantee_of_view(&offline.session(), &plan, &TableName::parse(view))?;
        explain::print((&plan.graph, given.as_ref()), graph, explain::format(arguments.format, *dot))?;
        return Ok(Exit::Done);
    }
    let connection = Connection::open(&arguments.project).await?;
    let (client, format, command) = (connection.client().clone(), arguments.format, command.clone());
    let exit = tokio::task::spawn_blocking(move || match command {
        ViewCommand::Show { view } => show(&client, format, &view),
        ViewCommand::Subscribe { view, no_snapshot, after, cuts } => {
            let from = ChangesQuery { after, snapshot: no_snapshot.then_some(false), ..ChangesQuery::default() };
            subscribe::follow(&client, format, &view, from, cuts)
        }
        ViewCommand::Refresh { view } => refresh(&client, format, &view),
        ViewCommand::Replay { view, cancel: true, .. } => build::cancel(&client, format, &view),
        ViewCommand::Replay { view, from, rows_per_second, no_wait, .. } => {
            let ask = ReplayAsk { from, rows_per_second_max: rows_per_second };
            build::replay(&client, format, &view, &ask, !no_wait)
        }
        ViewCommand::Switch { view, to, no_wait } => switch(&client, format, &view, &to, !no_wait),
        ViewCommand::Drift { view, all } => drift::show(&client, format, &view, all),
        ViewCommand::Rollback { view, no_wait } => build::roll_back(&client, format, &view, !no_wait),
        ViewCommand::Savepoint { view, name } => savepoint(&client, format, &view, name),
        ViewCommand::Savepoints { view } => savepoints(&client, format, &view),
        ViewCommand::Restore { view, savepoint } => restore(&client, format, &view, &savepoint),
        ViewCommand::Resume { view } => resume(&client, format, &view),
        ViewCommand::List | ViewCommand::Explain { .. } => list(&client, format),
    })
    .await?;
    connection.close().await;
    exit
}

fn list(client: &Client, format: Format) -> Result<Exit> {
    let views = client.views()?;
    if format == Format::Json {
        print_json(&views)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["view", "mode", "state", "watermark", "rows in", "rows", "late", "dropped"]);
    for view in views {
        listing.push(vec![
            json!(view.name),
            json!(view.mode),
            json!(view.state),
            json!(view.watermark),
            json!(view.rows_in),
            json!(view.rows),
            json!(view.late_rows),
            json!(view.late_rows_dropped),
        ]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

fn show(client: &Client, format: Format, view: &str) -> Result<Exit> {
    let detail = client.view(view).with_context(|| format!("failed to show the view {view}"))?;
    if format == Format::Json {
        print_json(&detail)?;
        return Ok(Exit::Done);
    }
    remark(detail.definition.trim());
    let mut listing = Listing::new(["what", "value"]);
    for (what, value) in facts(&detail) {
        listing.push(vec![json!(what), value]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

fn refresh(client: &Client, format: Format, view: &str) -> Result<Exit> {
    let detail = client.refresh_view(view).with_context(|| format!("failed to refresh the view {view}"))?;
    if format == Format::Json {
        print_json(&detail)?;
    } else {
        remark(&format!("{view} is refreshed: {} rows", detail.summary.rows));
    }
    Ok(Exit::Done)
}

fn switch(client: &Client, format: Format, view: &str, to: &str, waits: bool) -> Result<Exit> {
    let ask = SwitchAsk { to: serde_json::from_value(json!(to.to_lowercase()))? };
    let before = client.view(view)?.generation;
    let detail = client.switch_view(view, ask).with_context(|| format!("failed to switch the view {view}"))?;
    if format != Format::Json {
        remark(&format!("{view} is {} now; {} says so", to.to_uppercase(), detail.file));
    }
    if detail.building.is_some() {
        return build::follow(client, format, view, detail, waits);
    }
    // A short build may be over already.
    if detail.generation != before {
        return build::answers(format, view, &detail);
    }
    if format == Format::Json {
        print_json(&detail)?;
    }
    Ok(Exit::Done)
}

fn resume(client: &Client, format: Format, view: &str) -> Result<Exit> {
    let detail = client.resume_view(view).with_context(|| format!("failed to resume the view {view}"))?;
    if format == Format::Json {
        print_json(&detail)?;
    } else {
        remark(&format!("{view} goes on from its last checkpoint"));
    }
    Ok(Exit::Done)
}

fn savepoint(client: &Client, format: Format, view: &str, name: Option<String>) -> Result<Exit> {
    let made = client.make_savepoint(view, &SavepointAsk { name });
    let made = made.with_context(|| format!("failed to make a savepoint of the view {view}"))?;
    if format == Format::Json {
        print_json(&made)?;
    } else {
        let Savepoint { name, size_bytes, .. } = made;
        remark(&format!(
            "savepoint {name} of {view}: {size_bytes} bytes; mulgil view restore {view} --savepoint {name}"
        ));
    }
    Ok(Exit::Done)
}

fn savepoints(client: &Client, format: Format, view: &str) -> Result<Exit> {
    let savepoints = client.savepoints(view).with_context(|| format!("failed to list the savepoints of {view}"))?;
    if format == Format::Json {
        print_json(&savepoints)?;
        return Ok(Exit::Done);
    }
    let mut listing = Listing::new(["savepoint", "made at", "bytes"]);
    for savepoint in savepoints {
        listing.push(vec![json!(savepoint.name), json!(savepoint.made_at), json!(savepoint.size_bytes)]);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

fn restore(client: &Client, format: Format, view: &str, savepoint: &str) -> Result<Exit> {
    let detail = client.restore_view(view, savepoint);
    let detail = detail.with_context(|| format!("failed to restore the view {view}"))?;
    if format == Format::Json {
        print_json(&detail)?;
    } else {
        remark(&format!("{view} goes on from its savepoint {savepoint}"));
    }
    Ok(Exit::Done)
}

/// `to write results since 2026-11-21T12:00:03Z: connect to 10.0.0.7:5432/shop: connection refused`, table by table.
fn waits(detail: &ViewDetail) -> Option<String> {
    let wait = |wait: &SystemWait| {
        let since = wait.since.map_or_else(String::new, |since| format!(" since {since}"));
        format!("to {} {}{since}: {}", if wait.is_source { "read" } else { "write" }, wait.table, wait.what)
    };
    let waits: Vec<String> = detail.waits.iter().map(wait).collect();
    (!waits.is_empty()).then(|| waits.join("; "))
}

/// `landing/b.csv:4: column "x": "2x" is not a BIGINT: 2x,b…`.
fn bad_row(row: &BadRow) -> String {
    let raw = row.raw.as_ref().map_or_else(String::new, |raw| format!(": {raw}{}", if row.is_cut { "…" } else { "" }));
    format!("{}: {}{raw}", row.place, row.reason)
}

/// `started again 3 times; next at 2026-11-21T12:00:03Z, after: sink results: connection refused`.
fn restarted(restarts: &Restarts) -> String {
    let next = restarts.next_try_at.map_or_else(String::new, |at| format!("; next at {at}"));
    format!("started again {} times{next}, after: {}", restarts.count, restarts.last_error)
}

/// `departures departures-0, at 2013-01-01T00:00:00Z since 2026-11-21T12:00:03Z`.
fn held_back(by: &HeldBackBy) -> String {
    let at = by.watermark.map_or_else(|| "without any row".to_owned(), |watermark| format!("at {watermark}"));
    let since = by.since.map_or_else(String::new, |since| format!(" since {since}"));
    format!("{} {}, {at}{since}", by.source, by.partition)
}

/// `to mart.daily: 1200 rows at 2026-11-21T12:00:03Z`.
fn exported(export: &ExportOfView) -> String {
    let made = export.made_at.map_or_else(|| "not yet".to_owned(), |at| format!("{} rows at {at}", export.rows));
    let error = export.error.as_ref().map_or_else(String::new, |error| format!("; the last try failed: {error}"));
    format!("to {}: {made}{error}", export.table)
}

/// `version 3, 1200 rows, made at 2026-11-21T12:00:03Z`.
fn batch_view(layers: &LayersOfView) -> String {
    let Some(made_at) = layers.batch_made_at else { return "none yet: mulgil view refresh makes one".to_owned() };
    format!("version {}, {} rows, made at {made_at}", layers.batch_version, layers.batch_rows)
}

/// `archive.departures: running, 1200 rows copied`, archive by archive.
fn archives(archives: &[ArchiveOfTable]) -> Option<String> {
    let archive = |archive: &ArchiveOfTable| {
        let state = json!(archive.state).as_str().unwrap_or_default().to_owned();
        let error = archive.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
        format!("{}: {state}, {} rows copied{error}", archive.table, archive.rows_in)
    };
    let told: Vec<String> = archives.iter().map(archive).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// `generation 2, for a replay, 40 %: 1200 rows, 340 rows/s`.
fn being_built(build: &Build) -> String {
    let reason = json!(build.reason).as_str().unwrap_or_default().replace('_', "-");
    let error = build.error.as_ref().map_or_else(String::new, |error| format!("; it failed: {error}"));
    let (number, done) = (build.number, build.done * 100.0);
    format!("generation {number} ({reason}){}, {done:.0} %: {}{error}", build::past(build), build::told(build))
}

fn checkpoint(made: &Checkpoints) -> String {
    let at = made.completed_at.map_or_else(|| "none yet".to_owned(), |at| at.to_string());
    let error = made.error.as_ref().map_or_else(String::new, |error| format!("; the next one failed: {error}"));
    let (pause_ms, took_ms) = (made.pause_ms, made.took_ms);
    format!("{at}: {} bytes in {took_ms:.0} ms, rows stood still for {pause_ms:.1} ms{error}", made.written_bytes)
}

fn latency(latency: &Latency) -> String {
    let Latency { p50_ms, p95_ms, p99_ms, .. } = latency;
    format!("{p50_ms:.1} ms for half of the rows, {p95_ms:.1} ms for 95 %, {p99_ms:.1} ms for 99 %")
}

fn facts(detail: &ViewDetail) -> Vec<(&'static str, serde_json::Value)> {
    let view = &detail.summary;
    let mut facts = vec![
        ("defined in", json!(detail.file)),
        ("mode", json!(view.mode)),
        ("state", json!(view.state)),
        ("watermark", json!(view.watermark)),
        ("time is held back by", json!(detail.held_back_by.as_ref().map(held_back))),
        ("waits for", json!(waits(detail))),
        ("rows not read yet", json!(detail.sources.iter().filter_map(|source| source.lag_rows).reduce(|a, b| a + b))),
        ("latency", json!(detail.latency.as_ref().map(latency))),
        ("rows in", json!(view.rows_in)),
        ("rows in a second", json!(view.rows_in_per_second.round())),
        ("rows", json!(view.rows)),
        ("late rows that updated", json!(view.late_rows.saturating_sub(view.late_rows_dropped))),
        ("late rows dropped", json!(view.late_rows_dropped)),
        ("rows without event time", json!(detail.null_event_times)),
        ("rows skipped", json!(detail.skipped_rows)),
        ("restarts", json!(detail.restarts.as_ref().map(restarted))),
        ("boundary", json!(detail.layers.as_ref().and_then(|layers| layers.boundary))),
        ("batch view", json!(detail.layers.as_ref().map(batch_view))),
        ("archives", json!(archives(&detail.archives))),
        ("exported", json!(detail.export.as_ref().map(exported))),
        ("generation", json!(detail.generation)),
        ("being built", json!(detail.building.as_ref().map(being_built))),
        ("can be rolled back to", json!(detail.former.as_ref().map(|former| former.number))),
        ("guarantee", json!(detail.guarantee.as_ref().map(|guarantee| &guarantee.given))),
        ("last checkpoint", json!(detail.checkpoints.as_ref().map(checkpoint))),
    ];
    facts.extend(detail.bad_rows.iter().map(|row| ("row that cannot be read", json!(bad_row(row)))));
    if let Some(error) = &view.error {
        facts.push(("error", json!(error)));
    }
    facts
}
