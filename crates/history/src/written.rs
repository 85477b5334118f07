//! Which tables were written, for which data interval, by which run: what is done, and since when. Stored with the success
//! of the task that wrote, so it is true of no task that did not succeed. The latest write of each table and interval counts.

use jiff::Timestamp;
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};

use crate::question::{Answers, Columns, Question, Read};
use crate::row::{micros, number, text, time};

/// A task has written a table for the data interval of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableWrite {
    /// The table.
    pub table: String,
    /// The first instant of the interval.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// The flow.
    pub flow: String,
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: String,
    /// When it succeeded.
    pub at: Timestamp,
}

fn write(row: &impl Columns) -> Read<TableWrite> {
    Ok(TableWrite {
        table: text(row, "table_name")?,
        start: time(row, "start_us")?,
        end: time(row, "end_us")?,
        flow: text(row, "flow")?,
        run: RunId(number(row, "run")?),
        task: text(row, "task")?,
        at: time(row, "at_us")?,
    })
}

/// The writes of these tables whose intervals overlap `[from, to)`, by table, then interval.
pub(crate) async fn writes(
    db: &impl Answers,
    tables: &[String],
    from: Timestamp,
    to: Timestamp,
) -> Read<Vec<TableWrite>> {
    let sql =
        "SELECT * FROM table_writes WHERE table_name = $1 AND start_us < $2 AND end_us > $3 ORDER BY start_us, end_us";
    let values = |table: &String| vec![table.as_str().into(), micros(to).into(), micros(from).into()];
    let questions: Vec<Question> = tables.iter().map(|table| Question { sql, values: values(table) }).collect();
    db.answer(&questions).await?.iter().flatten().map(write).collect()
}
