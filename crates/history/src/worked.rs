//! What attempts waited and worked lately: what advice on pools is made of.

use std::collections::HashMap;

use jiff::Timestamp;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::usage::Usage;

use crate::question::{Answers, Columns, Question, Read};
use crate::row::{maybe_number, number, text, time, usage};

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkedRow {
    /// Its flow.
    pub flow: String,
    /// Its task, or the one whose item it did.
    pub task: String,
    /// Since when it could have run.
    pub ready: Timestamp,
    /// When a worker had it.
    pub leased: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it used.
    pub usage: Option<Usage>,
}

const ATTEMPTS: &str = "SELECT a.run, a.task, a.leased_at_us, a.ended_at_us, a.usage, r.flow, \
    coalesce((SELECT o.name FROM tasks o WHERE o.run = t.run AND o.task = t.item_of), t.name) AS name \
    FROM attempts a JOIN runs r ON r.id = a.run JOIN tasks t ON t.run = a.run AND t.task = a.task \
    WHERE a.ended_at_us IS NOT NULL AND a.status <> 'lost' AND a.run > (SELECT coalesce(max(id), 0) FROM runs) - $1 \
    ORDER BY a.run DESC, a.leased_at_us DESC LIMIT $2";

const READY: &str = "SELECT run, task, at_us FROM events \
    WHERE run > (SELECT coalesce(max(id), 0) FROM runs) - $1 AND kind = 'task' AND payload LIKE '% -> ready%' ORDER BY seq";

/// The attempts of the newest runs that have ended, the newest runs first. One of which nobody knows any more when it was ready is
/// left out.
pub(crate) async fn worked(db: &impl Answers, runs: u32, limit: u32) -> Read<Vec<WorkedRow>> {
    let questions = [
        Question { sql: ATTEMPTS, values: vec![runs.into(), limit.into()] },
        Question { sql: READY, values: vec![runs.into()] },
    ];
    let mut answers = db.answer(&questions).await?.into_iter();
    let (attempts, events) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
    let mut ready: HashMap<(RunId, TaskIndex), Vec<Timestamp>> = HashMap::new();
    for event in &events {
        let Some(task) = maybe_number(event, "task")? else { continue };
        ready.entry((RunId(number(event, "run")?), task)).or_default().push(time(event, "at_us")?);
    }
    let mut worked = Vec::with_capacity(attempts.len());
    for row in &attempts {
        let leased = time(row, "leased_at_us")?;
        let times = ready.get(&(RunId(number(row, "run")?), number(row, "task")?));
        let last = times.and_then(|times| times.iter().filter(|at| **at <= leased).max());
        let Some(ready) = last.copied() else { continue };
        worked.push(WorkedRow {
            flow: text(row, "flow")?,
            task: text(row, "name")?,
            ready,
            leased,
            ended: time(row, "ended_at_us")?,
            usage: row.text("usage")?.map(|text| usage(&text)).transpose()?,
        });
    }
    Ok(worked)
}
