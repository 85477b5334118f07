//! A batch as a few statements: all writes of a kind are one, with their rows as JSON in its one parameter.
//!
//! Several changes of one thing in a batch become one, from the first status to the last, since a statement changes a row once. That
//! each goes on where the one before it ended is checked here; that the first finds what it expects, by the statement, which
//! gives back the number of each row that it changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use serde_json::Value;

use super::{asked, calling, dropping, rows, telling, written};
use crate::error::HistoryError;
use crate::event::events_of;
use crate::write::Write;

/// One statement.
pub(super) struct Step {
    pub(super) sql: &'static str,
    /// Its rows, an array in JSON.
    pub(super) rows: String,
    /// What each row is, and the status in which it must be found; empty where rows are new.
    expected: Vec<(String, String)>,
}

impl Step {
    /// Whether every row was found as expected.
    pub(super) fn check(&self, done: &[i64]) -> Result<(), HistoryError> {
        let is_done = |index: usize| i64::try_from(index).is_ok_and(|index| done.contains(&index));
        if done.len() == self.expected.len() {
            return Ok(());
        }
        match self.expected.iter().enumerate().find(|(index, _)| !is_done(*index)) {
            Some((_, (what, expected))) => {
                Err(HistoryError::Conflict { what: what.clone(), expected: expected.clone() })
            }
            None => Ok(()),
        }
    }
}

/// A change of one thing, which may be followed by another one.
pub(super) struct Change {
    /// What it changes, for people.
    pub(super) what: String,
    /// The status before it.
    pub(super) from: Cow<'static, str>,
    /// The status after it.
    pub(super) to: Cow<'static, str>,
    /// Whether nothing may follow.
    pub(super) is_last: bool,
    /// The columns that it sets. Those of a later change replace those of an earlier one.
    pub(super) columns: Value,
}

/// What a batch does, in the order in which it has to be done.
pub(super) fn plan(writes: &[Write]) -> Result<Vec<Step>, HistoryError> {
    let runs = news(writes, rows::new_run);
    let mut steps = vec![
        new(rows::FLOW_VERSIONS, news(writes, rows::flow_version)),
        new(rows::BACKFILLS, news(writes, rows::new_backfill)),
        new(rows::RUNS, runs.clone()),
        new(rows::TASKS_OF_RUNS, runs),
        new(rows::RUN_BACKFILLS, last(writes.iter().filter_map(rows::run_backfill))),
        changes(rows::RUN_VERSIONS, writes.iter().filter_map(rows::run_version))?,
        new(rows::TASKS_OF_VERSIONS, news(writes, rows::tasks_of_version)),
        new(rows::ITEMS, news(writes, rows::new_items)),
        new(calling::CALLS, last(writes.iter().filter_map(calling::call))),
        new(calling::PARENTS, last(writes.iter().filter_map(calling::parent))),
        new(calling::CONFIRMED, last(writes.iter().filter_map(calling::confirmed))),
        changes(rows::RUN_STATUS, writes.iter().filter_map(rows::run_status))?,
        changes(rows::TASKS, writes.iter().filter_map(rows::task))?,
        new(rows::LEASES, news(writes, rows::new_lease)),
        new(rows::USAGES, last(writes.iter().filter_map(rows::usage))),
        changes(rows::RENEWALS, writes.iter().filter_map(rows::renewal))?,
        changes(rows::ATTEMPTS, writes.iter().filter_map(rows::attempt))?,
        changes(rows::BACKFILL_STATUS, writes.iter().filter_map(rows::backfill_status))?,
        new(rows::BACKFILL_PACE, last(writes.iter().filter_map(rows::backfill_pace))),
        new(rows::BACKFILL_ROUND, last(writes.iter().filter_map(rows::backfill_round))),
        new(written::WRITES, last(writes.iter().filter_map(written::write))),
        new(asked::ASKED, news(writes, asked::asked)),
        new(telling::NOTICES, news(writes, telling::notice)),
        new(telling::STATUS, last(writes.iter().filter_map(telling::status))),
        new(telling::ALERTS, news(writes, telling::alert)),
        new(rows::PAUSED, last(writes.iter().filter_map(rows::paused))),
    ];
    let dropped = dropping::runs(writes);
    let rest = news(writes, dropping::rest);
    if let Some(events) = events_of(writes) {
        steps.push(Step { sql: rows::EVENTS, rows: events, expected: Vec::new() });
    }
    // After the events of this batch, which may be of those runs.
    steps.extend(dropping::OF_RUNS.map(|sql| new(sql, dropped.clone())));
    steps.extend(dropping::REST.map(|sql| new(sql, rest.clone())));
    steps.retain(|step| step.rows != "[]");
    Ok(steps)
}

fn news(writes: &[Write], row: impl Fn(&Write) -> Option<Value>) -> Vec<Value> {
    writes.iter().filter_map(row).collect()
}

fn new(sql: &'static str, rows: Vec<Value>) -> Step {
    Step { sql, rows: Value::from(rows).to_string(), expected: Vec::new() }
}

/// The last row of each key.
fn last<K: Eq + Hash>(rows: impl Iterator<Item = (K, Value)>) -> Vec<Value> {
    rows.collect::<HashMap<K, Value>>().into_values().collect()
}

/// A statement that changes what is there.
fn changes<K: Eq + Hash>(sql: &'static str, changes: impl Iterator<Item = (K, Change)>) -> Result<Step, HistoryError> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut chains: Vec<Change> = Vec::new();
    for (key, change) in changes {
        match places.get(&key).and_then(|place| chains.get_mut(*place)) {
            Some(before) => follow(before, change)?,
            None => {
                places.insert(key, chains.len());
                chains.push(change);
            }
        }
    }
    let row = |(number, change): (usize, &Change)| {
        let mut row = change.columns.clone();
        if let Some(row) = row.as_object_mut() {
            row.insert("n".to_owned(), number.into());
            row.insert("from_status".to_owned(), change.from.as_ref().into());
            row.insert("to_status".to_owned(), change.to.as_ref().into());
        }
        row
    };
    let rows = Value::from(chains.iter().enumerate().map(row).collect::<Vec<_>>()).to_string();
    let expected = chains.into_iter().map(|change| (change.what, change.from.into_owned())).collect();
    Ok(Step { sql, rows, expected })
}

fn follow(before: &mut Change, change: Change) -> Result<(), HistoryError> {
    if before.is_last || before.to != change.from {
        return Err(HistoryError::Conflict { what: change.what, expected: change.from.into_owned() });
    }
    if let (Some(columns), Value::Object(later)) = (before.columns.as_object_mut(), change.columns) {
        columns.extend(later);
    }
    (before.to, before.is_last) = (change.to, change.is_last);
    Ok(())
}
