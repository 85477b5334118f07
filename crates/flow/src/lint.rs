//! Advice about a flow that is correct but may hurt.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;
use serde_json::Value;

use crate::{Diagnostic, Flow, Items, Project, Task, TaskKind, Write};

/// From this many automatic retries on, a broken input is tried too often before somebody hears of it.
const RETRIES_ADVISED_MAX: u32 = 2;

/// A task that usually takes longer than this loses much when it fails near its end.
const LONG: SignedDuration = SignedDuration::from_hours(2);
/// A task that usually takes less than this is mostly overhead.
const SHORT: SignedDuration = SignedDuration::from_secs(1);
/// So many short tasks in a flow are worth a word.
const SHORT_TASKS_MAX: usize = 20;

/// So many files, each a task of its own, are worth a word: starting a task costs more than reading most files.
const FILES_ALONE_MAX: usize = 20;

/// What files of data end with; other names with a dot are tables, hosts and versions.
const FILE_ENDINGS: [&str; 16] = [
    "avro", "bz2", "csv", "gz", "json", "jsonl", "log", "ndjson", "orc", "parquet", "tsv", "txt", "xlsx", "xml", "zip",
    "zst",
];

/// Advice about the size of tasks, by how long their latest attempts took that succeeded: one over hours is cut badly, and so
/// are many that take no time.
#[must_use]
pub fn lint_sizes(flow: &Flow, durations: &BTreeMap<String, Vec<SignedDuration>>) -> Vec<Diagnostic> {
    let usual = |task: &Task| {
        let mut durations = durations.get(&task.name)?.clone();
        durations.sort_unstable();
        durations.get(durations.len() / 2).copied()
    };
    let mut warnings = Vec::new();
    for (task, usual) in flow.tasks.iter().filter_map(|task| Some((task, usual(task)?))) {
        let alone = task.for_each.as_ref().is_some_and(|each| each.group.is_none());
        if alone && usual < SHORT {
            let message =
                format!("an item of task {} usually takes {usual:#}: one task for each is mostly overhead", task.name);
            warnings.push(warning(flow, (task.line, task.column), message, "add group: auto to for_each"));
        }
    }
    for (task, usual) in flow.tasks.iter().filter_map(|task| Some((task, usual(task)?))) {
        if usual >= LONG {
            let message = format!("task {} usually takes {usual:#}: a failure near its end loses that much", task.name);
            let remedy = "cut it by partition, table or step, so that only what failed runs again";
            warnings.push(warning(flow, (task.line, task.column), message, remedy));
        }
    }
    let short = flow.tasks.iter().filter(|task| usual(task).is_some_and(|usual| usual < SHORT)).count();
    if short > SHORT_TASKS_MAX {
        let message = format!("{short} tasks usually take less than a second each, which is mostly overhead");
        warnings.push(warning(flow, (1, 1), message, "do several things in one task"));
    }
    warnings
}

/// What could be better about a flow: warnings, not errors, in the order of the file.
#[must_use]
pub fn lint(flow: &Flow) -> Vec<Diagnostic> {
    let mut warnings: Vec<Diagnostic> = flow.tasks.iter().flat_map(|task| lint_task(flow, task)).collect();
    warnings.sort_by_key(|warning| (warning.line, warning.column));
    warnings
}

fn lint_task(flow: &Flow, task: &Task) -> Vec<Diagnostic> {
    let name = &task.name;
    let mut warnings = Vec::new();
    let mut warn = |message: String, remedy: &str| {
        warnings.push(warning(flow, (task.line, task.column), message, remedy));
    };
    if task.timeout.is_none() && matches!(task.kind, TaskKind::Wait(_)) {
        warn(format!("task {name} waits for ever if what it waits for never comes"), "add timeout: 6h");
    } else if task.timeout.is_none() && !task.kind.is_call() {
        warn(format!("task {name} has no timeout, so a hang holds its slot for ever"), "add timeout: 1h");
    }
    if let Some(each) = &task.for_each {
        let is_known = matches!(each.items, Items::List(_));
        if !is_known && each.max_parallel.is_none() && each.group.is_none() && task.pool == Project::DEFAULT_POOL {
            let message =
                format!("task {name} goes over a list whose length shows when it runs, and takes every slot there is");
            warn(message, "add max_parallel: or group: auto to for_each, or a pool of its own");
        }
        let files = if each.group.is_none() { file_count(&each.items) } else { 0 };
        if files > FILES_ALONE_MAX {
            let message = format!("task {name} makes a task of each of {files} files, which is mostly overhead");
            warn(message, "add group: auto to for_each, or read them as one table");
        }
    }
    if task.retries.limit > RETRIES_ADVISED_MAX {
        let message = format!("task {name} is retried {} times before anybody hears of it", task.retries.limit);
        warn(message, "at most 2; what still fails then needs a person");
    }
    if task.retries_ignored {
        let message = format!("task {name} is not idempotent, so its retries are never made");
        warn(message, "make it idempotent, or take its retries away");
    }
    if !task.idempotent && matches!(task.kind, TaskKind::Sql { .. } | TaskKind::Transfer { .. }) {
        warn(format!("task {name} writes a table but is not idempotent"), "write: replace_partition makes it so");
    }
    let target = match &task.kind {
        TaskKind::Shell { .. } | TaskKind::Python(_) | TaskKind::Http(_) => None,
        TaskKind::Flow(_) | TaskKind::View(_) | TaskKind::Wait(_) => None,
        TaskKind::Sql { target, .. } => target.as_ref(),
        TaskKind::Transfer { target, .. } => Some(target),
    };
    match target.map(|target| &target.write) {
        Some(Write::ReplacePartition { partition }) if partition.is_empty() && flow.schedule.is_none() => {
            let message = format!("task {name} replaces the partition of its interval, but the flow has no intervals");
            warn(message, "add partition: {COLUMN: VALUE}, a schedule, or write: replace_table");
        }
        _ => {}
    }
    warnings
}

/// How many items of a list are files, by their names.
fn file_count(items: &Items) -> usize {
    let Items::List(items) = items else { return 0 };
    items.iter().filter(|item| names_file(item)).count()
}

fn names_file(item: &Value) -> bool {
    match item {
        Value::String(text) => {
            let ending = Path::new(text).extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| FILE_ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
        }
        Value::Object(fields) => fields.values().any(names_file),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

fn warning(flow: &Flow, (line, column): (u32, u32), message: String, remedy: &str) -> Diagnostic {
    Diagnostic { file: flow.file.clone(), line, column, message, remedy: Some(remedy.to_owned()) }
}
