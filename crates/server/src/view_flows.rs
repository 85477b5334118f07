//! Flows that nobody has written: one for each `FULL` view with a `FRESHNESS`, which refreshes it so often, and one for each view that
//! is kept up to date by itself and exported, which exports it so often. They are flows like all others:
//! their runs can be seen, run again and backfilled, their schedule can be paused.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_flow::{Flow, Project, TaskKind, ViewDeed, ViewTask};
use mulgil_sql::catalog::{Catalog, View};
use mulgil_sql::statement::RefreshMode;

use crate::project::{Problem, ProblemKind};
use crate::scheduler::FlowSource;

/// The flow that keeps a view fresh: its name.
#[must_use]
pub fn flow_of(view: &TableName) -> String {
    format!("view_{}", view.to_string().replace('.', "_"))
}

/// The flows that keep these views fresh.
pub(crate) fn flows(catalog: &Catalog, project: &Project) -> Vec<FlowSource> {
    catalog.views().filter_map(|view| flow(view, project)).collect()
}

fn flow(view: &View, project: &Project) -> Option<FlowSource> {
    let (deed, does) = match (view.mode, &view.export) {
        // With the refresh comes the export.
        (RefreshMode::Full, _) => (ViewDeed::Refresh, "Refreshes"),
        (_, Some(_)) => (ViewDeed::Export, "Exports"),
        (_, None) => return None,
    };
    let freshness = view.freshness?;
    // The system that a view is exported to may be away for a while.
    let retries = if view.export.is_some() { ", retries: {limit: 3, delay: 10s}" } else { "" };
    // A run for each interval that was missed would compute the same rows again and again, and so would one beside another; but not those of
    // a view that is refreshed part by part.
    let has_parts = deed == ViewDeed::Refresh && view.partitioned_by.is_some();
    let missed = if has_parts { "catchup: all, overlap: queue" } else { "catchup: none, overlap: skip" };
    let text = format!(
        "flow: {flow}\n\
         description: {does} view {view}, as its FRESHNESS says\n\
         schedule: {{every: {every}s, {missed}}}\n\
         tasks:\n  {deed}: {{view: {{{deed}: {view}}}{retries}}}\n",
        flow = flow_of(&view.name),
        view = view.name,
        deed = deed.word(),
        every = freshness.max(Duration::from_secs(1)).as_secs(),
    );
    match Flow::parse(&view.file.display().to_string(), &text, project) {
        Ok(flow) => Some(FlowSource { flow: Arc::new(flow), text }),
        Err(problems) => {
            let problem = problems.first().map(ToString::to_string);
            tracing::warn!(view = %view.name, problem, "no flow can keep this view fresh");
            None
        }
    }
}

/// Why a task cannot do what it does to a view of this mode, and what helps.
fn wrong_mode(task: &ViewTask, declared: &View) -> Option<(String, String)> {
    let (view, mode) = (&task.view, declared.mode);
    let full = mode == RefreshMode::Full;
    match task.deed {
        ViewDeed::Refresh if !full && mode != RefreshMode::Lambda => {
            let message = format!("view {view} is {mode}, and is kept up to date by itself");
            Some((message, "leave the task out, or write REFRESH_MODE = FULL".to_owned()))
        }
        ViewDeed::Replay if full => {
            let message = format!("view {view} is {mode}, and keeps no state that could be replayed");
            Some((message, format!("write view: {{refresh: {view}}}")))
        }
        ViewDeed::Export if declared.export.is_none() => {
            let message = format!("view {view} is exported nowhere");
            Some((message, "give it the option 'export' = 'mart.daily'".to_owned()))
        }
        ViewDeed::Refresh | ViewDeed::Replay | ViewDeed::Export => None,
    }
}

/// Views that are exported to a table that is not there. They are kept up to date all the same.
pub(crate) fn wrong_exports(catalog: &Catalog) -> Vec<Problem> {
    let lacks = |view: &&Arc<View>| view.export.as_ref().is_some_and(|mart| catalog.table(mart).is_none());
    let problem = |view: &Arc<View>| Problem {
        kind: ProblemKind::View,
        name: Some(view.name.to_string()),
        file: view.file.display().to_string(),
        line: u32::try_from(view.line).ok(),
        column: None,
        message: format!(
            "view {} is exported to {}, and there is no such table",
            view.name,
            view.export.as_ref().map(ToString::to_string).unwrap_or_default()
        ),
        remedy: Some("declare it in sources/, or mend the option 'export'".to_owned()),
        excerpt: None,
    };
    catalog.views().filter(lacks).map(problem).collect()
}

/// Tasks that refresh or replay what cannot be. Their flows run all the same: the view may come, and the task says so if it has not.
#[must_use]
pub fn wrong_views(flows: &[FlowSource], catalog: &Catalog) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in flows {
        for task in &source.flow.tasks {
            let TaskKind::View(wanted) = &task.kind else { continue };
            let view = catalog.views().find(|view| view.name == TableName::parse(&wanted.view));
            let (message, remedy) = match view {
                Some(view) => match wrong_mode(wanted, view) {
                    Some(wrong) => wrong,
                    None => continue,
                },
                None => {
                    let known: Vec<String> = catalog.views().map(|view| view.name.to_string()).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    (format!("there is no view {}", wanted.view), format!("views: {known}"))
                }
            };
            problems.push(Problem {
                kind: ProblemKind::Flow,
                name: Some(source.flow.name.clone()),
                file: source.flow.file.clone(),
                line: Some(task.line),
                column: Some(task.column),
                message: format!("task {}: {message}", task.name),
                remedy: Some(remedy),
                excerpt: None,
            });
        }
    }
    problems
}
