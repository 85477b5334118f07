//! Runs, tasks and attempts of all flows as rows, newest first and page by page: for queries over a history of any length.

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};

use crate::error::HistoryError;
use crate::question::{Answers, Read, Value};
use crate::read::{AttemptRow, RunRow, TaskRow};
use crate::row::{self, number, text, time};

/// Rows of one page: fewer than were asked for only on the last one.
pub type Page<T> = Result<Vec<T>, HistoryError>;

/// Which rows are wanted. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of which run.
    pub run: Option<RunId>,
    /// Of which flow.
    pub flow: Option<String>,
    /// With which status, as its word; a word that is none selects nothing.
    pub status: Option<String>,
    /// Not before this: when a run was made, also for its tasks; when an attempt was given to its worker.
    pub from: Option<Timestamp>,
    /// Not after this.
    pub to: Option<Timestamp>,
}

/// A task with the run that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedTask {
    /// The run.
    pub run: RunId,
    /// The run's flow.
    pub flow: String,
    /// When the run was made.
    pub created_at: Timestamp,
    /// The task.
    pub task: TaskRow,
}

/// An attempt with the run that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedAttempt {
    /// The run.
    pub run: RunId,
    /// The run's flow.
    pub flow: String,
    /// The attempt.
    pub attempt: AttemptRow,
}

impl Selection {
    /// The values of `$1` (the lowest run), `$2` (flow), `$3` (status), `$4` and `$5` (from, to).
    fn values(&self) -> Vec<Value> {
        let micros = |at: Option<Timestamp>, default| Value::from(at.map_or(default, row::micros));
        vec![
            self.run.map_or(i64::MIN, |run| run.0).into(),
            self.flow.as_deref().into(),
            self.status.as_deref().into(),
            micros(self.from, i64::MIN),
            micros(self.to, i64::MAX),
        ]
    }

    /// The run that the first page stands below.
    fn above(&self) -> i64 {
        self.run.map_or(i64::MAX, |run| run.0.saturating_add(1))
    }
}

const RUNS: &str = "SELECT * FROM runs WHERE id >= $1 AND ($2 IS NULL OR flow = $2) AND ($3 IS NULL OR status = $3) \
    AND created_at_us BETWEEN $4 AND $5 AND id < $6 ORDER BY id DESC LIMIT $7";

const TASKS: &str = "SELECT t.*, r.flow, r.created_at_us FROM tasks t JOIN runs r ON r.id = t.run \
    WHERE t.run >= $1 AND ($2 IS NULL OR r.flow = $2) AND ($3 IS NULL OR t.status = $3) \
    AND r.created_at_us BETWEEN $4 AND $5 AND (t.run, t.task) < ($6, $7) ORDER BY t.run DESC, t.task DESC LIMIT $8";

const ATTEMPTS: &str = "SELECT a.*, t.name, r.flow FROM attempts a JOIN tasks t ON t.run = a.run AND t.task = a.task \
    JOIN runs r ON r.id = a.run \
    WHERE a.run >= $1 AND ($2 IS NULL OR r.flow = $2) AND ($3 IS NULL OR a.status = $3) \
    AND a.leased_at_us BETWEEN $4 AND $5 AND (a.run, a.task, a.attempt) < ($6, $7, $8) \
    ORDER BY a.run DESC, a.task DESC, a.attempt DESC LIMIT $9";

pub(crate) async fn runs(db: &impl Answers, of: &Selection, before: Option<RunId>, limit: u32) -> Read<Vec<RunRow>> {
    let before = before.map_or(of.above(), |run| run.0);
    let values = [of.values(), vec![before.into(), limit.into()]].concat();
    db.rows(RUNS, values).await?.iter().map(row::run).collect()
}

pub(crate) async fn tasks(
    db: &impl Answers,
    of: &Selection,
    before: Option<(RunId, TaskIndex)>,
    limit: u32,
) -> Read<Vec<ListedTask>> {
    let (run, task) = before.map_or((of.above(), 0), |(run, task)| (run.0, task));
    let values = [of.values(), vec![run.into(), task.into(), limit.into()]].concat();
    let listed = |found: &_| {
        Ok(ListedTask {
            run: RunId(number(found, "run")?),
            flow: text(found, "flow")?,
            created_at: time(found, "created_at_us")?,
            task: row::task(found)?,
        })
    };
    db.rows(TASKS, values).await?.iter().map(listed).collect()
}

pub(crate) async fn attempts(
    db: &impl Answers,
    of: &Selection,
    before: Option<AttemptId>,
    limit: u32,
) -> Read<Vec<ListedAttempt>> {
    let (run, task, attempt) = before.map_or((of.above(), 0, 0), |last| (last.run.0, last.task, last.attempt));
    let values = [of.values(), vec![run.into(), task.into(), attempt.into(), limit.into()]].concat();
    let listed = |found: &_| {
        Ok(ListedAttempt {
            run: RunId(number(found, "run")?),
            flow: text(found, "flow")?,
            attempt: row::attempt(found)?,
        })
    };
    db.rows(ATTEMPTS, values).await?.iter().map(listed).collect()
}
