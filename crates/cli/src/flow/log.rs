//! `mulgil flow log`

use anyhow::{Context, Result, bail};
use mulgil_server::attempts::LogQuery;
use mulgil_server::client::Client;
use mulgil_server::items::ItemsQuery;
use mulgil_server::runs::{Attempt, RunDetail, TaskRun};
use serde_json::{Value, json};

use super::{find_run_to_read, status, task_of};
use crate::arguments::{Format, LogArguments};
use crate::exit::Exit;
use crate::output::{print_json, remark, write_out};

/// Prints what the attempts of a run printed: the last one of each task, or one of a task.
pub(crate) fn execute(client: &Client, format: Format, asked: &LogArguments) -> Result<Exit> {
    let run = client.run(find_run_to_read(client, &asked.run)?.id)?;
    let id = run.summary.id;
    let Some(task) = &asked.task else { return print_all(client, format, &run) };
    let attempt = attempt_of(client, &run, task, asked.attempt)?;
    if format == Format::Json {
        print_json(&as_object(client, id, task, &attempt)?)?;
    } else if asked.follow {
        for piece in client.follow_log(id, task, attempt.number, &LogQuery::default())? {
            write_out(&piece?.text)?;
        }
    } else {
        each_piece(client, id, task, &attempt, write_out)?;
    }
    Ok(Exit::Done)
}

fn print_all(client: &Client, format: Format, run: &RunDetail) -> Result<Exit> {
    let last = run.tasks.iter().filter_map(|task| Some((&task.name, task.attempts.last()?)));
    if format == Format::Json {
        let objects = last.map(|(task, attempt)| as_object(client, run.summary.id, task, attempt));
        print_json(&objects.collect::<Result<Vec<Value>>>()?)?;
        return Ok(Exit::Done);
    }
    for (task, attempt) in last {
        remark(&format!("── {task}, attempt {}, {}", attempt.number, status::word(&attempt.status)));
        each_piece(client, run.summary.id, task, attempt, write_out)?;
    }
    for task in run.tasks.iter().filter(|task| task.attempts.is_empty()) {
        remark(&format!("── {} {}", task.name, without_attempts(task)));
    }
    Ok(Exit::Done)
}

/// What there is to say of a task that has had no attempt of its own.
fn without_attempts(task: &TaskRun) -> String {
    if let Some(child) = &task.child {
        return format!("ran as {0}: mulgil flow log {0}", child.name);
    }
    let note = task.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    match task.items.filter(|items| items.total > 0) {
        Some(items) => format!("has {} items: {}[0] names the first", items.total, task.name),
        None if status::task_has_ended(task.status) => format!("never began, {}{note}", status::word(&task.status)),
        None => "has not begun: mulgil flow why says what it waits for".to_owned(),
    }
}

/// An attempt of a task, or of an item of one: this one, or the last.
fn attempt_of(client: &Client, run: &RunDetail, task: &str, number: Option<u32>) -> Result<Attempt> {
    let name = &run.summary.name;
    let (attempts, without) = match item_named(task) {
        Some((task, item)) => (attempts_of_item(client, run, task, item)?, "has not begun".to_owned()),
        None => task_of(run, task).map(|task| (task.attempts.clone(), without_attempts(task)))?,
    };
    let count = attempts.len();
    let found = match number {
        Some(number) => attempts.into_iter().find(|attempt| attempt.number == number),
        None => attempts.into_iter().next_back(),
    };
    match (found, number) {
        (Some(attempt), _) => Ok(attempt),
        (None, Some(number)) => bail!("{task} of {name} has no attempt {number}: it has had {count}"),
        (None, None) => bail!("{task} of {name} {without}"),
    }
}

/// The task and the number in `load[3]`.
fn item_named(name: &str) -> Option<(&str, u32)> {
    let (task, number) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((task, number.parse().ok()?))
}

fn attempts_of_item(client: &Client, run: &RunDetail, task: &str, number: u32) -> Result<Vec<Attempt>> {
    let task = &task_of(run, task)?.name;
    let only = ItemsQuery { status: None, after: number.checked_sub(1), limit: Some(1) };
    let found = client.items(run.summary.id, task, &only)?.items.into_iter().find(|item| item.number == number);
    Ok(found.with_context(|| format!("{task} of {} has no item {number}", run.summary.name))?.attempts)
}

fn as_object(client: &Client, run: i64, task: &str, attempt: &Attempt) -> Result<Value> {
    let mut log = String::new();
    each_piece(client, run, task, attempt, |text| {
        log.push_str(text);
        Ok(())
    })?;
    Ok(json!({"task": task, "attempt": attempt.number, "status": attempt.status, "log": log}))
}

/// Reads a log from its beginning to where it ends now.
fn each_piece(
    client: &Client,
    run: i64,
    task: &str,
    attempt: &Attempt,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    if !attempt.has_log {
        return Ok(());
    }
    let mut offset = 0;
    loop {
        let piece = client.log(run, task, attempt.number, &LogQuery { offset: Some(offset) })?;
        take(&piece.text)?;
        if piece.complete || piece.next_offset == offset {
            return Ok(());
        }
        offset = piece.next_offset;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::item_named;

    #[test]
    fn an_item_is_named_by_its_task_and_its_number() {
        assert_eq!(item_named("load[3]"), Some(("load", 3)));
        for task in ["load", "load[]", "load[x]", "load[3", "[3", "load[-1]"] {
            assert_eq!(item_named(task), None, "{task}");
        }
    }
}
